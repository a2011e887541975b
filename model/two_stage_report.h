#ifndef DIME_MODEL_TWO_STAGE_REPORT_H_
#define DIME_MODEL_TWO_STAGE_REPORT_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/query_scores.h"
#include "model/retrieval_metrics.h"

namespace dime {

// What reranking the `depth` best of the first stage loses against reranking everything, for one
// kind searched. Fed with both stages' scores of all items, query by query; every depth is then
// worked out from them without a further score.
//
// A two-stage list has the window (the `depth` first of the coarse order) by the final score, and
// everything behind the window in coarse order. The final score is the rerank score alone, or fused
// with the coarse one (FusedScore). Ties are settled as in retrieval_metrics.h, in both stages, so
// that a window of all items gives the exhaustive list exactly.
// Not thread-safe.
class TwoStageReport {
 public:
  struct Options {
    std::vector<int64_t> depths;  // ascending, each at least 1; above the item count = all items
    float fusion_weight = 0;      // share of the coarse score in the fused one, in [0, 1]
  };
  // Of this many of the best hits the recalled share is told.
  static constexpr int64_t kHits = 10;
  // The recalled share for which SmallestDepth is stated, in percent.
  static constexpr double kTargetRecall = 99;

  // One final score's list.
  struct Order {
    RankMetrics metrics;
    // Percent of the exhaustive list's kHits best items that are in the window.
    double recalled = 0;
  };
  struct AtDepth {
    int64_t depth = 0;
    int64_t pairs = 0;  // reranked, over all queries
    Order rerank, fused;
  };
  struct Summary {
    int64_t queries = 0;
    int64_t items = 0;
    RankMetrics coarse;           // the first stage alone
    std::vector<AtDepth> depths;  // as in the options
    RankMetrics rerank, fused;    // exhaustive
    int64_t exhaustive_pairs = 0;
    // The smallest depth at which kTargetRecall percent of the hits are recalled.
    int64_t rerank_depth_needed = 0;
    int64_t fused_depth_needed = 0;
  };

  // `items`: of the kind searched.
  TwoStageReport(int64_t items, Options options);

  // `query` holds scores of as many items as the report is of.
  void Add(const QueryScores& query);
  // Over all queries so far; over those of the given numbers, counted in the order of Add from 0.
  Summary Summarise() const;
  Summary Summarise(absl::Span<const int64_t> queries) const;

 private:
  // Ranks from 0 of a query's best true item, and where its best hits stood in the coarse order.
  struct FinalRanks {
    std::vector<int64_t> at_depth;
    int64_t exhaustive = 0;
    std::vector<int64_t> coarse_ranks_of_hits;
  };
  struct Ranks {
    int64_t coarse = 0;
    FinalRanks rerank, fused;
  };

  FinalRanks RankBy(absl::Span<const float> scores, absl::Span<const int64_t> coarse_order,
                    absl::Span<const int64_t> coarse_rank, const QueryScores& query) const;

  const int64_t items_;
  const Options options_;
  std::vector<Ranks> ranks_;  // of each query
};

}  // namespace dime

#endif  // DIME_MODEL_TWO_STAGE_REPORT_H_
