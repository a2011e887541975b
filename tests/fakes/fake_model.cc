#include "tests/fakes/fake_model.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "index/status_macros.h"
#include "model/slab_items.h"

namespace dime {
namespace {

// In [-1, 1], and the same on every machine.
float HashToFloat(absl::string_view text, uint32_t salt) {
  uint32_t hash = 2166136261u ^ (salt * 16777619u);
  for (unsigned char c : text) hash = (hash ^ c) * 16777619u;
  hash ^= hash >> 15;
  hash *= 2246822519u;
  hash ^= hash >> 13;
  return static_cast<float>(hash % 20001) / 10000.0f - 1.0f;
}

void Normalize(absl::Span<float> values) {
  float square = 0;
  for (float value : values) square += value * value;
  const float norm = std::max(std::sqrt(square), 1e-12f);
  for (float& value : values) value /= norm;
}

EncodedItems MakeItems(Modality modality, int64_t count, int positions) {
  EncodedItems items{.modality = modality,
                     .count = count,
                     .positions = positions,
                     .lengths = std::vector<int32_t>(count, positions),
                     .coarse_dim = kFakeCoarseDim,
                     .coarse = std::vector<float>(count * kFakeCoarseDim)};
  for (int d = 0; d < kNumDirections; ++d) {
    items.directions[d] = {.embed_size = kFakeEmbedSize[d],
                           .local = std::vector<float>(count * positions * kFakeEmbedSize[d]),
                           .global = std::vector<float>(count * kFakeEmbedSize[d])};
  }
  return items;
}

std::vector<std::string> SplitWords(const std::string& caption) {
  return absl::StrSplit(caption, ' ', absl::SkipEmpty());
}

// Row `r` of a (rows, width) array.
template <typename T>
absl::Span<T> RowOf(absl::Span<T> values, int64_t r, int64_t width) {
  return values.subspan(r * width, width);
}

class FakeBank : public FeatureBank {
 public:
  explicit FakeBank(const EncodedItemsView& features) : features_(features) {}
  explicit FakeBank(std::unique_ptr<SlabItems> slab)
      : features_(slab->view()), slab_(std::move(slab)) {}
  absl::Status Write(absl::Span<const int64_t> slots, const EncodedItemsView& items) override {
    return slab_ == nullptr ? FeatureBank::Write(slots, items) : slab_->Write(slots, items);
  }
  Modality modality() const override { return features_.modality; }
  int64_t count() const override { return features_.count; }
  const EncodedItemsView& features() const { return features_; }

 private:
  const EncodedItemsView features_;
  const std::unique_ptr<SlabItems> slab_;
};

}  // namespace

float FakeScore(const EncodedItemsView& images, int64_t i, const EncodedItemsView& captions,
                int64_t c, Direction direction) {
  const DirectionFeaturesView& image = images.of(direction);
  const DirectionFeaturesView& caption = captions.of(direction);
  const int64_t e = image.embed_size;
  const auto dot = [](absl::Span<const float> a, absl::Span<const float> b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), 0.0f);
  };
  const float global = dot(RowOf(image.global, i, e), RowOf(caption.global, c, e));
  // The last region against the last word before the padding, so that lengths count too.
  const float local =
      dot(RowOf(image.local, i * images.positions + images.positions - 1, e),
          RowOf(caption.local, c * captions.positions + captions.lengths[c] - 2, e));
  return direction == Direction::kI2t ? 0.75f * global + 0.25f * local
                                      : 0.25f * global - 0.75f * local;
}

float FakePathWeight(float score, int index, Direction direction) {
  return std::abs(score) * static_cast<float>(index + 1) / kNumPathWeights *
         (direction == Direction::kI2t ? 1.0f : 0.5f);
}

absl::StatusOr<EncodedItems> FakeCaptionEncoder::EncodeCaptions(
    absl::Span<const std::string> captions) const {
  EncodedItems items = MakeItems(Modality::kCaption, captions.size(), kFakeMaxWords);
  for (size_t c = 0; c < captions.size(); ++c) {
    std::vector<std::string> words = SplitWords(captions[c]);
    words.resize(std::min<size_t>(words.size(), kFakeMaxWords - 2));
    items.lengths[c] = static_cast<int32_t>(words.size()) + 2;
    const absl::Span<float> coarse = RowOf(absl::MakeSpan(items.coarse), c, kFakeCoarseDim);
    for (int j = 0; j < kFakeCoarseDim; ++j) {
      for (const std::string& word : words) coarse[j] += HashToFloat(word, 1000 + j);
    }
    Normalize(coarse);
    for (int d = 0; d < kNumDirections; ++d) {
      const int e = kFakeEmbedSize[d];
      const absl::Span<float> global = RowOf(absl::MakeSpan(items.directions[d].global), c, e);
      for (size_t w = 0; w < words.size(); ++w) {
        const absl::Span<float> local =
            RowOf(absl::MakeSpan(items.directions[d].local), c * kFakeMaxWords + w + 1, e);
        for (int j = 0; j < e; ++j) {
          local[j] = HashToFloat(words[w], 100 * d + j);
          global[j] += local[j];
        }
        Normalize(local);
      }
      Normalize(global);
    }
  }
  return items;
}

absl::StatusOr<bool> FakeCaptionEncoder::IsTruncated(const std::string& caption) const {
  return SplitWords(caption).size() > kFakeMaxWords - 2;
}

absl::StatusOr<EncodedItems> FakeImageEncoder::EncodeImages(
    int64_t count, int num_regions, absl::Span<const float> features) const {
  const int64_t image_size = int64_t{num_regions} * kFakeFeatureDim;
  if (static_cast<int64_t>(features.size()) != count * image_size) {
    return absl::InvalidArgumentError(absl::StrCat("there are ", features.size(), " features for ",
                                                   count, " images of ", image_size));
  }
  EncodedItems items = MakeItems(Modality::kImage, count, num_regions);
  // One element of a fixed linear map.
  const auto project = [](absl::Span<const float> x, int salt) {
    float sum = 0;
    for (size_t k = 0; k < x.size(); ++k) {
      sum += x[k] * std::sin(static_cast<float>(3 * salt + 7 * k + 1));
    }
    return sum;
  };
  for (int64_t i = 0; i < count; ++i) {
    const absl::Span<const float> image = RowOf(features, i, image_size);
    const absl::Span<float> coarse = RowOf(absl::MakeSpan(items.coarse), i, kFakeCoarseDim);
    for (int j = 0; j < kFakeCoarseDim; ++j) coarse[j] = project(image, 1000 + j);
    Normalize(coarse);
    for (int d = 0; d < kNumDirections; ++d) {
      const int e = kFakeEmbedSize[d];
      const absl::Span<float> global = RowOf(absl::MakeSpan(items.directions[d].global), i, e);
      for (int j = 0; j < e; ++j) global[j] = project(image, 100 * d + j);
      Normalize(global);
      for (int r = 0; r < num_regions; ++r) {
        const absl::Span<float> local =
            RowOf(absl::MakeSpan(items.directions[d].local), i * num_regions + r, e);
        for (int j = 0; j < e; ++j) {
          local[j] = project(RowOf(image, r, kFakeFeatureDim), 100 * d + j);
        }
        Normalize(local);
      }
    }
  }
  return items;
}

absl::StatusOr<std::unique_ptr<FeatureBank>> FakePairScorer::MakeBank(
    const EncodedItemsView& features) const {
  return std::make_unique<FakeBank>(features);
}

absl::StatusOr<std::unique_ptr<FeatureBank>> FakePairScorer::MakeSlabBank(
    const EncodedItemsView& shape, int64_t capacity) const {
  ASSIGN_OR_RETURN(std::unique_ptr<SlabItems> slab, SlabItems::Create(shape, capacity));
  return std::make_unique<FakeBank>(std::move(slab));
}

absl::StatusOr<std::vector<PairScores>> FakePairScorer::Score(
    absl::Span<const ScoringRequest> requests) const {
  if (on_launch) {
    if (absl::Status status = on_launch(requests); !status.ok()) return status;
  }
  std::vector<PairScores> answers(requests.size());
  for (size_t r = 0; r < requests.size(); ++r) {
    const ScoringRequest& request = requests[r];
    const EncodedItemsView& items = static_cast<const FakeBank*>(request.bank)->features();
    const bool images_in_bank = items.modality == Modality::kImage;
    for (Direction direction : kDirections) {
      if (!Uses(request.mode, direction)) continue;
      const int d = static_cast<int>(direction);
      for (int64_t row : request.rows) {
        const float score = images_in_bank ? FakeScore(items, row, request.query, 0, direction)
                                           : FakeScore(request.query, 0, items, row, direction);
        answers[r].scores[d].push_back(replace_score ? replace_score(row, score) : score);
        for (int w = 0; request.want_paths && w < kNumPathWeights; ++w) {
          answers[r].paths[d].push_back(FakePathWeight(score, w, direction));
        }
      }
    }
  }
  return answers;
}

absl::StatusOr<PairExplanation> FakePairExplainer::Explain(const EncodedItemsView& image,
                                                           const EncodedItemsView& caption,
                                                           ScoreMode mode) const {
  PairExplanation explanation{.num_words = caption.lengths[0], .num_regions = image.positions};
  for (Direction direction : kDirections) {
    if (!Uses(mode, direction)) continue;
    std::optional<PairExplanation::Part>& of_direction =
        explanation.directions[static_cast<int>(direction)];
    of_direction = PairExplanation::Part();
    PairExplanation::Part& part = *of_direction;
    part.score = FakeScore(image, 0, caption, 0, direction);
    for (int w = 0; w < kNumPathWeights; ++w) {
      part.paths.push_back(FakePathWeight(part.score, w, direction));
    }
    for (int layer = 0; layer < kNumRoutingLayers; ++layer) {
      part.layers[layer].weight = 0.25f * static_cast<float>(layer + 1);
      for (int w = 0; w < explanation.num_words; ++w) {
        for (int r = 0; r < explanation.num_regions; ++r) {
          const int n =
              direction == Direction::kI2t ? explanation.num_words : explanation.num_regions;
          part.layers[layer].attention.push_back(static_cast<float>(1 + (w + r + layer) % n) /
                                                 static_cast<float>(n * (n + 1) / 2));
        }
      }
    }
  }
  return explanation;
}

absl::StatusOr<std::vector<std::string>> FakePairExplainer::Words(
    const std::string& caption) const {
  std::vector<std::string> words = SplitWords(caption);
  words.resize(std::min<size_t>(words.size(), kFakeMaxWords - 2));
  words.insert(words.begin(), "[CLS]");
  words.push_back("[SEP]");
  return words;
}

FakeModel::FakeModel() {
  info_ = {.name = "fake-model",
           .fingerprint = "fake-fingerprint",
           .device = "cpu",
           .scorer = "fake",
           .max_words = kFakeMaxWords,
           .num_regions = kFakeNumRegions,
           .feature_dim = kFakeFeatureDim,
           .coarse_dim = kFakeCoarseDim};
  for (int d = 0; d < kNumDirections; ++d) {
    info_.directions[d] = {.embed_size = kFakeEmbedSize[d],
                           .num_heads = 2,
                           .raw_feature_norm = "clipped_l2norm",
                           .lambda_softmax = d == 0 ? 4.0f : 9.0f};
  }
}

}  // namespace dime
