#ifndef DIME_MODEL_RETRIEVAL_METRICS_H_
#define DIME_MODEL_RETRIEVAL_METRICS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace dime {

// Ranks of one search direction, summed up (dime-model.md, 7).
struct RankMetrics {
  double r1 = 0, r5 = 0, r10 = 0;  // percent of queries whose best true item is in the top k
  double median_rank = 0;          // floor(median) + 1, from 1
  double mean_rank = 0;            // mean + 1

  double recall_sum() const { return r1 + r5 + r10; }  // 0 to 300

  // `ranks`: of each query's best true item, from 0; at least one.
  static RankMetrics FromRanks(std::vector<int64_t> ranks);
};

// Both search directions over one split.
struct RetrievalMetrics {
  RankMetrics image_to_text;
  RankMetrics text_to_image;

  // The six recalls' sum, 0 to 600.
  double rsum() const;
  // What training keeps the best model by: R@1 + R@5 of both directions.
  double selection() const;
  // Mean over folds; medians and ranks likewise, as published.
  static RetrievalMetrics Mean(absl::Span<const RetrievalMetrics> folds);
};

// Whether an item stands before another in a ranking: it scores higher, or the same and has the
// greater row. That is the order of a reversed stable sort, in which the published metrics settle
// ties.
inline bool RanksBefore(float score, int64_t row, float other_score, int64_t other_row) {
  return score > other_score || (score == other_score && row > other_row);
}

// The rank from 0 of the best of the items [first_own, first_own + num_own) among all of `scores`.
int64_t BestRank(absl::Span<const float> scores, int64_t first_own, int64_t num_own);

// `similarity` (images, captions) row-major; caption k belongs to image k / captions_per_image, and
// captions = images * captions_per_image. An item's rank is the number of items that stand before
// it (RanksBefore).
RetrievalMetrics ComputeMetrics(absl::Span<const float> similarity, int64_t images,
                                int64_t captions, int captions_per_image);

}  // namespace dime

#endif  // DIME_MODEL_RETRIEVAL_METRICS_H_
