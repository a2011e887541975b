#include "server/recall_auditor.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "index/status_macros.h"
#include "model/query_scores.h"

namespace dime {
namespace {

// Scores that differ by less are equal up to rounding.
constexpr float kTolerance = 1e-5f;

// The k-th best of `scores`, which must be that many; k is at least 1.
float KthBest(std::vector<float> scores, int64_t k) {
  std::nth_element(scores.begin(), scores.begin() + (k - 1), scores.end(), std::greater<>());
  return scores[k - 1];
}

}  // namespace

RecallAuditor::RecallAuditor(const Parts& parts, Options options)
    : options_(std::move(options)),
      gallery_(parts.gallery),
      scorer_(parts.scorer),
      encode_(parts.caption_encoder, parts.image_encoder),
      work_(options_.rate, options_.max_queued, parts.live_calls, [this](const Sample& sample) {
        const absl::StatusOr<RecallAudit> audit = Audit(sample);
        if (audit.ok()) {
          if (options_.on_audit) options_.on_audit(*audit);
        } else if (!absl::IsCancelled(audit.status()) && options_.on_drop) {
          options_.on_drop(TargetOf(sample.query), Drop::kFailed);
        }
      }) {}

void RecallAuditor::Offer(std::shared_ptr<const GalleryView> view, const Query& query,
                          const SearchOptions& options, const SearchResult& result) {
  if (!IsComparable(options, result) || result.hits.empty()) return;
  const auto offered = work_.Offer([&]() -> std::optional<Sample> {
    Sample sample{
        .view = std::move(view),
        .query = query,
        .options = options,
        .window = result.reranked_count > 0 ? result.reranked_count : result.recalled_count};
    for (const Hit& hit : result.hits) sample.served.push_back(hit.row);
    return sample;
  });
  if (offered == SampledWork<Sample>::Offered::kFull && options_.on_drop) {
    options_.on_drop(result.target, Drop::kQueueFull);
  }
}

absl::StatusOr<RecallAudit> RecallAuditor::Audit(const Sample& sample) {
  const auto stopped = [] { return absl::CancelledError("the server stops"); };
  if (!work_.AwaitQuiet()) return stopped();
  ASSIGN_OR_RETURN(const EncodedQuery encoded, encode_.Run(*sample.view, sample.query));

  // What the search looked at: recall finds the same candidates again.
  if (!work_.AwaitQuiet()) return stopped();
  SearchOptions options = sample.options;
  ASSIGN_OR_RETURN(std::vector<Candidate> window, recall_.Run(*sample.view, encoded, options));
  window.resize(std::min<int64_t>(window.size(), sample.window));

  if (!work_.AwaitQuiet()) return stopped();
  options.exact = true;
  ASSIGN_OR_RETURN(std::vector<Candidate> all, recall_.Run(*sample.view, encoded, options));
  all.resize(std::min<int64_t>(all.size(), options_.max_items));
  if (all.empty()) return absl::InternalError("an exact search finds none of what was served");
  ASSIGN_OR_RETURN(const std::vector<float> scores, ScoreAll(*sample.view, encoded, all, options));

  absl::flat_hash_map<int64_t, float> score_of_row;
  for (size_t k = 0; k < all.size(); ++k) score_of_row[all[k].row] = scores[k];
  // Rows that were not scored count as worse than all that were.
  const auto reaches = [&score_of_row](int64_t row, float score) {
    const auto found = score_of_row.find(row);
    return found != score_of_row.end() && found->second >= score;
  };
  RecallAudit audit{.target = encoded.target()};
  for (size_t a = 0; a < kAuditedTopK.size(); ++a) {
    if (sample.options.top_k < kAuditedTopK[a]) continue;
    const int64_t k = std::min<int64_t>(kAuditedTopK[a], all.size());
    const float lowest = KthBest(scores, k) - kTolerance;
    const auto end = sample.served.begin() + std::min<int64_t>(k, sample.served.size());
    const int64_t found =
        std::count_if(sample.served.begin(), end,
                      [&reaches, lowest](int64_t row) { return reaches(row, lowest); });
    audit.ratios[a] = static_cast<double>(found) / static_cast<double>(k);
  }
  const float best = KthBest(scores, 1) - kTolerance;
  audit.top1_in_window = std::any_of(
      window.begin(), window.end(),
      [&reaches, best](const Candidate& candidate) { return reaches(candidate.row, best); });
  audit.lag = sample.since_answer.Elapsed();
  return audit;
}

absl::StatusOr<std::vector<float>> RecallAuditor::ScoreAll(const GalleryView& view,
                                                           const EncodedQuery& query,
                                                           const std::vector<Candidate>& candidates,
                                                           const SearchOptions& options) {
  std::vector<float> final_scores;
  final_scores.reserve(candidates.size());
  if (options.fusion_weight >= 1) {
    for (const Candidate& candidate : candidates) final_scores.push_back(candidate.score);
    return final_scores;
  }
  std::vector<int64_t> rows;
  for (size_t first = 0; first < candidates.size(); first += rows.size()) {
    if (!work_.AwaitQuiet()) return absl::CancelledError("the server stops");
    const auto wave = absl::MakeConstSpan(candidates).subspan(first, options_.wave_pairs);
    rows.clear();
    for (const Candidate& candidate : wave) rows.push_back(candidate.row);
    ASSIGN_OR_RETURN(const BankLease lease, gallery_->AcquireApart(view, query.target(), rows));
    const ScoringRequest request = {
        .query = query.view(), .bank = lease.bank, .rows = lease.rows, .mode = options.mode};
    ASSIGN_OR_RETURN(const std::vector<PairScores> scored,
                     scorer_->Score(absl::MakeConstSpan(&request, 1)));
    const std::vector<float> rerank_scores = scored[0].Combined();
    for (size_t k = 0; k < wave.size(); ++k) {
      const float score = FusedScore(rerank_scores[k], wave[k].score, options.fusion_weight);
      if (!std::isfinite(score)) return absl::InternalError("a score is no number");
      final_scores.push_back(score);
    }
  }
  return final_scores;
}

}  // namespace dime
