#ifndef DIME_SERVER_SERVER_H_
#define DIME_SERVER_SERVER_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/server.h"
#include "server/access_control.h"
#include "server/call_ledger.h"
#include "server/call_observer.h"
#include "server/diagnostics_service.h"
#include "server/gallery_service.h"
#include "server/live_calls.h"
#include "server/load_reporter.h"
#include "server/log.h"
#include "server/metrics.h"
#include "server/metrics_exposer.h"
#include "server/rate_limiter.h"
#include "server/retrieval_service.h"
#include "server/revision_switch.h"
#include "server/search_limits.h"
#include "server/serving_revision.h"
#include "server/slow_calls.h"
#include "server/span_file.h"
#include "server/tls_credentials.h"
#include "server/watchdog.h"
#include "server/worker_pool.h"

namespace dime {

// The name under which the health service tells whether the process gets on; under the services'
// names and the empty one it tells whether calls are welcome.
inline constexpr char kLivenessService[] = "liveness";

// A retrieval server: owns what it serves, a model over a gallery (see ServingRevision), and
// everything between that and the network. It can be given another model and gallery while it
// serves.
// Life: Create(), Start() once, Reload() at will, Shutdown() once (or destruction, which drains
// nothing). These are for one thread, but for Reload(), which may be under way on another while
// Shutdown() is called, not while the server goes; accessors are for any, once Start() has
// returned.
class Server {
 public:
  struct Options {
    std::string address = "127.0.0.1:8980";  // gRPC; port 0 picks one
    // HTTP; port 0 picks one; empty: metrics are not served.
    std::string metrics_address = "127.0.0.1:8981";
    std::string version = "unknown";  // the program's, for GetInfo
    SearchLimits limits;              // of the first model and gallery
    WorkerPool::Options workers;
    // What the local features of a living gallery may take on the scorer's device, for each kind.
    int64_t bank_bytes = LoadedGallery::kBankBytes;
    int64_t max_batch_pairs = 0;  // of one launch; 0: as the scorer is quickest with
    int64_t max_queue_pairs = 65536;
    int64_t query_cache_bytes = 64 << 20;  // encodings of texts searched by lately; 0: none
    bool reflection = true;
    int max_concurrent_streams =
        1024;  // calls under way on one connection; more wait at the client
    absl::Duration retry_delay = absl::Milliseconds(250);  // told with RESOURCE_EXHAUSTED etc.
    // Longer than any launch should take: then the server is unhealthy and not alive. Infinite: it
    // is not looked at.
    absl::Duration longest_launch = absl::Seconds(60);
    absl::Duration watchdog_period = absl::Seconds(1);
    IngestQueue::Options ingest;   // its callback is the server's own
    WindowCache::Options windows;  // its ttl is that of the limits
    // Where CreateSnapshot writes, and nowhere else; empty: there are no snapshots.
    std::string snapshot_directory;
    RecallAuditor::Options audit;  // no audits with a rate of 0; its callbacks are the server's own
    ShadowComparer::Options shadow;  // its callbacks are the server's own
    TlsFiles tls;
    // File and keys of AccessControl; without either, whoever reaches the port may do everything.
    // With them there is no reflection, whose calls nobody would ask for a token.
    std::string access_tokens;
    std::optional<JwtVerifier::Options> jwt;
    bool metrics_need_token = false;  // of the role metrics at least
    // Tokens without TLS elsewhere than on the loopback, where something in front does TLS.
    bool allow_plaintext_tokens = false;
    // For how long a connection lasts, give or take a tenth, before its client is asked to make
    // another, so that calls spread over servers that came later; then for how long calls under
    // way on it may go on. Infinite: for ever.
    absl::Duration max_connection_age = absl::InfiniteDuration();
    absl::Duration max_connection_age_grace = absl::InfiniteDuration();
    // Where calls, and what an operator should know, are written; null: nowhere.
    Log* log = nullptr;
    CallObserver::Options calls;
    std::string trace_file;  // of the spans of calls; empty: there are none
    SlowCalls::Options slow_calls;
    double max_calls_per_second = 0;  // of each client; 0: as many as it likes
    bool load_reports = true;         // whether answers tell of the server's load
  };

  // INVALID_ARGUMENT, naming the option, for values out of range or that make no sense together.
  static absl::Status CheckOptions(const Options& options);
  // Whether the files of TLS, of tokens and keys, and of traces can be used: INVALID_ARGUMENT,
  // naming option or file.
  static absl::Status CheckFiles(const Options& options);
  // What an operator should know about who can reach a server of these options.
  static std::vector<std::string> AccessWarnings(const Options& options);
  // The same errors for wrong options and files;
  // FAILED_PRECONDITION or INVALID_ARGUMENT if model and gallery do not fit (see LoadedGallery).
  // The source's limits take the place of the options'.
  // With a `shadow`, a share of the searches is compared with what that one would have answered;
  // its model should have been loaded by RunAtLowestPriority(), for its threads to be of that.
  static absl::StatusOr<std::unique_ptr<Server>> Create(
      Options options, ServingRevision::Source source,
      std::unique_ptr<ServingRevision::Source> shadow = nullptr);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Listens for metrics, warms the model up by a few searches, then listens for calls and turns
  // healthy. UNAVAILABLE, naming the address, if an address cannot be listened on.
  absl::Status Start();
  // Serves another model and gallery from now on, once these have been warmed up; both are there
  // until the last call of the former has ended, for which this waits. Upsert streams go on: items
  // that come from now on are the new gallery's. An error, whether in loading it, which is handed
  // in, or in what came of that, has changed nothing. The limits may differ from the server's in
  // the defaults of searches alone.
  absl::Status Reload(absl::StatusOr<ServingRevision::Source> next);
  // Turns unhealthy, serves on for `notice`, so that callers can find another server, refuses new
  // calls with UNAVAILABLE, lets those under way finish for up to `drain`, then cancels what is
  // left and closes.
  void Shutdown(absl::Duration drain, absl::Duration notice = absl::ZeroDuration());

  // "host:port" that is really listened on.
  const std::string& address() const { return bound_address_; }
  // Empty if metrics are not served.
  std::string metrics_address() const {
    return metrics_exposer_ == nullptr ? "" : metrics_exposer_->address();
  }
  // What serves at this moment.
  RevisionSwitch::Lease revision() const { return revisions_->Current(); }

 private:
  // What does not serve but is compared with what does.
  struct Shadow {
    std::unique_ptr<ServingRevision> revision;
    std::unique_ptr<ShadowComparer> comparer;
  };

  static absl::StatusOr<std::unique_ptr<Shadow>> MakeShadow(const Options& options,
                                                            ServingRevision::Source source,
                                                            Metrics* metrics,
                                                            LiveCalls* live_calls);
  Server(const Options& options, std::shared_ptr<Metrics> metrics,
         std::unique_ptr<LiveCalls> live_calls, std::unique_ptr<Shadow> shadow,
         std::unique_ptr<ServingRevision> first);

  absl::Status OpenAccess();
  absl::Status Listen();
  LoadReporter::Usage Usage() const;
  absl::Status TryReload(ServingRevision::Source next);
  // Of the services, and of liveness (see kLivenessService).
  void SetHealth(bool serving, bool alive);

  // In order of dependence: each uses only those before it, save that the services put work into
  // the workers, who must have left them when they go.
  const Options options_;
  const std::shared_ptr<Metrics> metrics_;
  const std::unique_ptr<LiveCalls> live_calls_;
  const std::unique_ptr<Shadow> shadow_;   // null if there is none
  std::unique_ptr<AccessControl> access_;  // null: whoever comes may call
  std::unique_ptr<RateLimiter> rate_;      // null: clients may make as many calls as they like
  CallLedger ledger_;
  const std::unique_ptr<RevisionSwitch> revisions_;
  int64_t last_revision_ = 1;  // number of the last one made
  SlowCalls slow_calls_;
  std::unique_ptr<SpanFile> spans_;  // null: there are none
  std::unique_ptr<CallObserver> observer_;
  std::unique_ptr<LoadReporter> load_reporter_;  // null: callers are told of no load
  std::unique_ptr<RetrievalService> retrieval_service_;
  std::unique_ptr<GalleryService> gallery_service_;
  std::unique_ptr<DiagnosticsService> diagnostics_service_;
  WorkerPool workers_;
  std::unique_ptr<MetricsExposer> metrics_exposer_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Watchdog> watchdog_;  // null: nothing is watched
  std::string bound_address_;
};

}  // namespace dime

#endif  // DIME_SERVER_SERVER_H_
