#ifndef DIME_SERVER_PIPELINE_RERANK_STAGE_H_
#define DIME_SERVER_PIPELINE_RERANK_STAGE_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/batching_scorer.h"
#include "model/call_context.h"
#include "server/pipeline/loaded_gallery.h"
#include "server/pipeline/search_types.h"

namespace dime {

// The third stage of a search: DIME scores every (query, candidate) pair, in launches shared with
// concurrent searches, and the final score is weighed out of the rerank and the coarse score. With
// a bound on final scores the pairs go in waves, and those that cannot reach the top_k are left out
// (see WavePlanner). Where the coarse score alone counts, nothing is scored. The candidates keep
// their order. Where the time left before the deadline does not suffice for all, as far as the
// scorer's queue and rate tell, the last of them are left out; and where reranking fails, the
// coarse order is the answer if the search allows that. Either is told in the result. Immutable,
// hence thread-safe. Gallery and scorer must outlive it.
class RerankStage {
 public:
  RerankStage(const LoadedGallery* gallery, BatchingScorer* scorer)
      : gallery_(gallery), scorer_(scorer) {}

  // Those of the candidates that have a final score: a first part of them, in their order.
  // RESOURCE_EXHAUSTED, UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED as BatchingScorer gives them;
  // INTERNAL for anything else that fails, and for scores that are no numbers.
  absl::StatusOr<RerankedCandidates> Run(const GalleryView& view, const EncodedQuery& query,
                                         std::vector<Candidate> candidates,
                                         const SearchOptions& options,
                                         const CallContext& context) const;

 private:
  // The candidates by the scorer, in waves.
  absl::StatusOr<RerankedCandidates> Rerank(const GalleryView& view, const EncodedQuery& query,
                                            absl::Span<const Candidate> candidates,
                                            const SearchOptions& options,
                                            const CallContext& context) const;
  // Scores of `candidates`, one wave.
  absl::StatusOr<PairScores> Score(const GalleryView& view, const EncodedQuery& query,
                                   absl::Span<const Candidate> candidates,
                                   const SearchOptions& options, const CallContext& context) const;

  const LoadedGallery* const gallery_;
  BatchingScorer* const scorer_;
};

}  // namespace dime

#endif  // DIME_SERVER_PIPELINE_RERANK_STAGE_H_
