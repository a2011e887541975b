#include "benchmarks/idle_model.h"

#include <utility>

#include "absl/status/status.h"
#include "index/status_macros.h"

namespace dime {
namespace {

// Nothing reads from it.
class IdleBank : public FeatureBank {
 public:
  IdleBank(Modality modality, int64_t count) : modality_(modality), count_(count) {}
  Modality modality() const override { return modality_; }
  int64_t count() const override { return count_; }
  absl::Status Write(absl::Span<const int64_t>, const EncodedItemsView&) override {
    return absl::OkStatus();
  }

 private:
  const Modality modality_;
  const int64_t count_;
};

// The same item `count` times.
EncodedItems Repeat(const EncodedItems& item, int64_t count) {
  if (count == 1) return item;
  return CopyItems(item.view(), std::vector<int64_t>(static_cast<size_t>(count), 0));
}

}  // namespace

IdleModel::IdleModel(int coarse_dim) {
  info_ = {.name = "idle",
           .fingerprint = "idle",
           .device = "cpu",
           .scorer = "idle",
           .max_words = 24,
           .num_regions = 36,
           .feature_dim = 288,
           .coarse_dim = coarse_dim};
  for (DirectionInfo& direction : info_.directions) {
    direction = {.embed_size = 64,
                 .num_heads = 4,
                 .raw_feature_norm = "clipped_l2norm",
                 .lambda_softmax = 9};
  }
  caption_ = RandomItems(info_, Modality::kCaption, 1, 3);
  image_ = RandomItems(info_, Modality::kImage, 1, 4);
}

absl::StatusOr<EncodedItems> IdleModel::EncodeCaptions(
    absl::Span<const std::string> captions) const {
  return Repeat(caption_, static_cast<int64_t>(captions.size()));
}

absl::StatusOr<EncodedItems> IdleModel::EncodeImages(int64_t count, int num_regions,
                                                     absl::Span<const float> features) const {
  return Repeat(image_, count);
}

absl::StatusOr<std::unique_ptr<FeatureBank>> IdleModel::MakeBank(
    const EncodedItemsView& features) const {
  return std::make_unique<IdleBank>(features.modality, features.count);
}

absl::StatusOr<std::unique_ptr<FeatureBank>> IdleModel::MakeSlabBank(const EncodedItemsView& shape,
                                                                     int64_t capacity) const {
  return std::make_unique<IdleBank>(shape.modality, capacity);
}

absl::StatusOr<std::vector<PairScores>> IdleModel::Score(
    absl::Span<const ScoringRequest> requests) const {
  std::vector<PairScores> answers(requests.size());
  for (size_t r = 0; r < requests.size(); ++r) {
    const ScoringRequest& request = requests[r];
    for (const Direction direction : kDirections) {
      if (!Uses(request.mode, direction)) continue;
      const auto d = static_cast<size_t>(direction);
      for (const int64_t row : request.rows) {
        answers[r].scores[d].push_back(static_cast<float>(row % 97) / 97);
      }
      if (request.want_paths) {
        answers[r].paths[d].assign(request.rows.size() * kNumPathWeights, 0.25f);
      }
    }
  }
  return answers;
}

absl::StatusOr<PairExplanation> IdleModel::Explain(const EncodedItemsView& image,
                                                   const EncodedItemsView& caption,
                                                   ScoreMode mode) const {
  return absl::UnimplementedError("a model that computes nothing explains nothing");
}

absl::StatusOr<std::vector<std::string>> IdleModel::Words(const std::string& caption) const {
  return absl::UnimplementedError("a model that computes nothing knows no words");
}

}  // namespace dime
