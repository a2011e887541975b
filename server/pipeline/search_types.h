#ifndef DIME_SERVER_PIPELINE_SEARCH_TYPES_H_
#define DIME_SERVER_PIPELINE_SEARCH_TYPES_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "index/coarse_index.h"
#include "index/features.h"
#include "index/item_filter.h"
#include "model/pair_scorer.h"
#include "model/ranking_settings.h"

namespace dime {

// What goes into a search, and what each stage hands to the next. Plain values, checked at the door
// (request_converter.h); the stages rely on that.

// A text that images are searched for.
struct TextQuery {
  std::string text;  // UTF-8
};

// An image, by its region features, that captions are searched for.
struct RegionFeaturesQuery {
  int num_regions = 0;        // R
  std::vector<float> values;  // (R, D) row-major, finite
};

// An image of the gallery that captions are searched for: its stored features are the query.
struct GalleryImageQuery {
  int64_t row = 0;
};

using Query = std::variant<TextQuery, RegionFeaturesQuery, GalleryImageQuery>;

// What a query searches: a text finds images, an image finds captions.
inline Modality TargetOf(const Query& query) {
  return std::holds_alternative<TextQuery>(query) ? Modality::kImage : Modality::kCaption;
}

// What adaptive depth goes by: the final score of an item is at most slope x its coarse score +
// intercept.
using ScoreBound = RankingSettings::Entry::Bound;

// Of hits that have the same value of a field, only the best so many stay.
struct GroupBy {
  // The field, name by name, within the payload; or "uri", or of captions "image_id", alone.
  std::vector<std::string> path;
  bool in_payload = true;  // whatever the first name is
  int size = 1;            // hits of a group, at least 1
};

struct SearchOptions {
  int top_k = 10;          // hits to return, at least 1
  int rerank_depth = 100;  // candidates to rerank, at least top_k; unused with `exact`
  bool exact = false;      // rerank every item of the gallery
  ScoreMode mode = ScoreMode::kEnsemble;
  bool want_paths = false;  // path weights of each hit
  int search_effort = 0;    // of the coarse index; 0 = its own default
  // Share of the coarse score in the final one, 0 to 1; with 1 nothing is reranked.
  float fusion_weight = 0;
  // Adaptive depth: rerank in waves, and stop by this bound (see WavePlanner). Absent: rerank all.
  std::optional<ScoreBound> score_bound;
  ItemFilter filter;  // which items may be found
  std::optional<GroupBy> group_by;
  // Candidates below are not reranked; hits below are none.
  std::optional<float> min_coarse_score;
  std::optional<float> min_rerank_score;
  std::optional<float> min_final_score;
  bool keep_all = false;  // every hit there is comes back, not the best top_k alone
  // Where the time left does not suffice for rerank_depth, fewer are reranked: at least so many.
  int min_rerank_depth = 1;
  // Where reranking fails, the coarse order is the answer rather than the error.
  bool coarse_on_error = false;
};

// Why an answer is less than was asked.
enum class Degradation {
  kDeadline,      // the time left did not suffice for all candidates, or for any
  kQueueFull,     // the reranker had no room
  kRerankFailed,  // a fault of the reranker
};
inline constexpr std::array kDegradations = {Degradation::kDeadline, Degradation::kQueueFull,
                                             Degradation::kRerankFailed};

// A query in the form that recall and reranking take: fresh from an encoder, or a copy of an item
// of the gallery. Movable value.
class EncodedQuery {
 public:
  EncodedQuery(EncodedItems encoded, bool text_truncated)
      : encoded_(std::move(encoded)), text_truncated_(text_truncated) {}

  // count = 1. Valid as long as this object.
  EncodedItemsView view() const { return encoded_.view(); }
  // What it searches.
  Modality target() const { return OtherModality(encoded_.modality); }
  bool text_truncated() const { return text_truncated_; }

 private:
  EncodedItems encoded_;
  bool text_truncated_ = false;
};

// Candidates with their scores; all arrays run in the candidates' order.
struct RerankedCandidates {
  std::vector<Candidate> candidates;  // (K), by coarse score
  // Of the candidates that were reranked: all K, or none where the coarse score alone counts.
  PairScores scores;
  std::vector<float> rerank_scores;  // the one direction's, or the mean of both
  std::vector<float> final_scores;   // (K), by which hits are ordered
  // Empty if all was done that was asked. The candidates are then fewer, or have no rerank scores.
  std::vector<Degradation> degradations;
};

// An item found, and how it came by its place.
struct Hit {
  int64_t row = 0;                    // within the gallery's items of the kind searched
  float score = 0;                    // final score
  std::optional<float> rerank_score;  // absent if nothing was reranked
  float coarse_score = 0;
  int coarse_rank = 0;  // from 1, among the candidates
  std::array<std::optional<float>, kNumDirections> direction_scores;  // those that the mode uses
  // (36) each, where wanted and used; see kNumPathWeights.
  std::array<std::vector<float>, kNumDirections> paths;
};

// Wall time of each stage.
struct StageTimings {
  absl::Duration encode;
  absl::Duration recall;
  absl::Duration rerank;
  absl::Duration select;
};

struct SearchResult {
  Modality target = Modality::kImage;
  std::vector<Hit> hits;      // best first; at most top_k, unless all were to be kept
  int64_t gallery_items = 0;  // of the kind searched, in the version that was searched
  int64_t recalled_count = 0;
  int64_t reranked_count = 0;  // fewer if adaptive depth stopped early, none if fusion_weight is 1
  float fusion_weight = 0;     // that was used: 1 where reranking failed
  std::vector<Degradation> degradations;  // why this is less than was asked; empty if it is not
  bool text_truncated = false;
  StageTimings timings;
};

// Whether the hits are the best that two stages give of all that the filter lets through, so that
// another answer to the same search can be compared with them: not an exact search's, not a part,
// and not less than the server gives when it has time.
inline bool IsComparable(const SearchOptions& options, const SearchResult& result) {
  return !options.exact && result.degradations.empty() && !options.group_by.has_value() &&
         !options.min_coarse_score.has_value() && !options.min_rerank_score.has_value() &&
         !options.min_final_score.has_value();
}

}  // namespace dime

#endif  // DIME_SERVER_PIPELINE_SEARCH_TYPES_H_
