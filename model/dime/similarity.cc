#include "model/dime/similarity.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "index/status_macros.h"

namespace dime {
namespace {

constexpr int64_t kEncodeBatch = 64;

// Images and captions in one block of pairs: a CPU's caches, or enough to fill a device.
struct BlockSize {
  int64_t images;
  int64_t captions;
};
BlockSize BlockFor(torch::Device device) {
  return device.is_cpu() ? BlockSize{8, 16} : BlockSize{64, 64};
}

torch::Tensor ToTensor(absl::Span<const int64_t> rows) {
  torch::Tensor tensor = torch::empty({static_cast<int64_t>(rows.size())}, torch::kLong);
  std::copy(rows.begin(), rows.end(), tensor.data_ptr<int64_t>());
  return tensor;
}

// Captions of equal text get the scores of the first of them.
void EqualiseEqualCaptions(absl::Span<const int64_t> first_equal,
                           absl::Span<const int64_t> captions, torch::Tensor& similarity) {
  const std::vector<int64_t> first = FirstOfText(first_equal, captions);
  for (int64_t c = 0; c < similarity.size(1); ++c) {
    if (first[c] != c) similarity.select(1, c).copy_(similarity.select(1, first[c]));
  }
}

// One direction's encoded items as the scorer takes them. All must outlive the view.
EncodedItemsView ViewOf(Modality modality, Direction direction, const torch::Tensor& local,
                        const torch::Tensor& global, const std::vector<int32_t>& lengths) {
  const auto floats = [](const torch::Tensor& x) {
    return absl::Span<const float>(x.data_ptr<float>(), static_cast<size_t>(x.numel()));
  };
  EncodedItemsView view{.modality = modality,
                        .count = local.size(0),
                        .positions = static_cast<int>(local.size(1)),
                        .lengths = lengths};
  view.directions[static_cast<int>(direction)] = {.embed_size = static_cast<int>(local.size(2)),
                                                  .local = floats(local),
                                                  .global = floats(global)};
  return view;
}

}  // namespace

absl::StatusOr<EncodedSplit> EncodeSplit(DirectionModelImpl& model, const TextBackbone& backbone,
                                         int max_words, torch::Device device,
                                         const PrecomputedDataset& dataset,
                                         std::optional<int64_t> max_images,
                                         const ProgressCallback& progress) {
  c10::InferenceMode inference;
  const int64_t images = std::min(max_images.value_or(dataset.num_images()), dataset.num_images());
  const int64_t captions = std::min(images * dataset.captions_per_image(), dataset.num_captions());
  EncodedSplit split;
  std::vector<torch::Tensor> regions, image, words, sentence, mask;
  for (int64_t first = 0; first < images; first += kEncodeBatch) {
    const int64_t count = std::min(kEncodeBatch, images - first);
    const torch::Tensor features =
        torch::empty({count, dataset.num_regions(), dataset.feature_dim()});
    RETURN_IF_ERROR(dataset.ReadFeatures(
        first, count, {features.data_ptr<float>(), static_cast<size_t>(features.numel())}));
    const ImageHeadsImpl::Output output = model.image->forward(features.to(device));
    regions.push_back(output.regions);
    image.push_back(output.image);
    progress(count);
  }
  for (int64_t first = 0; first < captions; first += kEncodeBatch) {
    const int64_t count = std::min(kEncodeBatch, captions - first);
    ASSIGN_OR_RETURN(
        const TokenBatch tokens,
        TokenBatch::Make(*backbone.tokenizer,
                         absl::MakeConstSpan(dataset.captions()).subspan(first, count), max_words));
    const torch::Tensor lengths = tokens.lengths.to(device);
    const TextHeadsImpl::Output output =
        model.text->forward(Bert(backbone.bert)->forward(tokens.ids.to(device), lengths));
    words.push_back(output.words);
    sentence.push_back(output.sentence);
    mask.push_back(torch::arange(max_words, lengths.options()).unsqueeze(0) < lengths.unsqueeze(1));
    progress(count);
  }
  return EncodedSplit{
      .regions = torch::cat(regions),
      .image = torch::cat(image),
      .words = torch::cat(words),
      .sentence = torch::cat(sentence),
      .word_mask = torch::cat(mask),
      .first_equal = FirstEqual(absl::MakeConstSpan(dataset.captions()).first(captions))};
}

torch::Tensor Similarity(DirectionModelImpl& model, const EncodedSplit& split,
                         absl::Span<const int64_t> images, absl::Span<const int64_t> captions,
                         const ProgressCallback& progress) {
  c10::InferenceMode inference;
  const torch::Device device = split.regions.device();
  const BlockSize block = BlockFor(device);
  const auto num_images = static_cast<int64_t>(images.size());
  const auto num_captions = static_cast<int64_t>(captions.size());
  const torch::Tensor image_rows = ToTensor(images).to(device);
  const torch::Tensor caption_rows = ToTensor(captions).to(device);
  torch::Tensor similarity = torch::empty({num_images, num_captions});
  for (int64_t i = 0; i < num_images; i += block.images) {
    const torch::Tensor rows = image_rows.narrow(0, i, std::min(block.images, num_images - i));
    // (I, 1, ...) against (1, T, ...): all pairs of the block.
    const torch::Tensor regions = split.regions.index_select(0, rows).unsqueeze(1);
    const torch::Tensor image = split.image.index_select(0, rows).unsqueeze(1);
    for (int64_t c = 0; c < num_captions; c += block.captions) {
      const torch::Tensor columns =
          caption_rows.narrow(0, c, std::min(block.captions, num_captions - c));
      const auto caption_side = [&](const torch::Tensor& x) {
        return x.index_select(0, columns).unsqueeze(0);
      };
      similarity.narrow(0, i, rows.size(0))
          .narrow(1, c, columns.size(0))
          .copy_(model
                     .Score(regions, image, caption_side(split.words), caption_side(split.sentence),
                            caption_side(split.word_mask))
                     .scores);
      progress(rows.size(0) * columns.size(0));
    }
  }
  EqualiseEqualCaptions(split.first_equal, captions, similarity);
  return similarity;
}

torch::Tensor Similarity(const KernelScorer& scorer, Direction direction, const EncodedSplit& split,
                         absl::Span<const int64_t> images, absl::Span<const int64_t> captions,
                         const ProgressCallback& progress) {
  c10::InferenceMode inference;
  const torch::Tensor regions = split.regions.contiguous(), image = split.image.contiguous();
  const torch::Tensor words = split.words.contiguous(), sentence = split.sentence.contiguous();
  const std::vector<int32_t> num_regions(regions.size(0), static_cast<int32_t>(regions.size(1)));
  const torch::Tensor valid = split.word_mask.sum(1, /*keepdim=*/false, torch::kInt).contiguous();
  const std::vector<int32_t> num_words(valid.data_ptr<int32_t>(),
                                       valid.data_ptr<int32_t>() + valid.numel());
  torch::Tensor similarity =
      torch::empty({static_cast<int64_t>(images.size()), static_cast<int64_t>(captions.size())});
  scorer.ScoreMatrix(
      direction, ViewOf(Modality::kImage, direction, regions, image, num_regions), images,
      ViewOf(Modality::kCaption, direction, words, sentence, num_words), captions,
      {similarity.data_ptr<float>(), static_cast<size_t>(similarity.numel())}, progress);
  EqualiseEqualCaptions(split.first_equal, captions, similarity);
  return similarity;
}

torch::Tensor Similarity(DirectionModelImpl& model, const EncodedSplit& split, int64_t first_image,
                         int64_t images, int64_t first_caption, int64_t captions,
                         const ProgressCallback& progress) {
  return Similarity(model, split, RowRange(first_image, images), RowRange(first_caption, captions),
                    progress);
}

std::vector<int64_t> RowRange(int64_t first, int64_t count) {
  std::vector<int64_t> rows(count);
  std::iota(rows.begin(), rows.end(), first);
  return rows;
}

std::vector<int64_t> FirstOfText(absl::Span<const int64_t> first_equal,
                                 absl::Span<const int64_t> captions) {
  std::vector<int64_t> first(captions.size());
  absl::flat_hash_map<int64_t, int64_t> place_of_text;
  for (size_t c = 0; c < captions.size(); ++c) {
    first[c] =
        place_of_text.try_emplace(first_equal[captions[c]], static_cast<int64_t>(c)).first->second;
  }
  return first;
}

std::vector<int64_t> FirstEqual(absl::Span<const std::string> captions) {
  std::vector<int64_t> first(captions.size());
  absl::flat_hash_map<absl::string_view, int64_t> first_of_text;
  for (size_t c = 0; c < captions.size(); ++c) {
    first[c] = first_of_text.try_emplace(captions[c], static_cast<int64_t>(c)).first->second;
  }
  return first;
}

}  // namespace dime
