#ifndef DIME_SERVER_SHADOW_COMPARER_H_
#define DIME_SERVER_SHADOW_COMPARER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "index/gallery.h"
#include "model/model_info.h"
#include "server/pipeline/search_pipeline.h"
#include "server/pipeline/search_types.h"
#include "server/sampled_work.h"
#include "server/search_limits.h"

namespace dime {

// Hits that a comparison looks at.
inline constexpr int kComparedHits = 10;

// How the shadow's answer to one search is like the one that was given.
struct ShadowComparison {
  Modality target = Modality::kImage;
  double overlap = 0;      // share of the given hits, the first kComparedHits, that it found too
  bool same_top1 = false;  // the first hit
  // Kendall's tau between the two orders of the hits that both found; absent for fewer than two.
  std::optional<double> agreement;
  absl::Duration time;  // that the shadow's search took
};

// Kendall's tau of two orders of the same things: (pairs in the same order - pairs in the other) /
// pairs. `places`: the places in the one order, by the other; at least two, all different.
double KendallTau(const std::vector<int>& places);

// Answers a share of the searches once more by a model and a gallery that do not serve yet, after
// they were answered, and compares: would users notice if these served? Ids tell items of the two
// galleries to be the same. Each search is answered as the shadow would: with its own fusion
// weight, and its own score mode where it does not have the one asked for. It delays no live search
// (see SampledWork), but a sampled one by reading ids, if the shadow's own threads are of a low
// priority. What waits for its comparison holds nothing of the gallery that served, which may be
// replaced meanwhile.
// Thread-safe. All that it is made of must outlive it.
class ShadowComparer {
 public:
  enum class Drop {
    kQueueFull,      // comparisons come too slowly
    kNotComparable,  // the shadow cannot take this query, as an image that its gallery lacks
    kFailed,
  };
  struct Options {
    double rate = 0;         // share of the answered searches, 0 to 1
    int64_t max_queued = 4;  // samples that wait; at least 1
    // Called on the comparisons' thread, and on that which offered, respectively; may be empty.
    std::function<void(const ShadowComparison&)> on_comparison;
    std::function<void(Modality target, Drop reason)> on_drop;
  };
  // Of the shadow.
  struct Parts {
    const Gallery* gallery;
    const SearchPipeline* pipeline;
    ModelInfo model;
    SearchLimits limits;
    LiveCalls* live_calls;  // the server's
  };

  ShadowComparer(Parts parts, Options options);

  // A search of `view` that was answered; those of a part of the gallery, or exact, or with fewer
  // hits than there could be, are left out. Reads the ids of a sampled one's first hits.
  void Offer(const GalleryView& view, const Query& query, const SearchOptions& options,
             const SearchResult& result);
  // From now on nothing is compared; returns at once.
  void Stop() { work_.Stop(); }

 private:
  struct Sample {
    Query query;
    std::string image_id;  // of a stored image that was searched by
    SearchOptions options;
    std::vector<std::string> served;  // ids of the first hits
  };
  using Work = SampledWork<Sample>;

  // CANCELLED if stopped meanwhile; FAILED_PRECONDITION for what cannot be compared.
  absl::StatusOr<ShadowComparison> Compare(const Sample& sample);
  // The same query of the shadow's gallery.
  absl::StatusOr<Query> Translate(const Sample& sample, const GalleryView& shadow) const;
  SearchOptions OptionsOf(const Sample& sample) const;

  const Parts parts_;
  const Options options_;
  Work work_;  // last: its thread uses all of the above
};

}  // namespace dime

#endif  // DIME_SERVER_SHADOW_COMPARER_H_
