#include "server/pipeline/rerank_stage.h"

#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace dime {
namespace {

// Codes that tell of the server's load or the caller's wishes rather than of a fault.
bool IsExpected(absl::StatusCode code) {
  return code == absl::StatusCode::kResourceExhausted || code == absl::StatusCode::kUnavailable ||
         code == absl::StatusCode::kDeadlineExceeded || code == absl::StatusCode::kCancelled;
}

// A score that is no number has no place in an order, so the whole answer is refused.
absl::Status CheckFinite(const RerankedCandidates& reranked, Modality target) {
  for (Direction direction : kDirections) {
    const std::vector<float>& scores = reranked.scores.scores[static_cast<int>(direction)];
    for (size_t k = 0; k < scores.size(); ++k) {
      if (std::isfinite(scores[k])) continue;
      return absl::InternalError(absl::StrCat(
          "the ", DirectionName(direction), " score of the query and the ", ModalityName(target),
          " in row ", reranked.candidates[k].row, " is ", scores[k]));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RerankedCandidates> RerankStage::Run(const EncodedQuery& query,
                                                    std::vector<Candidate> candidates,
                                                    const SearchOptions& options,
                                                    const CallContext& context) const {
  RerankedCandidates reranked;
  if (candidates.empty()) return reranked;

  std::vector<int64_t> rows;
  rows.reserve(candidates.size());
  for (const Candidate& candidate : candidates) rows.push_back(candidate.row);
  absl::StatusOr<PairScores> scores = scorer_->Score({.query = query.view(),
                                                      .bank = gallery_->bank(query.target()),
                                                      .rows = rows,
                                                      .mode = options.mode,
                                                      .want_paths = options.want_paths},
                                                     context);
  if (!scores.ok()) {
    if (IsExpected(scores.status().code())) return scores.status();
    return absl::InternalError(absl::StrCat("reranking failed: ", scores.status().message()));
  }
  reranked.candidates = std::move(candidates);
  reranked.scores = *std::move(scores);
  if (absl::Status finite = CheckFinite(reranked, query.target()); !finite.ok()) return finite;
  reranked.combined = reranked.scores.Combined();
  return reranked;
}

}  // namespace dime
