#ifndef DIME_SERVER_RECALL_AUDITOR_H_
#define DIME_SERVER_RECALL_AUDITOR_H_

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "model/caption_encoder.h"
#include "model/image_encoder.h"
#include "model/pair_scorer.h"
#include "server/pipeline/encode_stage.h"
#include "server/pipeline/loaded_gallery.h"
#include "server/pipeline/recall_stage.h"
#include "server/pipeline/search_types.h"
#include "server/pipeline/stopwatch.h"
#include "server/sampled_work.h"

namespace dime {

// The numbers of best hits that an audit compares.
inline constexpr std::array<int, 2> kAuditedTopK = {1, 10};

// What the audit of one search found.
struct RecallAudit {
  Modality target = Modality::kImage;
  // By kAuditedTopK: the share of the exact top k that was served; absent where the search asked
  // for fewer hits than k.
  std::array<std::optional<double>, kAuditedTopK.size()> ratios;
  // Whether the best hit of all was among the candidates that the search reranked.
  bool top1_in_window = false;
  absl::Duration lag;  // from the search's answer to the audit's end
};

// Answers a share of the searches once more, exactly, after they were answered, and compares: how
// much of the exact answer do live searches miss? Every answered search is offered; of those that
// can be compared (see IsComparable()) each 1/rate-th is sampled. The sampled query is encoded
// again and the whole gallery scored under the same score mode and fusion weight.
//
// It delays no live search (see SampledWork): it asks the PairScorer itself, beside the live
// searches' queue, in small waves. A sample that finds the queue full is dropped, and told. Hits
// count as found if their score is that of the exact ones up to rounding, so that ties are no
// misses. Thread-safe. All that it is made of must outlive it.
class RecallAuditor {
 public:
  enum class Drop {
    kQueueFull,  // audits come too slowly
    kFailed,     // the query could not be answered again
  };
  struct Options {
    double rate = 0;  // share of the answered searches, 0 to 1
    // Items that an audit scores at most. A larger gallery is audited against its best by exact
    // coarse scores: then what the rerank scores alone would find behind those is not seen.
    int64_t max_items = 50000;
    int64_t max_queued = 4;   // samples that wait; at least 1
    int64_t wave_pairs = 32;  // scored between two looks at the live calls; at least 1
    // Called on the audit's thread, and on that which offered, respectively; may be empty.
    std::function<void(const RecallAudit&)> on_audit;
    std::function<void(Modality target, Drop reason)> on_drop;
  };
  // The parts of a search.
  struct Parts {
    const LoadedGallery* gallery;
    const CaptionEncoder* caption_encoder;
    const ImageEncoder* image_encoder;
    const PairScorer* scorer;
    LiveCalls* live_calls;  // while any is under way, no wave begins
  };

  RecallAuditor(const Parts& parts, Options options);

  // A search of `view` that was answered. Does not block, and copies the query only if it is
  // sampled; the audit then answers over the same view, which it keeps until it is done.
  void Offer(std::shared_ptr<const GalleryView> view, const Query& query,
             const SearchOptions& options, const SearchResult& result);
  // From now on nothing is sampled or scored; returns at once.
  void Stop() { work_.Stop(); }

 private:
  struct Sample {
    std::shared_ptr<const GalleryView> view;
    Query query;
    SearchOptions options;
    std::vector<int64_t> served;  // rows of the hits
    int64_t window = 0;           // candidates that were reranked, or all recalled ones if none was
    Stopwatch since_answer;
  };

  // CANCELLED if stopped meanwhile.
  absl::StatusOr<RecallAudit> Audit(const Sample& sample);
  // Final scores of the candidates, wave by wave.
  absl::StatusOr<std::vector<float>> ScoreAll(const GalleryView& view, const EncodedQuery& query,
                                              const std::vector<Candidate>& candidates,
                                              const SearchOptions& options);

  const Options options_;
  const LoadedGallery* const gallery_;
  const PairScorer* const scorer_;
  const EncodeStage encode_;
  const RecallStage recall_{};
  SampledWork<Sample> work_;  // last: its thread uses all of the above
};

}  // namespace dime

#endif  // DIME_SERVER_RECALL_AUDITOR_H_
