#include "model/dime/split_scores.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "index/status_macros.h"

namespace dime {
namespace {

constexpr int64_t kSplitBatch = 256;  // items for which the encoders are called at once
constexpr int64_t kQueryBatch = 64;

torch::Tensor Borrow(const std::vector<float>& values, std::vector<int64_t> shape) {
  // from_blob takes no const; nothing here writes.
  return torch::from_blob(const_cast<float*>(values.data()), shape, torch::kFloat32);
}

// One modality of a split, filled batch by batch.
class EncodedSide {
 public:
  struct Part {
    torch::Tensor local;   // (count, positions, E), on the device
    torch::Tensor global;  // (count, E), on the device
  };

  EncodedSide(int64_t count, absl::Span<const Direction> directions, torch::Device device)
      : count_(count), directions_(directions), device_(device) {}

  void Append(const EncodedItems& items) {
    if (!coarse_.defined()) {
      coarse_ = torch::empty({count_, items.coarse_dim});
      lengths_ = torch::empty({count_}, torch::kLong);
    }
    coarse_.narrow(0, filled_, items.count)
        .copy_(Borrow(items.coarse, {items.count, items.coarse_dim}));
    std::copy(items.lengths.begin(), items.lengths.end(), lengths_.data_ptr<int64_t>() + filled_);
    for (Direction direction : directions_) {
      const DirectionFeatures& from = items.directions[static_cast<int>(direction)];
      Part& part = parts_[static_cast<int>(direction)];
      if (!part.local.defined()) {
        part.local = torch::empty({count_, items.positions, from.embed_size}, device_);
        part.global = torch::empty({count_, from.embed_size}, device_);
      }
      part.local.narrow(0, filled_, items.count)
          .copy_(Borrow(from.local, {items.count, items.positions, from.embed_size}));
      part.global.narrow(0, filled_, items.count)
          .copy_(Borrow(from.global, {items.count, from.embed_size}));
    }
    filled_ += items.count;
  }

  const Part& of(Direction direction) const { return parts_[static_cast<int>(direction)]; }
  const torch::Tensor& coarse() const { return coarse_; }    // (count, C)
  const torch::Tensor& lengths() const { return lengths_; }  // (count) int64

 private:
  const int64_t count_;
  const absl::Span<const Direction> directions_;
  const torch::Device device_;
  int64_t filled_ = 0;
  std::array<Part, kNumDirections> parts_;
  torch::Tensor coarse_, lengths_;
};

// `rows` of the table's `scores`, along its first dimension, in the mode.
torch::Tensor Combine(const PairTable& table, ScoreMode mode,
                      const std::function<torch::Tensor(const torch::Tensor&)>& rows) {
  torch::Tensor sum;
  for (Direction direction : kDirections) {
    if (!Uses(mode, direction)) continue;
    const torch::Tensor part = rows(table.scores[static_cast<int>(direction)]).contiguous();
    sum = sum.defined() ? (sum + part).div_(2) : part;
  }
  return sum;
}

}  // namespace

absl::StatusOr<EncodedDataset> EncodeDataset(const ModulesModel& model,
                                             const PrecomputedDataset& dataset,
                                             absl::Span<const Direction> directions,
                                             const ProgressCallback& progress) {
  c10::InferenceMode inference;
  const torch::Device device = model.network().device();
  const int64_t row_size = int64_t{dataset.num_regions()} * dataset.feature_dim();
  EncodedSide images(dataset.num_images(), directions, device);
  std::vector<float> features;
  for (int64_t first = 0; first < dataset.num_images(); first += kSplitBatch) {
    const int64_t count = std::min(kSplitBatch, dataset.num_images() - first);
    features.resize(count * row_size);
    RETURN_IF_ERROR(dataset.ReadFeatures(first, count, absl::MakeSpan(features)));
    ASSIGN_OR_RETURN(const EncodedItems items,
                     model.image_encoder().EncodeImages(count, dataset.num_regions(), features));
    images.Append(items);
    progress(count);
  }
  EncodedSide captions(dataset.num_captions(), directions, device);
  for (int64_t first = 0; first < dataset.num_captions(); first += kSplitBatch) {
    const auto batch = absl::MakeConstSpan(dataset.captions()).subspan(first, kSplitBatch);
    ASSIGN_OR_RETURN(const EncodedItems items, model.caption_encoder().EncodeCaptions(batch));
    captions.Append(items);
    progress(items.count);
  }

  EncodedDataset encoded{.captions_per_image = dataset.captions_per_image(),
                         .image_coarse = images.coarse(),
                         .caption_coarse = captions.coarse(),
                         .first_equal = FirstEqual(dataset.captions())};
  for (int64_t c = 0; c < dataset.num_captions(); ++c) {
    const int64_t equal = encoded.first_equal[c];
    if (equal != c) encoded.caption_coarse[c].copy_(encoded.caption_coarse[equal]);
  }
  const torch::Tensor lengths = captions.lengths().to(device);
  for (Direction direction : directions) {
    EncodedSplit& split = encoded.directions[static_cast<int>(direction)];
    split.regions = images.of(direction).local;
    split.image = images.of(direction).global;
    split.words = captions.of(direction).local;
    split.sentence = captions.of(direction).global;
    split.word_mask =
        torch::arange(split.words.size(1), lengths.options()).unsqueeze(0) < lengths.unsqueeze(1);
    split.first_equal = encoded.first_equal;
  }
  return encoded;
}

torch::Tensor PairTable::OfImages(ScoreMode mode, int64_t first, int64_t count) const {
  return Combine(*this, mode,
                 [&](const torch::Tensor& scores) { return scores.narrow(0, first, count); });
}

torch::Tensor PairTable::OfCaptions(ScoreMode mode, int64_t first, int64_t count) const {
  return Combine(*this, mode,
                 [&](const torch::Tensor& scores) { return scores.narrow(1, first, count).t(); });
}

PairTable ScorePairs(const ModulesModel& model, const EncodedDataset& dataset,
                     std::vector<int64_t> images, std::vector<int64_t> captions,
                     const ProgressCallback& progress) {
  PairTable table{.images = std::move(images), .captions = std::move(captions)};
  for (Direction direction : kDirections) {
    const int d = static_cast<int>(direction);
    if (!dataset.directions[d].regions.defined()) continue;
    const absl::Time start = absl::Now();
    const EncodedSplit& split = dataset.directions[d];
    table.scores[d] = model.kernel_scorer() == nullptr
                          ? Similarity(model.network().direction(direction), split, table.images,
                                       table.captions, progress)
                          : Similarity(*model.kernel_scorer(), direction, split, table.images,
                                       table.captions, progress);
    table.time[d] = absl::Now() - start;
  }
  return table;
}

void ForEachQuery(const EncodedDataset& dataset, const PairTable& table, Modality target,
                  ScoreMode mode, const std::function<void(const QueryScores&)>& visit) {
  c10::InferenceMode inference;
  const bool images_searched = target == Modality::kImage;
  const std::vector<int64_t>& queries = images_searched ? table.captions : table.images;
  const std::vector<int64_t>& items = images_searched ? table.images : table.captions;
  if (queries.empty() || items.empty()) return;
  const int64_t first_item = items.front();
  const auto num_items = static_cast<int64_t>(items.size());
  const torch::Tensor item_coarse =
      dataset.coarse(target).narrow(0, first_item, num_items).t();  // (C, items)
  const torch::Tensor query_coarse =
      dataset.coarse(OtherModality(target)).index_select(0, torch::tensor(queries));
  // Like the rerank scores, those of equal captions are equal to the bit.
  const std::vector<int64_t> first_of_text =
      images_searched ? RowRange(0, num_items) : FirstOfText(dataset.first_equal, items);

  for (int64_t first = 0; first < query_coarse.size(0); first += kQueryBatch) {
    const int64_t count = std::min(kQueryBatch, query_coarse.size(0) - first);
    const torch::Tensor rerank =
        images_searched ? table.OfCaptions(mode, first, count) : table.OfImages(mode, first, count);
    const torch::Tensor coarse = query_coarse.narrow(0, first, count).matmul(item_coarse);
    for (int64_t q = 0; q < count; ++q) {
      float* const scores = coarse.data_ptr<float>() + q * num_items;
      for (int64_t i = 0; i < num_items; ++i) scores[i] = scores[first_of_text[i]];
      const int64_t row = queries[first + q];
      const int64_t first_own =
          images_searched ? row / dataset.captions_per_image : row * dataset.captions_per_image;
      visit({.row = row,
             .coarse = {scores, static_cast<size_t>(num_items)},
             .rerank = {rerank.data_ptr<float>() + q * num_items, static_cast<size_t>(num_items)},
             .first_own = first_own - first_item,
             .num_own = images_searched ? 1 : dataset.captions_per_image});
    }
  }
}

}  // namespace dime
