#ifndef DIME_SERVER_PIPELINE_EXPLAIN_PIPELINE_H_
#define DIME_SERVER_PIPELINE_EXPLAIN_PIPELINE_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "index/gallery.h"
#include "model/call_context.h"
#include "model/caption_encoder.h"
#include "model/image_encoder.h"
#include "model/pair_explainer.h"
#include "server/pipeline/encode_stage.h"
#include "server/pipeline/search_types.h"

namespace dime {

// A caption of the gallery: its text and its stored features are used.
struct GalleryCaptionQuery {
  int64_t row = 0;
};

// One caption and one image.
struct PairQuery {
  std::variant<TextQuery, GalleryCaptionQuery> caption;
  Query image;  // RegionFeaturesQuery or GalleryImageQuery
};

// What made a pair's score.
struct ExplainedPair {
  std::vector<std::string> words;  // (num_words): what the rows of the attention are of
  bool text_truncated = false;
  float coarse_score = 0;
  PairExplanation explanation;
};

// One explanation from the pair to what made its score: encode both sides, or take them out of the
// gallery, then let the model's explainer score them once more. Like SearchPipeline it asks the
// call between steps whether it is still wanted, and knows neither transport nor network; unlike
// it, it scores on the caller's thread, for pairs of this kind are few. Thread-safe. All that it is
// made of must outlive it.
class ExplainPipeline {
 public:
  ExplainPipeline(const CaptionEncoder* caption_encoder, const ImageEncoder* image_encoder,
                  const PairExplainer* explainer)
      : encode_(caption_encoder, image_encoder),
        caption_encoder_(caption_encoder),
        explainer_(explainer) {}

  // `view`: what the rows of the query are of. Errors: INVALID_ARGUMENT if text or features are at
  // fault, DEADLINE_EXCEEDED or CANCELLED as `context` says, INTERNAL if the model fails.
  absl::StatusOr<ExplainedPair> Run(const GalleryView& view, const PairQuery& query, ScoreMode mode,
                                    const CallContext& context) const;

 private:
  const EncodeStage encode_;
  const CaptionEncoder* const caption_encoder_;
  const PairExplainer* const explainer_;
};

}  // namespace dime

#endif  // DIME_SERVER_PIPELINE_EXPLAIN_PIPELINE_H_
