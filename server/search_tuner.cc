#include "server/search_tuner.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "index/progress_bar.h"
#include "index/status_macros.h"
#include "server/pipeline/stopwatch.h"

namespace dime {
namespace {

constexpr int kDeepest = 2000;  // of the default depths
constexpr int kWarmUps = 3;     // searches of a setting before those that are timed

const std::string& IndexOf(const GalleryView& view, Modality target) {
  return target == Modality::kImage ? view.info().image_index : view.info().caption_index;
}

}  // namespace

std::vector<int> SearchTuner::DefaultDepths(int k, int64_t size) {
  const int deepest = static_cast<int>(std::min<int64_t>(size, std::max(k, kDeepest)));
  std::vector<int> depths;
  // 10, 14, 20, 28, 40, 56, 80, ...
  for (double depth = k; depth < deepest; depth *= std::sqrt(2.0)) {
    depths.push_back(static_cast<int>(depth));
  }
  depths.push_back(deepest);
  return depths;
}

absl::StatusOr<SearchTuner::Tuning> SearchTuner::Tune(absl::Span<const Query> queries) const {
  if (queries.empty()) return absl::InvalidArgumentError("there are no queries to tune with");
  const Modality target = TargetOf(queries.front());
  const int64_t size = view_->size(target);
  const auto is_other = [&](const Query& query) { return TargetOf(query) != target; };
  if (size == 0 || std::any_of(queries.begin(), queries.end(), is_other)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the queries must all search one kind that the gallery holds; it holds ", size,
                     " ", ModalityName(target), "s"));
  }
  std::vector<int> depths =
      options_.depths.empty() ? DefaultDepths(options_.k, size) : options_.depths;
  // Depths beyond the gallery all mean the same.
  for (int& depth : depths) depth = static_cast<int>(std::min<int64_t>(depth, size));
  std::vector<int> efforts = SearchEfforts(IndexOf(*view_, target));
  const bool knows_effort = efforts.back() > 0;
  if (knows_effort && !options_.efforts.empty()) efforts = options_.efforts;
  for (std::vector<int>* values : {&depths, &efforts}) {
    std::sort(values->begin(), values->end());
    values->erase(std::unique(values->begin(), values->end()), values->end());
  }
  if (options_.k < 1 || depths.front() < std::min<int64_t>(options_.k, size)) {
    return absl::InvalidArgumentError(absl::StrCat("k is ", options_.k, " and the least depth ",
                                                   depths.front(),
                                                   "; k must be at least 1, a depth at least k"));
  }
  if (knows_effort && efforts.front() < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("an effort must be at least 1, got ", efforts.front()));
  }

  SearchOptions search = {.top_k = options_.k,
                          .mode = options_.mode,
                          .fusion_weight = model_.ranking.FusionWeight(target, options_.mode)};
  ASSIGN_OR_RETURN(const Exhaustive exhaustive, SearchExactly(queries, search));

  Tuning tuning = {.target = target,
                   .fusion_weight = search.fusion_weight,
                   .queries = static_cast<int64_t>(queries.size()),
                   .settings = static_cast<int64_t>(depths.size() * efforts.size()),
                   .exhaustive_time = exhaustive.median};
  std::vector<TuningPoint> points;
  ProgressBar recall_bar(absl::StrCat("recall of ", ModalityName(target), "s"), tuning.settings,
                         options_.progress);
  // More effort or depth is never quicker, whatever the clock says of two runs.
  std::vector<absl::Duration> least_time(depths.size());  // of lower efforts, by depth
  for (const int effort : efforts) {
    absl::Duration shallower;
    for (size_t d = 0; d < depths.size(); ++d) {
      ASSIGN_OR_RETURN(TuningPoint point, Try(target, exhaustive, depths[d], effort));
      shallower = least_time[d] = std::max({shallower, least_time[d], point.recall_time});
      point.cost = least_time[d] + point.pairs * exhaustive.pair_time;
      points.push_back(point);
      recall_bar.Advance();
    }
  }
  recall_bar.Finish();

  tuning.front = ParetoFront(std::move(points));
  ProgressBar time_bar(absl::StrCat("latency of ", ModalityName(target), " searches"),
                       static_cast<int64_t>(tuning.front.size()), options_.progress);
  for (TuningPoint& point : tuning.front) {
    RETURN_IF_ERROR(Time(queries, search, point));
    time_bar.Advance();
  }
  time_bar.Finish();
  return tuning;
}

absl::StatusOr<SearchTuner::Exhaustive> SearchTuner::SearchExactly(
    absl::Span<const Query> queries, const SearchOptions& options) const {
  SearchOptions exact = options;
  exact.exact = true;
  Exhaustive exhaustive;
  std::vector<absl::Duration> times;
  std::vector<absl::Duration> pair_times;
  ProgressBar bar(absl::StrCat("exhaustive ", ModalityName(TargetOf(queries.front())), " searches"),
                  static_cast<int64_t>(queries.size()), options_.progress);
  for (const Query& query : queries) {
    ASSIGN_OR_RETURN(const EncodedQuery encoded, encode_->Run(*view_, query));
    const absl::Span<const float> coarse = encoded.view().coarse;
    Reference reference = {.coarse = {coarse.begin(), coarse.end()}};
    const Stopwatch stopwatch;
    ASSIGN_OR_RETURN(const SearchResult result,
                     pipeline_->Run(*view_, query, exact, CallContext()));
    times.push_back(stopwatch.Elapsed());
    if (result.reranked_count > 0) {
      pair_times.push_back(result.timings.rerank / result.reranked_count);
    }
    for (const Hit& hit : result.hits) reference.rows.push_back(hit.row);
    exhaustive.references.push_back(std::move(reference));
    bar.Advance();
  }
  bar.Finish();
  exhaustive.median = Quantile(std::move(times), 0.5);
  // Where the coarse score alone counts, nothing is reranked.
  if (!pair_times.empty()) exhaustive.pair_time = Quantile(std::move(pair_times), 0.5);
  return exhaustive;
}

absl::StatusOr<TuningPoint> SearchTuner::Try(Modality target, const Exhaustive& exhaustive,
                                             int depth, int effort) const {
  TuningPoint point = {.rerank_depth = depth, .search_effort = effort};
  std::vector<absl::Duration> times;
  int64_t kept_hits = 0, hits = 0;
  double squares = 0;
  for (const Reference& reference : exhaustive.references) {
    const Stopwatch stopwatch;
    ASSIGN_OR_RETURN(const std::vector<Candidate> candidates,
                     view_->Recall(target, reference.coarse, depth, {.effort = effort}));
    times.push_back(stopwatch.Elapsed());
    const auto kept =
        std::count_if(reference.rows.begin(), reference.rows.end(), [&candidates](int64_t row) {
          return std::any_of(candidates.begin(), candidates.end(),
                             [row](const Candidate& candidate) { return candidate.row == row; });
        });
    const double share = static_cast<double>(kept) / static_cast<double>(reference.rows.size());
    kept_hits += kept;
    hits += static_cast<int64_t>(reference.rows.size());
    squares += share * share;
    point.pairs += static_cast<double>(candidates.size());
  }
  const auto count = static_cast<double>(exhaustive.references.size());
  // Every query has as many hits, so that this is the mean of the queries' shares.
  point.recall = static_cast<double>(kept_hits) / static_cast<double>(hits);
  const double variance = std::max(0.0, squares / count - point.recall * point.recall);
  point.recall_error = std::sqrt(variance / count);
  point.pairs /= count;
  point.recall_time = Quantile(std::move(times), 0.5);
  return point;
}

absl::Status SearchTuner::Time(absl::Span<const Query> queries, SearchOptions options,
                               TuningPoint& point) const {
  options.rerank_depth = point.rerank_depth;
  options.search_effort = point.search_effort;
  const CallContext context;
  for (size_t q = 0; q < std::min<size_t>(kWarmUps, queries.size()); ++q) {
    RETURN_IF_ERROR(pipeline_->Run(*view_, queries[q], options, context).status());
  }
  std::vector<absl::Duration> times;
  int64_t pairs = 0;
  for (const Query& query : queries) {
    const Stopwatch stopwatch;
    ASSIGN_OR_RETURN(const SearchResult result, pipeline_->Run(*view_, query, options, context));
    times.push_back(stopwatch.Elapsed());
    pairs += result.reranked_count;
  }
  point.pairs = static_cast<double>(pairs) / static_cast<double>(queries.size());
  point.median = Quantile(times, 0.5);
  point.p99 = Quantile(std::move(times), 0.99);
  return absl::OkStatus();
}

}  // namespace dime
