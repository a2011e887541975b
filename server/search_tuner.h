#ifndef DIME_SERVER_SEARCH_TUNER_H_
#define DIME_SERVER_SEARCH_TUNER_H_

#include <cstdint>
#include <cstdio>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "index/gallery.h"
#include "model/model_info.h"
#include "server/pipeline/encode_stage.h"
#include "server/pipeline/search_pipeline.h"
#include "server/pipeline/search_types.h"
#include "server/tuning_point.h"

namespace dime {

// Finds out what rerank depth and effort of the coarse index cost and lose against exhaustive
// reranking. Each query is searched exactly once (every item scored); then, for each effort and
// depth, the coarse index is asked for its candidates: a hit of the exact top k is kept if it is
// among them, for what is reranked is ordered by the same scores. Settings on the Pareto front of
// expected cost and kept hits are then timed as whole searches, one at a time.
// Immutable, hence thread-safe; Tune() blocks its thread. All that it is made of must outlive it.
class SearchTuner {
 public:
  struct Options {
    int k = 10;  // hits that are compared, at least 1
    // Rerank depths to try, each at least k; empty: DefaultDepths().
    std::vector<int> depths;
    // Efforts to try, at least 1 each; empty: those worth trying with the gallery's index. An index
    // without an effort is tried with none.
    std::vector<int> efforts;
    ScoreMode mode = ScoreMode::kEnsemble;  // one that the model serves
    std::FILE* progress = stderr;
  };
  struct Tuning {
    Modality target = Modality::kImage;
    float fusion_weight = 0;  // the model's for this kind and mode
    int64_t queries = 0;
    int64_t settings = 0;            // tried; those on the front are timed
    absl::Duration exhaustive_time;  // of one exhaustive search, median
    std::vector<TuningPoint> front;  // not empty
  };

  // From k on a bit more than 1.4 times each, up to the whole gallery or 2,000.
  static std::vector<int> DefaultDepths(int k, int64_t size);

  // All of it is measured on one view.
  SearchTuner(const GalleryView* view, const EncodeStage* encode, const SearchPipeline* pipeline,
              const ModelInfo& model, const Options& options)
      : view_(view), encode_(encode), pipeline_(pipeline), model_(model), options_(options) {}

  // `queries`: at least one; all search the same kind, of which the gallery holds items.
  // INVALID_ARGUMENT if they are not so, or if a depth or an effort is out of range; otherwise the
  // errors of the search.
  absl::StatusOr<Tuning> Tune(absl::Span<const Query> queries) const;

 private:
  // What the first pass keeps of a query.
  struct Reference {
    std::vector<float> coarse;  // its embedding
    std::vector<int64_t> rows;  // of the exact top k
  };
  struct Exhaustive {
    std::vector<Reference> references;  // by query
    absl::Duration median;
    absl::Duration pair_time;  // of reranking one pair
  };

  absl::StatusOr<Exhaustive> SearchExactly(absl::Span<const Query> queries,
                                           const SearchOptions& options) const;
  absl::StatusOr<TuningPoint> Try(Modality target, const Exhaustive& exhaustive, int depth,
                                  int effort) const;
  absl::Status Time(absl::Span<const Query> queries, SearchOptions options,
                    TuningPoint& point) const;

  const GalleryView* const view_;
  const EncodeStage* const encode_;
  const SearchPipeline* const pipeline_;
  const ModelInfo model_;
  const Options options_;
};

}  // namespace dime

#endif  // DIME_SERVER_SEARCH_TUNER_H_
