#ifndef DIME_SERVER_PIPELINE_SEARCH_PIPELINE_H_
#define DIME_SERVER_PIPELINE_SEARCH_PIPELINE_H_

#include "absl/status/statusor.h"
#include "model/batching_scorer.h"
#include "model/call_context.h"
#include "model/caption_encoder.h"
#include "model/image_encoder.h"
#include "server/pipeline/encode_stage.h"
#include "server/pipeline/group_stage.h"
#include "server/pipeline/loaded_gallery.h"
#include "server/pipeline/recall_stage.h"
#include "server/pipeline/rerank_stage.h"
#include "server/pipeline/search_types.h"
#include "server/pipeline/select_stage.h"

namespace dime {

// One search from query to hits: encode, recall, rerank, group if asked, select. A text searches
// the images, an image the captions; the stages are the same. Each stage is timed, and between them
// the call is asked whether it is still wanted. Knows neither transport nor network. Thread-safe;
// Run() blocks its thread until the hits are there. All that it is made of must outlive it.
class SearchPipeline {
 public:
  SearchPipeline(const LoadedGallery* gallery, const CaptionEncoder* caption_encoder,
                 const ImageEncoder* image_encoder, BatchingScorer* scorer)
      : encode_(caption_encoder, image_encoder), rerank_(gallery, scorer) {}

  // Searches `view`, which the query's rows are of. Errors: INVALID_ARGUMENT if the query is at
  // fault, DEADLINE_EXCEEDED or CANCELLED as `context` says, and those of RerankStage.
  absl::StatusOr<SearchResult> Run(const GalleryView& view, const Query& query,
                                   const SearchOptions& options, const CallContext& context) const;

 private:
  const EncodeStage encode_;
  const RecallStage recall_{};
  const RerankStage rerank_;
  const GroupStage group_{};
  const SelectStage select_{};
};

}  // namespace dime

#endif  // DIME_SERVER_PIPELINE_SEARCH_PIPELINE_H_
