#ifndef DIME_SERVER_SERVER_H_
#define DIME_SERVER_SERVER_H_

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/server.h"
#include "index/gallery.h"
#include "model/batching_scorer.h"
#include "model/dime_model.h"
#include "server/call_ledger.h"
#include "server/gallery_service.h"
#include "server/ingest_queue.h"
#include "server/item_converter.h"
#include "server/metrics.h"
#include "server/metrics_exposer.h"
#include "server/pipeline/explain_pipeline.h"
#include "server/pipeline/loaded_gallery.h"
#include "server/pipeline/search_pipeline.h"
#include "server/recall_auditor.h"
#include "server/request_converter.h"
#include "server/response_writer.h"
#include "server/retrieval_service.h"
#include "server/search_executor.h"
#include "server/search_limits.h"
#include "server/window_cache.h"
#include "server/worker_pool.h"

namespace dime {

// A retrieval server: owns the model, the gallery and everything between them and the network, and
// wires it up. The one place that knows the concrete classes.
// Life: Create(), Start() once, Shutdown() once (or destruction, which drains nothing). Start() and
// Shutdown() are for one thread; accessors for any, once Start() has returned.
class Server {
 public:
  struct Options {
    std::string address = "127.0.0.1:8980";  // gRPC; port 0 picks one
    // HTTP; port 0 picks one; empty: metrics are not served.
    std::string metrics_address = "127.0.0.1:8981";
    std::string version = "unknown";  // the program's, for GetInfo
    SearchLimits limits;
    WorkerPool::Options workers;
    // What the local features of a living gallery may take on the scorer's device, for each kind.
    int64_t bank_bytes = LoadedGallery::kBankBytes;
    int64_t max_batch_pairs = 512;
    int64_t max_queue_pairs = 65536;
    bool reflection = true;
    absl::Duration retry_delay = absl::Milliseconds(250);  // told with RESOURCE_EXHAUSTED etc.
    IngestQueue::Options ingest;                           // its callback is the server's own
    WindowCache::Options windows;                          // its ttl is that of the limits
    // Where CreateSnapshot writes, and nowhere else; empty: there are no snapshots.
    std::string snapshot_directory;
    RecallAuditor::Options audit;  // no audits with a rate of 0; its callbacks are the server's own
  };

  // INVALID_ARGUMENT, naming the option, for options that make no sense together;
  // FAILED_PRECONDITION or INVALID_ARGUMENT if model and gallery do not fit (see LoadedGallery).
  static absl::StatusOr<std::unique_ptr<Server>> Create(const Options& options,
                                                        std::unique_ptr<const DimeModel> model,
                                                        std::unique_ptr<Gallery> gallery);
  ~Server();

  // Listens for metrics, warms the model up by a few searches, then listens for calls and turns
  // healthy. UNAVAILABLE, naming the address, if an address cannot be listened on.
  absl::Status Start();
  // Turns unhealthy, refuses new calls with UNAVAILABLE, lets those under way finish for up to
  // `drain`, then cancels what is left and closes.
  void Shutdown(absl::Duration drain);

  // "host:port" that is really listened on.
  const std::string& address() const { return bound_address_; }
  // Empty if metrics are not served.
  std::string metrics_address() const {
    return metrics_exposer_ == nullptr ? "" : metrics_exposer_->address();
  }
  const ModelInfo& model_info() const { return model_->info(); }
  const Gallery& gallery() const { return gallery_->gallery(); }

 private:
  Server(const Options& options, std::unique_ptr<const DimeModel> model,
         std::unique_ptr<LoadedGallery> gallery);

  absl::Status WarmUp();
  absl::Status Listen();

  // In order of dependence: each uses only those before it, save that the services put work into
  // the ingest queue and the workers, who must have left them when they go.
  const Options options_;
  const std::unique_ptr<const DimeModel> model_;
  const std::unique_ptr<const LoadedGallery> gallery_;
  const std::shared_ptr<Metrics> metrics_;
  std::atomic<bool> warm_{false};  // launches are counted from then on
  BatchingScorer scorer_;
  const SearchPipeline pipeline_;
  const ExplainPipeline explainer_;
  const RequestConverter converter_;
  const ResponseWriter writer_;
  const ItemConverter item_converter_;
  CallLedger ledger_;
  WindowCache windows_;
  std::unique_ptr<RecallAuditor> auditor_;  // null if nothing is audited
  std::unique_ptr<SearchExecutor> executor_;
  std::unique_ptr<RetrievalService> retrieval_service_;
  std::unique_ptr<GalleryService> gallery_service_;
  std::unique_ptr<IngestQueue> ingest_;  // null if the gallery is only read
  WorkerPool workers_;
  std::unique_ptr<MetricsExposer> metrics_exposer_;
  std::unique_ptr<grpc::Server> server_;
  std::string bound_address_;
};

}  // namespace dime

#endif  // DIME_SERVER_SERVER_H_
