#include "server/pipeline/rerank_stage.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
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

RerankedCandidates InCoarseOrder(std::vector<Candidate> candidates) {
  RerankedCandidates reranked;
  for (const Candidate& candidate : candidates) reranked.final_scores.push_back(candidate.score);
  reranked.candidates = std::move(candidates);
  return reranked;
}

// Of the time left, what reranking may count on: the answer must be written too, and the scorer's
// rate is an estimate.
absl::Duration TimeToRerank(const CallContext& context) {
  constexpr absl::Duration kRest = absl::Milliseconds(2);
  constexpr double kShare = 0.8;
  if (context.deadline() == absl::InfiniteFuture()) return absl::InfiniteDuration();
  return kShare * (context.deadline() - absl::Now() - kRest);
}

// What a failed reranking makes of the answer, if anything.
std::optional<Degradation> DegradationOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kDeadlineExceeded:
      return Degradation::kDeadline;
    case absl::StatusCode::kResourceExhausted:
      return Degradation::kQueueFull;
    case absl::StatusCode::kInternal:
      return Degradation::kRerankFailed;
    default:  // the caller or the server is going
      return std::nullopt;
  }
}

}  // namespace

absl::StatusOr<RerankedCandidates> RerankStage::Run(const GalleryView& view,
                                                    const EncodedQuery& query,
                                                    std::vector<Candidate> candidates,
                                                    const SearchOptions& options,
                                                    const CallContext& context) const {
  if (options.fusion_weight >= 1) return InCoarseOrder(std::move(candidates));
  const absl::Duration time = TimeToRerank(context);
  const auto count = static_cast<int64_t>(candidates.size());
  int64_t depth = count;
  if (!options.exact) {
    const int64_t fits = scorer_->PairsWithin(options.mode, context.priority(), time);
    depth = std::min(count, std::max<int64_t>(fits, options.min_rerank_depth));
  }
  // If the coarse order will do, there must be time left for it.
  const CallContext part(context,
                         options.coarse_on_error ? absl::Now() + time : absl::InfiniteFuture(),
                         context.priority());
  absl::StatusOr<RerankedCandidates> reranked =
      Rerank(view, query, absl::MakeConstSpan(candidates).first(depth), options, part);
  if (reranked.ok()) {
    if (depth < count) reranked->degradations.push_back(Degradation::kDeadline);
    return reranked;
  }
  const std::optional<Degradation> degradation = DegradationOf(reranked.status());
  if (!options.coarse_on_error || !degradation.has_value()) return reranked.status();
  RETURN_IF_ERROR(context.Check());
  RerankedCandidates coarse = InCoarseOrder(std::move(candidates));
  coarse.degradations.push_back(*degradation);
  return coarse;
}

absl::StatusOr<RerankedCandidates> RerankStage::Rerank(const GalleryView& view,
                                                       const EncodedQuery& query,
                                                       absl::Span<const Candidate> candidates,
                                                       const SearchOptions& options,
                                                       const CallContext& context) const {
  RerankedCandidates reranked;
  const WavePlanner planner(candidates, options.top_k, options.score_bound);
  while (const int64_t size = planner.NextWave(reranked.final_scores)) {
    RETURN_IF_ERROR(context.Check());
    const absl::Span<const Candidate> wave = candidates.subspan(reranked.final_scores.size(), size);
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
  const absl::Span<const Candidate> scored = candidates.first(reranked.final_scores.size());
  reranked.candidates.assign(scored.begin(), scored.end());
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
