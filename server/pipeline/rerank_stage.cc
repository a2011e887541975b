#include "server/pipeline/rerank_stage.h"

#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "index/status_macros.h"
#include "model/query_scores.h"
#include "server/pipeline/wave_planner.h"

namespace dime {
namespace {

// Codes that tell of the server's load or the caller's wishes rather than of a fault.
bool IsExpected(absl::StatusCode code) {
  return code == absl::StatusCode::kResourceExhausted || code == absl::StatusCode::kUnavailable ||
         code == absl::StatusCode::kDeadlineExceeded || code == absl::StatusCode::kCancelled;
}

// A score that is no number has no place in an order, so the whole answer is refused.
absl::Status CheckFinite(const PairScores& scores, absl::Span<const Candidate> candidates,
                         Modality target) {
  for (Direction direction : kDirections) {
    const std::vector<float>& of_direction = scores.scores[static_cast<int>(direction)];
    for (size_t k = 0; k < of_direction.size(); ++k) {
      if (std::isfinite(of_direction[k])) continue;
      return absl::InternalError(absl::StrCat(
          "the ", DirectionName(direction), " score of the query and the ", ModalityName(target),
          " in row ", candidates[k].row, " is ", of_direction[k]));
    }
  }
  return absl::OkStatus();
}

void Append(const PairScores& wave, PairScores& scores) {
  for (int d = 0; d < kNumDirections; ++d) {
    scores.scores[d].insert(scores.scores[d].end(), wave.scores[d].begin(), wave.scores[d].end());
    scores.paths[d].insert(scores.paths[d].end(), wave.paths[d].begin(), wave.paths[d].end());
  }
}

}  // namespace

absl::StatusOr<RerankedCandidates> RerankStage::Run(const GalleryView& view,
                                                    const EncodedQuery& query,
                                                    std::vector<Candidate> candidates,
                                                    const SearchOptions& options,
                                                    const CallContext& context) const {
  RerankedCandidates reranked;
  if (options.fusion_weight >= 1) {
    for (const Candidate& candidate : candidates) reranked.final_scores.push_back(candidate.score);
    reranked.candidates = std::move(candidates);
    return reranked;
  }
  const absl::Span<const Candidate> all = candidates;
  const WavePlanner planner(all, options.top_k, options.score_bound);
  while (const int64_t size = planner.NextWave(reranked.final_scores)) {
    RETURN_IF_ERROR(context.Check());
    const absl::Span<const Candidate> wave = all.subspan(reranked.final_scores.size(), size);
    ASSIGN_OR_RETURN(PairScores scores, Score(view, query, wave, options, context));
    const std::vector<float> rerank_scores = scores.Combined();
    for (int64_t k = 0; k < size; ++k) {
      reranked.final_scores.push_back(
          FusedScore(rerank_scores[k], wave[k].score, options.fusion_weight));
    }
    reranked.rerank_scores.insert(reranked.rerank_scores.end(), rerank_scores.begin(),
                                  rerank_scores.end());
    Append(scores, reranked.scores);
  }
  candidates.resize(reranked.final_scores.size());
  reranked.candidates = std::move(candidates);
  return reranked;
}

absl::StatusOr<PairScores> RerankStage::Score(const GalleryView& view, const EncodedQuery& query,
                                              absl::Span<const Candidate> candidates,
                                              const SearchOptions& options,
                                              const CallContext& context) const {
  std::vector<int64_t> rows;
  rows.reserve(candidates.size());
  for (const Candidate& candidate : candidates) rows.push_back(candidate.row);
  absl::StatusOr<BankLease> lease = gallery_->Acquire(view, query.target(), rows);
  if (!lease.ok()) {
    return absl::InternalError(
        absl::StrCat("reading the candidates' features failed: ", lease.status().message()));
  }
  absl::StatusOr<PairScores> scores = scorer_->Score({.query = query.view(),
                                                      .bank = lease->bank,
                                                      .rows = lease->rows,
                                                      .mode = options.mode,
                                                      .want_paths = options.want_paths},
                                                     context);
  if (!scores.ok()) {
    if (IsExpected(scores.status().code())) return scores.status();
    return absl::InternalError(absl::StrCat("reranking failed: ", scores.status().message()));
  }
  RETURN_IF_ERROR(CheckFinite(*scores, candidates, query.target()));
  return scores;
}

}  // namespace dime
