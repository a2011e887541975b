#include "server/pipeline/select_stage.h"

#include <algorithm>
#include <numeric>

namespace dime {
namespace {

Hit MakeHit(const RerankedCandidates& reranked, int place) {
  Hit hit{.row = reranked.candidates[place].row,
          .score = reranked.final_scores[place],
          .coarse_score = reranked.candidates[place].score,
          .coarse_rank = place + 1};
  if (!reranked.rerank_scores.empty()) hit.rerank_score = reranked.rerank_scores[place];
  for (int d = 0; d < kNumDirections; ++d) {
    if (!reranked.scores.scores[d].empty()) {
      hit.direction_scores[d] = reranked.scores.scores[d][place];
    }
    if (!reranked.scores.paths[d].empty()) {
      const auto first = reranked.scores.paths[d].begin() + int64_t{place} * kNumPathWeights;
      hit.paths[d].assign(first, first + kNumPathWeights);
    }
  }
  return hit;
}

}  // namespace

std::vector<Hit> SelectStage::Run(const RerankedCandidates& reranked,
                                  const SearchOptions& options) const {
  // Places in the candidates' order, which is that of their coarse ranks.
  std::vector<int> places(reranked.candidates.size());
  std::iota(places.begin(), places.end(), 0);
  const auto top = places.begin() + std::min<int64_t>(options.top_k, places.size());
  std::partial_sort(places.begin(), top, places.end(), [&reranked](int a, int b) {
    const float score_a = reranked.final_scores[a];
    const float score_b = reranked.final_scores[b];
    return score_a != score_b ? score_a > score_b : a < b;
  });

  std::vector<Hit> hits;
  hits.reserve(top - places.begin());
  for (auto place = places.begin(); place != top; ++place)
    hits.push_back(MakeHit(reranked, *place));
  return hits;
}

}  // namespace dime
