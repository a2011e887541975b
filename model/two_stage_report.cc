#include "model/two_stage_report.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace dime {
namespace {

// The first `count` rows by score, best first.
std::vector<int64_t> BestRows(absl::Span<const float> scores, int64_t count) {
  std::vector<int64_t> rows(scores.size());
  std::iota(rows.begin(), rows.end(), int64_t{0});
  count = std::min(count, static_cast<int64_t>(rows.size()));
  std::partial_sort(rows.begin(), rows.begin() + count, rows.end(),
                    [&](int64_t a, int64_t b) { return RanksBefore(scores[a], a, scores[b], b); });
  rows.resize(count);
  return rows;
}

double PercentBelow(absl::Span<const int64_t> ranks, int64_t depth) {
  if (ranks.empty()) return 0;
  const auto below =
      std::count_if(ranks.begin(), ranks.end(), [depth](int64_t rank) { return rank < depth; });
  return 100.0 * static_cast<double>(below) / static_cast<double>(ranks.size());
}

// The smallest depth that holds `percent` of the ranks.
int64_t DepthFor(std::vector<int64_t> ranks, double percent) {
  if (ranks.empty()) return 0;
  const auto needed =
      static_cast<int64_t>(std::ceil(percent / 100 * static_cast<double>(ranks.size()) - 1e-9));
  const auto last = ranks.begin() + std::max<int64_t>(needed - 1, 0);
  std::nth_element(ranks.begin(), last, ranks.end());
  return *last + 1;
}

}  // namespace

TwoStageReport::TwoStageReport(int64_t items, Options options)
    : items_(items), options_(std::move(options)) {}

TwoStageReport::FinalRanks TwoStageReport::RankBy(absl::Span<const float> scores,
                                                  absl::Span<const int64_t> coarse_order,
                                                  absl::Span<const int64_t> coarse_rank,
                                                  const QueryScores& query) const {
  FinalRanks ranks;
  ranks.exhaustive = BestRank(scores, query.first_own, query.num_own);
  ranks.at_depth.assign(options_.depths.size(), items_);
  for (int64_t own = query.first_own; own < query.first_own + query.num_own; ++own) {
    // Items of the window that stand before this one, as the window grows from depth to depth.
    int64_t before = 0, position = 0;
    for (size_t d = 0; d < options_.depths.size(); ++d) {
      const int64_t depth = std::min(options_.depths[d], items_);
      for (; position < depth; ++position) {
        const int64_t other = coarse_order[position];
        before += RanksBefore(scores[other], other, scores[own], own);
      }
      const int64_t rank = coarse_rank[own] < depth ? before : coarse_rank[own];
      ranks.at_depth[d] = std::min(ranks.at_depth[d], rank);
    }
  }
  for (int64_t row : BestRows(scores, kHits)) {
    ranks.coarse_ranks_of_hits.push_back(coarse_rank[row]);
  }
  return ranks;
}

void TwoStageReport::Add(const QueryScores& query) {
  const std::vector<int64_t> order = BestRows(query.coarse, items_);
  std::vector<int64_t> rank(order.size());
  for (size_t position = 0; position < order.size(); ++position) {
    rank[order[position]] = static_cast<int64_t>(position);
  }
  Ranks ranks;
  ranks.coarse = BestRank(query.coarse, query.first_own, query.num_own);
  ranks.rerank = RankBy(query.rerank, order, rank, query);
  ranks.fused = options_.fusion_weight == 0
                    ? ranks.rerank
                    : RankBy(FusedScores(query, options_.fusion_weight), order, rank, query);
  ranks_.push_back(std::move(ranks));
}

TwoStageReport::Summary TwoStageReport::Summarise() const {
  std::vector<int64_t> all(ranks_.size());
  std::iota(all.begin(), all.end(), int64_t{0});
  return Summarise(all);
}

TwoStageReport::Summary TwoStageReport::Summarise(absl::Span<const int64_t> queries) const {
  const auto metrics = [&](auto&& rank_of) {
    std::vector<int64_t> ranks;
    ranks.reserve(queries.size());
    for (int64_t query : queries) ranks.push_back(rank_of(ranks_[query]));
    return RankMetrics::FromRanks(std::move(ranks));
  };
  const auto hits = [&](FinalRanks Ranks::*order) {
    std::vector<int64_t> ranks;
    for (int64_t query : queries) {
      const std::vector<int64_t>& of_query = (ranks_[query].*order).coarse_ranks_of_hits;
      ranks.insert(ranks.end(), of_query.begin(), of_query.end());
    }
    return ranks;
  };
  const std::vector<int64_t> rerank_hits = hits(&Ranks::rerank), fused_hits = hits(&Ranks::fused);

  Summary summary{.queries = static_cast<int64_t>(queries.size()), .items = items_};
  summary.coarse = metrics([](const Ranks& r) { return r.coarse; });
  summary.rerank = metrics([](const Ranks& r) { return r.rerank.exhaustive; });
  summary.fused = metrics([](const Ranks& r) { return r.fused.exhaustive; });
  summary.exhaustive_pairs = summary.queries * items_;
  for (size_t d = 0; d < options_.depths.size(); ++d) {
    const int64_t depth = options_.depths[d];
    summary.depths.push_back(
        {.depth = depth,
         .pairs = summary.queries * std::min(depth, items_),
         .rerank = {.metrics = metrics([d](const Ranks& r) { return r.rerank.at_depth[d]; }),
                    .recalled = PercentBelow(rerank_hits, depth)},
         .fused = {.metrics = metrics([d](const Ranks& r) { return r.fused.at_depth[d]; }),
                   .recalled = PercentBelow(fused_hits, depth)}});
  }
  summary.rerank_depth_needed = DepthFor(rerank_hits, kTargetRecall);
  summary.fused_depth_needed = DepthFor(fused_hits, kTargetRecall);
  return summary;
}

}  // namespace dime
