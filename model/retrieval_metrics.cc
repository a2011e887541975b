#include "model/retrieval_metrics.h"

#include <algorithm>

namespace dime {
namespace {

// Rank of entry `own` among `count` scores that lie `stride` apart.
int64_t RankOf(const float* scores, int64_t count, int64_t stride, int64_t own) {
  const float score = scores[own * stride];
  int64_t rank = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (RanksBefore(scores[i * stride], i, score, own)) ++rank;
  }
  return rank;
}

double Recall(const std::vector<int64_t>& ranks, int64_t k) {
  const auto hits = std::count_if(ranks.begin(), ranks.end(), [k](int64_t r) { return r < k; });
  return 100.0 * static_cast<double>(hits) / static_cast<double>(ranks.size());
}

}  // namespace

RankMetrics RankMetrics::FromRanks(std::vector<int64_t> ranks) {
  RankMetrics metrics;
  if (ranks.empty()) return metrics;
  metrics.r1 = Recall(ranks, 1);
  metrics.r5 = Recall(ranks, 5);
  metrics.r10 = Recall(ranks, 10);
  double sum = 0;
  for (int64_t rank : ranks) sum += static_cast<double>(rank);
  metrics.mean_rank = sum / static_cast<double>(ranks.size()) + 1;
  std::sort(ranks.begin(), ranks.end());
  // floor of the median: of an even number, the mean of the middle two.
  const size_t half = ranks.size() / 2;
  const int64_t floor_median =
      ranks.size() % 2 == 1 ? ranks[half] : (ranks[half - 1] + ranks[half]) / 2;
  metrics.median_rank = static_cast<double>(floor_median + 1);
  return metrics;
}

double RetrievalMetrics::rsum() const {
  return image_to_text.recall_sum() + text_to_image.recall_sum();
}

double RetrievalMetrics::selection() const {
  return image_to_text.r1 + image_to_text.r5 + text_to_image.r1 + text_to_image.r5;
}

RetrievalMetrics RetrievalMetrics::Mean(absl::Span<const RetrievalMetrics> folds) {
  RetrievalMetrics mean;
  const auto add = [&](RankMetrics& to, const RankMetrics& from) {
    const double share = 1.0 / static_cast<double>(folds.size());
    to.r1 += from.r1 * share;
    to.r5 += from.r5 * share;
    to.r10 += from.r10 * share;
    to.median_rank += from.median_rank * share;
    to.mean_rank += from.mean_rank * share;
  };
  for (const RetrievalMetrics& fold : folds) {
    add(mean.image_to_text, fold.image_to_text);
    add(mean.text_to_image, fold.text_to_image);
  }
  return mean;
}

int64_t BestRank(absl::Span<const float> scores, int64_t first_own, int64_t num_own) {
  const auto count = static_cast<int64_t>(scores.size());
  int64_t best = count;
  for (int64_t own = first_own; own < first_own + num_own; ++own) {
    best = std::min(best, RankOf(scores.data(), count, 1, own));
  }
  return best;
}

RetrievalMetrics ComputeMetrics(absl::Span<const float> similarity, int64_t images,
                                int64_t captions, int captions_per_image) {
  std::vector<int64_t> image_ranks(images), caption_ranks(captions);
  for (int64_t i = 0; i < images; ++i) {
    image_ranks[i] = BestRank(similarity.subspan(i * captions, captions), i * captions_per_image,
                              captions_per_image);
  }
  for (int64_t c = 0; c < captions; ++c) {
    caption_ranks[c] = RankOf(similarity.data() + c, images, captions, c / captions_per_image);
  }
  return {.image_to_text = RankMetrics::FromRanks(std::move(image_ranks)),
          .text_to_image = RankMetrics::FromRanks(std::move(caption_ranks))};
}

}  // namespace dime
