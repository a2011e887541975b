#include "server/pipeline/select_stage.h"

#include <algorithm>
#include <cstddef>

#include "absl/container/flat_hash_map.h"

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

bool Passes(float score, const std::optional<float>& threshold) {
  return !threshold.has_value() || score >= *threshold;
}

}  // namespace

std::vector<Hit> SelectStage::Run(const RerankedCandidates& reranked, const SearchOptions& options,
                                  absl::Span<const std::optional<std::string>> groups) const {
  // Places in the candidates' order, which is that of their coarse ranks.
  std::vector<int> places;
  places.reserve(reranked.candidates.size());
  for (size_t place = 0; place < reranked.candidates.size(); ++place) {
    if (!Passes(reranked.final_scores[place], options.min_final_score)) continue;
    if (!reranked.rerank_scores.empty() &&
        !Passes(reranked.rerank_scores[place], options.min_rerank_score)) {
      continue;
    }
    places.push_back(static_cast<int>(place));
  }
  const size_t wanted = options.keep_all ? places.size() : static_cast<size_t>(options.top_k);
  // Behind the best top_k others may be needed where groups take some of these out.
  const size_t sorted = groups.empty() ? std::min(wanted, places.size()) : places.size();
  std::partial_sort(places.begin(), places.begin() + sorted, places.end(),
                    [&reranked](int a, int b) {
                      const float score_a = reranked.final_scores[a];
                      const float score_b = reranked.final_scores[b];
                      return score_a != score_b ? score_a > score_b : a < b;
                    });

  std::vector<Hit> hits;
  absl::flat_hash_map<std::string, int> group_sizes;
  for (size_t i = 0; i < sorted && hits.size() < wanted; ++i) {
    const int place = places[i];
    if (!groups.empty() && groups[place].has_value() &&
        ++group_sizes[*groups[place]] > options.group_by->size) {
      continue;
    }
    hits.push_back(MakeHit(reranked, place));
  }
  return hits;
}

}  // namespace dime
