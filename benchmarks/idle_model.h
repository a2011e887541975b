#ifndef DIME_BENCHMARKS_IDLE_MODEL_H_
#define DIME_BENCHMARKS_IDLE_MODEL_H_

#include "benchmarks/micro_fixture.h"
#include "model/dime_model.h"

namespace dime {

// A model of the sample's sizes that computes nothing: encoding gives a copy of features made
// beforehand, scoring a number for each pair. What a server over it costs is everything else.
// Thread-safe.
class IdleModel : public DimeModel,
                  private CaptionEncoder,
                  private ImageEncoder,
                  private PairScorer,
                  private PairExplainer {
 public:
  // Coarse embeddings of `coarse_dim` floats: a few, for recall to cost little.
  explicit IdleModel(int coarse_dim);

  const ModelInfo& info() const override { return info_; }
  const CaptionEncoder& caption_encoder() const override { return *this; }
  const ImageEncoder& image_encoder() const override { return *this; }
  const PairScorer& pair_scorer() const override { return *this; }
  const PairExplainer& pair_explainer() const override { return *this; }

 private:
  absl::StatusOr<EncodedItems> EncodeCaptions(
      absl::Span<const std::string> captions) const override;
  absl::StatusOr<bool> IsTruncated(const std::string& caption) const override { return false; }
  absl::StatusOr<EncodedItems> EncodeImages(int64_t count, int num_regions,
                                            absl::Span<const float> features) const override;
  absl::StatusOr<std::unique_ptr<FeatureBank>> MakeBank(
      const EncodedItemsView& features) const override;
  absl::StatusOr<std::unique_ptr<FeatureBank>> MakeSlabBank(const EncodedItemsView& shape,
                                                            int64_t capacity) const override;
  absl::StatusOr<std::vector<PairScores>> Score(
      absl::Span<const ScoringRequest> requests) const override;
  bool launches_anywhere() const override { return true; }  // as the CPU's kernels
  absl::StatusOr<PairExplanation> Explain(const EncodedItemsView& image,
                                          const EncodedItemsView& caption,
                                          ScoreMode mode) const override;
  absl::StatusOr<std::vector<std::string>> Words(const std::string& caption) const override;

  ModelInfo info_;
  EncodedItems caption_, image_;  // one each
};

}  // namespace dime

#endif  // DIME_BENCHMARKS_IDLE_MODEL_H_
