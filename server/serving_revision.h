#ifndef DIME_SERVER_SERVING_REVISION_H_
#define DIME_SERVER_SERVING_REVISION_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "dime/v1/retrieval.pb.h"
#include "index/gallery.h"
#include "index/mutable_gallery.h"
#include "model/batching_caption_encoder.h"
#include "model/batching_scorer.h"
#include "model/caching_caption_encoder.h"
#include "model/dime_model.h"
#include "model/reference_pairs.h"
#include "server/admission_control.h"
#include "server/ingest_queue.h"
#include "server/item_converter.h"
#include "server/live_calls.h"
#include "server/metrics.h"
#include "server/pipeline/explain_pipeline.h"
#include "server/pipeline/loaded_gallery.h"
#include "server/pipeline/search_pipeline.h"
#include "server/recall_auditor.h"
#include "server/request_converter.h"
#include "server/response_writer.h"
#include "server/search_executor.h"
#include "server/search_limits.h"
#include "server/shadow_comparer.h"
#include "server/window_cache.h"

namespace dime {

// What a call is answered from: one model over one gallery, and everything that hangs on the two,
// from the checks of requests to the queue of writes. A server has one at a time and may be given
// another while it serves (see RevisionSwitch); a call keeps that with which it began.
// Thread-safe, once MarkReady() was called. What Parts names must outlive it. Destruction writes
// what the ingest queue has taken, and forgets the pages and audits that wait.
class ServingRevision {
 public:
  // What it is made of.
  struct Source {
    std::unique_ptr<const DimeModel> model;
    std::unique_ptr<Gallery> gallery;
    SearchLimits limits;  // with the defaults that suit these two
    // What the model must compute here too; absent: it is not known.
    std::optional<ReferencePairs> reference;
  };
  struct Options {
    std::string version;  // the program's, for GetInfo
    // What the local features of a living gallery may take on the scorer's device, for each kind.
    int64_t bank_bytes = LoadedGallery::kBankBytes;
    int64_t max_batch_pairs = 0;  // of one launch; 0: as the scorer is quickest with
    int64_t max_queue_pairs = 65536;
    int64_t query_cache_bytes = 64 << 20;  // encodings of texts searched by lately; 0: none
    absl::Duration retry_delay = absl::Milliseconds(250);  // told at least where there is no room
    IngestQueue::Options ingest;                           // its callback is the revision's own
    WindowCache::Options windows;                          // its ttl is that of the limits
    RecallAuditor::Options audit;  // none with a rate of 0; its callbacks are the revision's own
  };
  // Of the server, whatever is served.
  struct Parts {
    Metrics* metrics;
    LiveCalls* live_calls;
    ShadowComparer* shadow = nullptr;  // null: there is no shadow
    int64_t number = 1;  // tells a server's revisions apart, in the order in which they were made
  };

  // FAILED_PRECONDITION or INVALID_ARGUMENT if model and gallery do not fit (see LoadedGallery).
  static absl::StatusOr<std::unique_ptr<ServingRevision>> Create(Source source,
                                                                 const Options& options,
                                                                 const Parts& parts);
  ~ServingRevision();
  ServingRevision(const ServingRevision&) = delete;
  ServingRevision& operator=(const ServingRevision&) = delete;

  // Runs searches of the sizes that will come, so that none of those is slow for being the first,
  // and then compares the model with its reference pairs. Errors of either: what fails here is not
  // fit to serve.
  absl::Status WarmUp();
  // From now on it counts: launches go into the metrics, as does how far it was from the reference
  // pairs, and searches are audited. Once, before the first call.
  void MarkReady();
  // Audits end; for a revision that is going to be replaced, or a server that closes.
  void StopAudits();

  const ModelInfo& model_info() const { return model_->info(); }
  const SearchLimits& limits() const { return limits_; }
  const Gallery& gallery() const { return gallery_->gallery(); }
  // Null, both, if the gallery is only read.
  MutableGallery* mutable_gallery() const { return gallery_->mutable_gallery(); }
  IngestQueue* ingest() const { return ingest_.get(); }
  const SearchPipeline& pipeline() const { return pipeline_; }
  const SearchExecutor& executor() const { return *executor_; }
  const ExplainPipeline& explainer() const { return explainer_; }
  const RequestConverter& converter() const { return converter_; }
  const ItemConverter& item_converter() const { return item_converter_; }
  const ResponseWriter& writer() const { return writer_; }
  // What GetInfo answers, but for the gallery, which is told as it then is.
  const v1::GetInfoResponse& info() const { return info_; }

  // How long the launch of the scorer that is under way has taken so far.
  absl::Duration launch_age() const { return scorer_.launch_age(); }

  // How long what was admitted and is not done will take by the rate of late; zero while that is
  // not known.
  absl::Duration pending_time() const { return admission_.pending_time(); }

  // Fills in what waits here; the rest of `state` is left as it is.
  void Observe(Metrics::State& state) const;

 private:
  ServingRevision(std::unique_ptr<const DimeModel> model, std::unique_ptr<LoadedGallery> gallery,
                  const SearchLimits& limits, std::optional<ReferencePairs> reference,
                  const Options& options, const Parts& parts);

  absl::Status RunSearches();
  // Encodes a query and scores it against one item made up, as often as a search would have
  // candidates: what a search takes, but for the gallery.
  absl::Status ScoreMadeUp(const Query& query);
  absl::Status CheckReference();

  // In order of dependence: each uses only those before it.
  const Options options_;
  const SearchLimits limits_;
  const std::optional<ReferencePairs> reference_;
  const Parts parts_;
  const std::unique_ptr<const DimeModel> model_;
  const std::unique_ptr<const LoadedGallery> gallery_;
  std::atomic<bool> ready_{false};
  std::optional<ReferencePairs::Deviation> deviation_;  // once it was compared
  const BatchingCaptionEncoder batching_encoder_;
  const CachingCaptionEncoder query_encoder_;  // of texts that are searched by
  BatchingScorer scorer_;
  AdmissionControl admission_;
  const SearchPipeline pipeline_;
  const ExplainPipeline explainer_;
  const RequestConverter converter_;
  const ResponseWriter writer_;
  const ItemConverter item_converter_;
  WindowCache windows_;
  std::unique_ptr<RecallAuditor> auditor_;  // null if nothing is audited
  std::unique_ptr<SearchExecutor> executor_;
  std::unique_ptr<IngestQueue> ingest_;  // null if the gallery is only read
  v1::GetInfoResponse info_;
};

}  // namespace dime

#endif  // DIME_SERVER_SERVING_REVISION_H_
