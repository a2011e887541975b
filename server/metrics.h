#ifndef DIME_SERVER_METRICS_H_
#define DIME_SERVER_METRICS_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "dime/v1/retrieval.pb.h"
#include "index/gallery.h"
#include "index/mutable_gallery.h"
#include "model/batching_scorer.h"
#include "model/bounded_bank.h"
#include "model/caching_caption_encoder.h"
#include "model/model_info.h"
#include "model/pair_scorer.h"
#include "model/reference_pairs.h"
#include "prometheus/collectable.h"
#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"
#include "server/ingest_queue.h"
#include "server/pipeline/search_types.h"
#include "server/quality_metrics.h"
#include "server/rpc_method.h"
#include "server/window_cache.h"

namespace dime {

// What the server measures of itself, as Prometheus collects it. Every series that can ever appear
// is there from the start, at zero. Units are seconds and pairs, in the names.
// Thread-safe. What ObserveState()'s function uses must outlive the last Collect().
class Metrics : public prometheus::Collectable {
 public:
  // What waits, and what is served, at this moment.
  struct State {
    int64_t requests = 0;        // for a worker
    int64_t pairs = 0;           // for a launch
    int64_t evaluations = 0;     // admitted and not done, of pairs by a direction
    absl::Duration oldest_wait;  // of the oldest of those pairs
    IngestQueue::Size ingest;    // to be written
    WindowCache::Size windows;   // kept for further pages
    // Rows that searches found in the bounded banks, and such that were read; by Modality.
    std::array<BoundedBank::Counts, 2> banks;
    CachingCaptionEncoder::Counts query_cache;
    RoutingCounts cells;  // computed and skipped by the scorer so far
    // Tells apart what is served: totals of another begin at zero again.
    int64_t revision = 1;
    const Gallery* gallery = nullptr;                 // null: none is looked at
    const MutableGallery* mutable_gallery = nullptr;  // null if the gallery is only read
    std::shared_ptr<const void> hold;                 // keeps them for as long
  };
  // What became of a request for a further page.
  enum class PageOutcome { kServed, kExpired, kInvalid };

  // What is served at the start.
  Metrics(absl::string_view server_version, const ModelInfo& model, const GalleryView& view);

  // Asked at each collection. To be set before the first one.
  void ObserveState(std::function<State()> state) { state_ = std::move(state); }
  // Another model, another gallery are served from now on.
  void SetServed(const ModelInfo& model, const GalleryView& view)
      ABSL_LOCKS_EXCLUDED(served_mutex_);

  void RequestStarted(RpcMethod method);
  // `code` is one that the service answers with. Searches that got no answer because of load or
  // because nobody wants it any more are also counted by dime_queue_rejected_total, by `reason`
  // where there are several.
  void RequestFinished(RpcMethod method, absl::StatusCode code, absl::Duration duration,
                       v1::ErrorReason reason = v1::ERROR_REASON_UNSPECIFIED);
  // A search that was answered, and how long it had waited for a worker.
  void SearchAnswered(RpcMethod method, const SearchResult& result, const SearchOptions& options,
                      absl::Duration queue_time);
  void BatchLaunched(const BatchingScorer::BatchStats& stats);
  // So many texts of searches were encoded at once.
  void QueriesEncoded(int texts);
  void PageAsked(PageOutcome outcome);
  // An item of an upsert stream has its outcome.
  void ItemSettled(Modality modality, absl::StatusCode code);
  void ItemsDeleted(Modality modality, int64_t count);
  void ItemsWritten(const IngestQueue::BatchStats& stats);
  // The model's scores of its reference pairs, before it serves.
  // Of the model that serves from now on; absent: it has no reference pairs.
  void ModelCompared(const std::optional<ReferencePairs::Deviation>& deviation);
  // The last that a revision has to tell: what it counted since it was looked at last.
  void RevisionEnded(const State& state) ABSL_LOCKS_EXCLUDED(totals_mutex_);
  // The launch under way stands still, or it goes on.
  void LaunchStalled(bool stalled);
  void Reloaded(bool done);
  // A call that was refused for its token: UNAUTHENTICATED or PERMISSION_DENIED.
  void CallUnauthorized(absl::StatusCode code);
  // A token file that had changed was read, or could not be.
  void TokensRead(bool done);
  void SnapshotCreated(absl::Time when);
  // A call that took longer than it should.
  void SlowRequest(RpcMethod method);
  // A line about a call that there was no room for in the log.
  void LogLineLeftOut();
  // The spans of a call, into their file.
  void SpansWritten(bool done);
  // For how long the reranker has had launches under way so far.
  absl::Duration launch_time() const { return absl::Nanoseconds(launch_nanoseconds_.load()); }
  // How good the answers are.
  QualityMetrics& quality() { return quality_; }

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  // Of one method and code.
  struct Outcome {
    prometheus::Counter* requests;
    prometheus::Histogram* duration;
  };
  // Of one search method.
  struct Stages {
    prometheus::Histogram *queue, *encode, *recall, *rerank, *select;
    prometheus::Histogram *candidates, *depth_saved;
    std::array<prometheus::Counter*, kDegradations.size()> degraded;  // by Degradation
  };
  // Of one modality: items on their way into the gallery and out of it.
  struct Ingest {
    prometheus::Counter *written, *invalid, *refused, *failed, *deleted;
    prometheus::Histogram *batch_items, *encoding, *writing;
    prometheus::Gauge *indexed, *tail, *tombstones;
  };
  // What was asked of the queue but not got.
  struct Rejections {
    prometheus::Counter *full, *unreachable, *quota, *deadline, *cancelled, *draining;
  };

  void AddRequestSeries();
  void AddSearchSeries();
  void AddBatchSeries();
  void AddIngestSeries();
  void AddPageSeries();
  void AddInfoSeries(absl::string_view server_version);

  void CollectGallery(const State& state) const;
  void CollectTotals(const State& state) const ABSL_LOCKS_EXCLUDED(totals_mutex_);

  prometheus::Registry registry_;
  QualityMetrics quality_{registry_};
  std::array<prometheus::Gauge*, 2> gallery_items_{};  // by Modality
  std::function<State()> state_;
  std::mutex served_mutex_;
  prometheus::Family<prometheus::Gauge>* model_info_ = nullptr;
  prometheus::Family<prometheus::Gauge>* gallery_info_ = nullptr;
  prometheus::Gauge* served_model_ ABSL_GUARDED_BY(served_mutex_) = nullptr;
  prometheus::Gauge* served_gallery_ ABSL_GUARDED_BY(served_mutex_) = nullptr;
  // Held while counters catch up with totals of others, which are as of the last time; by revision,
  // of those that have not ended.
  mutable std::mutex totals_mutex_;
  mutable std::map<int64_t, State> last_totals_ ABSL_GUARDED_BY(totals_mutex_);
  prometheus::Counter* cells_run_ = nullptr;
  prometheus::Counter* cells_skipped_ = nullptr;
  // All of these live in registry_.
  std::array<std::map<absl::StatusCode, Outcome>, kNumRpcMethods> outcomes_;  // by RpcMethod
  std::array<prometheus::Gauge*, kNumRpcMethods> inflight_{};                 // by RpcMethod
  std::array<Stages, kNumSearchMethods> stages_{};                            // by RpcMethod
  std::array<prometheus::Counter*, kNumDirections> rerank_pairs_{};           // by Direction
  Rejections rejections_{};
  prometheus::Gauge* queue_requests_ = nullptr;
  prometheus::Gauge* queue_pairs_ = nullptr;
  prometheus::Gauge* admitted_ = nullptr;
  prometheus::Gauge* queue_oldest_ = nullptr;
  prometheus::Histogram* batch_pairs_ = nullptr;
  prometheus::Histogram* batch_requests_ = nullptr;
  prometheus::Histogram* batch_duration_ = nullptr;
  prometheus::Histogram* encode_batch_ = nullptr;
  prometheus::Counter* query_cache_hits_ = nullptr;
  prometheus::Counter* query_cache_misses_ = nullptr;
  prometheus::Gauge* query_cache_bytes_ = nullptr;
  std::array<Ingest, 2> ingest_{};                     // by Modality
  std::array<prometheus::Counter*, 3> pages_{};        // by PageOutcome
  std::array<prometheus::Counter*, 2> bank_hits_{};    // by Modality
  std::array<prometheus::Counter*, 2> bank_misses_{};  // by Modality
  prometheus::Gauge* ingest_queue_items_ = nullptr;
  prometheus::Gauge* ingest_queue_bytes_ = nullptr;
  prometheus::Gauge* page_windows_ = nullptr;
  prometheus::Gauge* page_window_bytes_ = nullptr;
  prometheus::Gauge* gallery_bytes_ = nullptr;
  prometheus::Gauge* gallery_sequence_ = nullptr;
  prometheus::Gauge* last_merge_ = nullptr;
  prometheus::Gauge* last_snapshot_ = nullptr;
  prometheus::Gauge* parity_mean_ = nullptr;
  prometheus::Gauge* parity_max_ = nullptr;
  prometheus::Gauge* launch_stalled_ = nullptr;
  prometheus::Counter* reloads_done_ = nullptr;
  prometheus::Counter* reloads_failed_ = nullptr;
  prometheus::Counter* auth_unauthenticated_ = nullptr;
  prometheus::Counter* auth_denied_ = nullptr;
  prometheus::Counter* tokens_read_ = nullptr;
  prometheus::Counter* tokens_damaged_ = nullptr;
  std::array<prometheus::Counter*, kNumRpcMethods> slow_{};  // by RpcMethod
  prometheus::Counter* log_lines_left_out_ = nullptr;
  prometheus::Counter* spans_written_ = nullptr;
  prometheus::Counter* spans_lost_ = nullptr;
  std::atomic<int64_t> launch_nanoseconds_{0};
};

}  // namespace dime

#endif  // DIME_SERVER_METRICS_H_
