#include "client/pair_attention.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "index/status_macros.h"

namespace dime {
namespace {

absl::Status Misfit(absl::string_view what) {
  return absl::InternalError(
      absl::StrCat("the server's explanation does not fit together: ", what));
}

void KeepStrongest(int count, std::vector<PairAttention::Link>& links) {
  const auto stronger = [](const PairAttention::Link& a, const PairAttention::Link& b) {
    return a.share > b.share;
  };
  std::stable_sort(links.begin(), links.end(), stronger);
  if (links.size() > static_cast<size_t>(std::max(count, 0))) links.resize(std::max(count, 0));
}

absl::StatusOr<PairAttention> ReadDirection(const v1::ExplainPairResponse& response,
                                            const v1::DirectionExplanation& direction) {
  PairAttention result{.direction = direction.direction(),
                       .score = direction.score(),
                       .num_words = response.words_size(),
                       .num_regions = response.num_regions()};
  const int last = result.num_words - 1;
  for (int w = 0; w <= last; ++w) {
    result.special.push_back((w == 0 && response.words(w) == "[CLS]") ||
                             (w == last && response.words(w) == "[SEP]"));
  }
  const int64_t size = int64_t{result.num_words} * result.num_regions;
  if (direction.cells().empty()) return Misfit("a direction has no cells");
  for (const v1::CellAttention& cell : direction.cells()) {
    if (cell.attention_size() != size) {
      return Misfit(absl::StrCat("layer ", cell.layer(), " has ", cell.attention_size(),
                                 " attention weights for ", result.num_words, " words and ",
                                 result.num_regions, " regions"));
    }
    // Not a number fails every comparison.
    if (!(cell.weight() >= 0) || !std::isfinite(cell.weight()) ||
        !std::all_of(cell.attention().begin(), cell.attention().end(),
                     [](float share) { return share >= 0 && std::isfinite(share); })) {
      return Misfit(absl::StrCat("layer ", cell.layer(), " has a weight that is no share"));
    }
  }
  // Only now is the size known to be that of something that came.
  double total = 0;
  std::vector<double> sums(static_cast<size_t>(size), 0.0);
  for (const v1::CellAttention& cell : direction.cells()) {
    total += cell.weight();
    for (int64_t i = 0; i < size; ++i) {
      sums[i] += double{cell.weight()} * cell.attention(static_cast<int>(i));
    }
    result.layers.push_back({.layer = cell.layer(),
                             .weight = cell.weight(),
                             .attention = {cell.attention().begin(), cell.attention().end()}});
  }
  for (double sum : sums) {
    result.overall.push_back(total > 0 ? static_cast<float>(sum / total) : 0);
  }
  return result;
}

}  // namespace

bool PairAttention::TookPart() const {
  return std::any_of(layers.begin(), layers.end(),
                     [](const Layer& layer) { return layer.weight > 0; });
}

float PairAttention::EvenShare() const {
  return 1.0f / static_cast<float>(RegionsAttend() ? num_words : num_regions);
}

float PairAttention::SpecialShare(absl::Span<const float> attention) const {
  if (!RegionsAttend()) return 0;
  double special_sum = 0, sum = 0;
  for (int w = 0; w < num_words; ++w) {
    for (int r = 0; r < num_regions; ++r) {
      const float share = attention[w * num_regions + r];
      sum += share;
      if (special[w]) special_sum += share;
    }
  }
  return sum > 0 ? static_cast<float>(special_sum / sum) : 0;
}

std::vector<PairAttention::Link> PairAttention::StrongestLinks(absl::Span<const float> attention,
                                                               int count) const {
  const bool with_special = SpecialTokensLead(attention);
  std::vector<Link> links;
  for (int w = 0; w < num_words; ++w) {
    if (special[w] && !with_special) continue;
    for (const Link& link : LinksOf(attention, w, num_regions)) links.push_back(link);
  }
  KeepStrongest(count, links);
  return links;
}

std::vector<PairAttention::Link> PairAttention::LinksOf(absl::Span<const float> attention, int word,
                                                        int count) const {
  std::vector<Link> links;
  for (int r = 0; r < num_regions; ++r) {
    links.push_back({.word = word, .region = r, .share = attention[word * num_regions + r]});
  }
  KeepStrongest(count, links);
  return links;
}

absl::StatusOr<std::vector<PairAttention>> PairAttention::FromResponse(
    const v1::ExplainPairResponse& response) {
  if (response.words().empty() || response.num_regions() < 1) {
    return Misfit(absl::StrCat("it has ", response.words_size(), " words and ",
                               response.num_regions(), " regions"));
  }
  if (!response.boxes().empty() && response.boxes_size() != response.num_regions()) {
    return Misfit(absl::StrCat("it has ", response.boxes_size(), " boxes for ",
                               response.num_regions(), " regions"));
  }
  std::vector<PairAttention> directions;
  for (const v1::DirectionExplanation& direction : response.directions()) {
    if (direction.direction() != v1::SCORE_MODE_I2T &&
        direction.direction() != v1::SCORE_MODE_T2I) {
      continue;  // of a server newer than this program
    }
    for (const PairAttention& other : directions) {
      if (other.direction == direction.direction()) return Misfit("a direction is there twice");
    }
    ASSIGN_OR_RETURN(PairAttention attention, ReadDirection(response, direction));
    directions.push_back(std::move(attention));
  }
  return directions;
}

}  // namespace dime
