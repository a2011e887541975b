#ifndef DIME_TESTS_FAKES_FAKE_MODEL_H_
#define DIME_TESTS_FAKES_FAKE_MODEL_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/dime_model.h"

namespace dime {

// Sizes of the fake model; all different, so that a mix-up shows.
inline constexpr int kFakeMaxWords = 8;
inline constexpr int kFakeNumRegions = 3;
inline constexpr int kFakeFeatureDim = 5;
inline constexpr int kFakeCoarseDim = 7;
inline constexpr int kFakeEmbedSize[kNumDirections] = {4, 6};

// The score that FakePairScorer gives an image and a caption (row `i` and row `c` of the views): a
// simple function of everything that a scorer is given, in [-1, 1].
float FakeScore(const EncodedItemsView& images, int64_t i, const EncodedItemsView& captions,
                int64_t c, Direction direction);
// The path weight that it gives at `index` (0 to 35) to a pair with that score.
float FakePathWeight(float score, int index, Direction direction);

// Encodes captions by hashing their words.
class FakeCaptionEncoder : public CaptionEncoder {
 public:
  absl::StatusOr<EncodedItems> EncodeCaptions(
      absl::Span<const std::string> captions) const override;
  absl::StatusOr<bool> IsTruncated(const std::string& caption) const override;
};

// Encodes region features by fixed linear maps, so that very large features overflow as a network's
// would.
class FakeImageEncoder : public ImageEncoder {
 public:
  absl::StatusOr<EncodedItems> EncodeImages(int64_t count, int num_regions,
                                            absl::Span<const float> features) const override;
};

// Scores pairs by FakeScore(). Hooks let a test look on, block, fail or spoil scores.
class FakePairScorer : public PairScorer {
 public:
  absl::StatusOr<std::unique_ptr<FeatureBank>> MakeBank(
      const EncodedItemsView& features) const override;
  absl::StatusOr<std::unique_ptr<FeatureBank>> MakeSlabBank(const EncodedItemsView& shape,
                                                            int64_t capacity) const override;
  absl::StatusOr<std::vector<PairScores>> Score(
      absl::Span<const ScoringRequest> requests) const override;
  bool launches_anywhere() const override { return anywhere; }

  int64_t launch_pairs() const override { return pairs_of_launch; }

  bool anywhere = false;
  int64_t pairs_of_launch = 512;
  // Called at the start of each launch, on its thread; an error becomes the launch's. May be empty.
  std::function<absl::Status(absl::Span<const ScoringRequest>)> on_launch;
  // Called for each score with the bank's row; what it returns is given instead. May be empty.
  std::function<float(int64_t row, float score)> replace_score;
};

// Explains pairs by FakeScore(), FakePathWeight() and attention that is the same for all pairs of
// one size: position `i` attends to its n counterparts k with (1 + (i + k + layer) % n) / (sum of
// these). Words are those between spaces.
class FakePairExplainer : public PairExplainer {
 public:
  absl::StatusOr<PairExplanation> Explain(const EncodedItemsView& image,
                                          const EncodedItemsView& caption,
                                          ScoreMode mode) const override;
  absl::StatusOr<std::vector<std::string>> Words(const std::string& caption) const override;
};

// A DimeModel without a network: the fakes above behind one roof.
class FakeModel : public DimeModel {
 public:
  FakeModel();

  const ModelInfo& info() const override { return info_; }
  const CaptionEncoder& caption_encoder() const override { return caption_encoder_; }
  const ImageEncoder& image_encoder() const override { return image_encoder_; }
  const PairScorer& pair_scorer() const override { return pair_scorer_; }
  const PairExplainer& pair_explainer() const override { return pair_explainer_; }

  ModelInfo& mutable_info() { return info_; }
  FakePairScorer& fake_scorer() { return pair_scorer_; }

 private:
  ModelInfo info_;
  FakeCaptionEncoder caption_encoder_;
  FakeImageEncoder image_encoder_;
  FakePairScorer pair_scorer_;
  FakePairExplainer pair_explainer_;
};

}  // namespace dime

#endif  // DIME_TESTS_FAKES_FAKE_MODEL_H_
