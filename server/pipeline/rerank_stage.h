#ifndef DIME_SERVER_PIPELINE_RERANK_STAGE_H_
#define DIME_SERVER_PIPELINE_RERANK_STAGE_H_

#include <vector>

#include "absl/status/statusor.h"
#include "model/batching_scorer.h"
#include "model/call_context.h"
#include "server/pipeline/loaded_gallery.h"
#include "server/pipeline/search_types.h"

namespace dime {

// The third stage of a search: DIME scores every (query, candidate) pair, in launches shared with
// concurrent searches. The candidates keep their order.
// Immutable, hence thread-safe. Gallery and scorer must outlive it.
class RerankStage {
 public:
  RerankStage(const LoadedGallery* gallery, BatchingScorer* scorer)
      : gallery_(gallery), scorer_(scorer) {}

  // RESOURCE_EXHAUSTED, UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED as BatchingScorer gives them;
  // INTERNAL for anything else that fails, and for scores that are no numbers.
  absl::StatusOr<RerankedCandidates> Run(const EncodedQuery& query,
                                         std::vector<Candidate> candidates,
                                         const SearchOptions& options,
                                         const CallContext& context) const;

 private:
  const LoadedGallery* const gallery_;
  BatchingScorer* const scorer_;
};

}  // namespace dime

#endif  // DIME_SERVER_PIPELINE_RERANK_STAGE_H_
