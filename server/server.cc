#include "server/server.h"

#include <time.h>

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/impl/server_builder_option.h"
#include "grpcpp/impl/server_builder_plugin.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "index/status_macros.h"
#include "index/thread_priority.h"
#include "model/available_cores.h"

namespace dime {
namespace {

// Linking the reflection library puts it into every server of the process; this takes it out again.
class WithoutReflection : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    std::erase_if(*plugins, [](const std::unique_ptr<grpc::ServerBuilderPlugin>& plugin) {
      return plugin->name() == "proto_server_reflection";
    });
  }
};

absl::Status CheckAtLeast(absl::string_view option, int64_t value, int64_t lowest) {
  if (value >= lowest) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(option, " must be at least ", lowest, ", got ", value));
}

bool ControlsAccess(const Server::Options& options) {
  return !options.access_tokens.empty() || options.jwt.has_value();
}

AccessControl::Options AccessOptions(const Server::Options& options) {
  return {.path = options.access_tokens, .jwt = options.jwt};
}

// As gRPC takes durations: INT_MAX is for ever.
int ToMilliseconds(absl::Duration duration) {
  return static_cast<int>(
      std::min<int64_t>(absl::ToInt64Milliseconds(duration), std::numeric_limits<int>::max()));
}

ServingRevision::Options RevisionOptions(const Server::Options& options) {
  return {.version = options.version,
          .bank_bytes = options.bank_bytes,
          .max_batch_pairs = options.max_batch_pairs,
          .max_queue_pairs = options.max_queue_pairs,
          .query_cache_bytes = options.query_cache_bytes,
          .retry_delay = options.retry_delay,
          .ingest = options.ingest,
          .windows = options.windows,
          .audit = options.audit};
}

}  // namespace

absl::Status Server::CheckOptions(const Options& options) {
  const SearchLimits& limits = options.limits;
  RETURN_IF_ERROR(CheckAtLeast("workers", options.workers.threads, 1));
  RETURN_IF_ERROR(CheckAtLeast("max_queued_calls", options.workers.max_queued, 1));
  RETURN_IF_ERROR(CheckAtLeast("max_concurrent_streams", options.max_concurrent_streams, 1));
  RETURN_IF_ERROR(CheckAtLeast("bank_bytes", options.bank_bytes, 1));
  RETURN_IF_ERROR(CheckAtLeast("max_batch_pairs", options.max_batch_pairs, 0));
  RETURN_IF_ERROR(CheckAtLeast("max_queue_pairs", options.max_queue_pairs, 1));
  RETURN_IF_ERROR(CheckAtLeast("query_cache_bytes", options.query_cache_bytes, 0));
  RETURN_IF_ERROR(CheckAtLeast("max_top_k", limits.max_top_k, 1));
  RETURN_IF_ERROR(CheckAtLeast("default_rerank_depth", limits.default_rerank_depth, 1));
  RETURN_IF_ERROR(
      CheckAtLeast("default_caption_rerank_depth", limits.default_caption_rerank_depth, 0));
  for (Modality target : {Modality::kImage, Modality::kCaption}) {
    RETURN_IF_ERROR(CheckAtLeast("default search effort", limits.DefaultSearchEffort(target), 0));
  }
  RETURN_IF_ERROR(CheckAtLeast("max_exact_items", limits.max_exact_items, 0));
  if (!(options.audit.rate >= 0 && options.audit.rate <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("audit rate must be 0 to 1, got ", options.audit.rate));
  }
  if (!(options.shadow.rate >= 0 && options.shadow.rate <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("shadow rate must be 0 to 1, got ", options.shadow.rate));
  }
  RETURN_IF_ERROR(
      CheckAtLeast("max_queued comparisons with the shadow", options.shadow.max_queued, 1));
  RETURN_IF_ERROR(CheckAtLeast("audit_max_items", options.audit.max_items, 1));
  RETURN_IF_ERROR(CheckAtLeast("max_queued audits", options.audit.max_queued, 1));
  RETURN_IF_ERROR(CheckAtLeast("wave_pairs of audits", options.audit.wave_pairs, 1));
  RETURN_IF_ERROR(CheckAtLeast("max_text_characters", limits.max_text_characters, 1));
  RETURN_IF_ERROR(CheckAtLeast("max_search_effort", limits.max_search_effort, 1));
  RETURN_IF_ERROR(CheckAtLeast("max_request_bytes", limits.max_request_bytes, 1024));
  RETURN_IF_ERROR(CheckAtLeast("max_batch_queries", limits.max_batch_queries, 1));
  RETURN_IF_ERROR(CheckAtLeast("max_outstanding_items", limits.max_outstanding_items, 1));
  RETURN_IF_ERROR(CheckAtLeast("max_delete_ids", limits.max_delete_ids, 1));
  RETURN_IF_ERROR(CheckAtLeast("max_list_page_size", limits.max_list_page_size, 1));
  RETURN_IF_ERROR(CheckAtLeast("max_ingest_bytes", options.ingest.max_queued_bytes, 1));
  if (!(options.longest_launch > absl::ZeroDuration())) {
    return absl::InvalidArgumentError(absl::StrCat("longest_launch must be longer than zero, got ",
                                                   absl::FormatDuration(options.longest_launch)));
  }
  for (const auto& [option, age] :
       {std::pair("max_connection_age", options.max_connection_age),
        std::pair("max_connection_age_grace", options.max_connection_age_grace)}) {
    if (age > absl::ZeroDuration()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(option, " must be longer than zero, got ", absl::FormatDuration(age)));
  }
  if (!(options.max_calls_per_second >= 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_calls_per_second must not be negative, got ", options.max_calls_per_second));
  }
  RETURN_IF_ERROR(CheckAtLeast("slow_calls.capacity", options.slow_calls.capacity, 0));
  if (!(options.calls.trace_rate >= 0 && options.calls.trace_rate <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("trace rate must be 0 to 1, got ", options.calls.trace_rate));
  }
  RETURN_IF_ERROR(CheckAtLeast("max_batch_images", options.ingest.max_batch_images, 1));
  RETURN_IF_ERROR(CheckAtLeast("max_batch_captions", options.ingest.max_batch_captions, 1));
  RETURN_IF_ERROR(CheckAtLeast("max_page_windows", options.windows.max_windows, 1));
  if (!(limits.page_token_ttl > absl::ZeroDuration())) {
    return absl::InvalidArgumentError(absl::StrCat("page_token_ttl must be longer than zero, got ",
                                                   absl::FormatDuration(limits.page_token_ttl)));
  }
  if (limits.max_request_bytes > std::numeric_limits<int>::max()) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_request_bytes must be below 2 GiB, got ", limits.max_request_bytes));
  }
  if (limits.max_rerank_depth < limits.max_top_k ||
      limits.max_rerank_depth < limits.default_rerank_depth ||
      limits.max_rerank_depth < limits.default_caption_rerank_depth) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_rerank_depth (", limits.max_rerank_depth, ") must be at least max_top_k (",
        limits.max_top_k, ") and the default depths (", limits.DefaultRerankDepth(Modality::kImage),
        " for images, ", limits.DefaultRerankDepth(Modality::kCaption), " for captions)"));
  }
  return absl::OkStatus();
}

absl::Status Server::CheckFiles(const Options& options) {
  RETURN_IF_ERROR(CheckTlsFiles(options.tls));
  if (!options.trace_file.empty()) RETURN_IF_ERROR(SpanFile::Check(options.trace_file));
  if (options.metrics_need_token && !ControlsAccess(options)) {
    return absl::InvalidArgumentError(
        "--metrics-need-token needs tokens: --access-tokens or --jwt-keys");
  }
  if (!ControlsAccess(options)) return absl::OkStatus();
  RETURN_IF_ERROR(AccessControl::Create(AccessOptions(options)).status());
  if (options.tls.certificate.empty() && !IsLoopback(options.address) &&
      !options.allow_plaintext_tokens) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tokens would cross the network to ", options.address,
        " in plain text: give --tls-certificate and --tls-key, listen on the loopback, or say "
        "--allow-plaintext-tokens where something in front of the server does TLS"));
  }
  return absl::OkStatus();
}

std::vector<std::string> Server::AccessWarnings(const Options& options) {
  std::vector<std::string> warnings;
  if (!IsLoopback(options.address) && options.tls.certificate.empty()) {
    warnings.push_back(
        absl::StrCat("calls to ", options.address, " are in plain text (see --tls-certificate)"));
  }
  if (!IsLoopback(options.address) && !ControlsAccess(options) && options.tls.client_ca.empty()) {
    warnings.push_back(
        absl::StrCat("whoever reaches ", options.address,
                     " may make every call (see --access-tokens, --jwt-keys, --tls-client-ca)"));
  }
  return warnings;
}

absl::StatusOr<std::unique_ptr<Server>> Server::Create(
    Options options, ServingRevision::Source source,
    std::unique_ptr<ServingRevision::Source> shadow_source) {
  // The mutexes of gRPC keep the order in which they are taken, at each taking, where abseil was
  // built to debug, as by distributions. What searches locks of its own is std's.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  options.limits = source.limits;
  RETURN_IF_ERROR(CheckOptions(options));
  RETURN_IF_ERROR(CheckFiles(options));
  auto metrics =
      std::make_shared<Metrics>(options.version, source.model->info(), *source.gallery->Pin());
  auto live_calls = std::make_unique<LiveCalls>();
  std::unique_ptr<Shadow> shadow;
  if (shadow_source != nullptr) {
    ASSIGN_OR_RETURN(
        shadow, MakeShadow(options, std::move(*shadow_source), metrics.get(), live_calls.get()));
  }
  ASSIGN_OR_RETURN(
      std::unique_ptr<ServingRevision> first,
      ServingRevision::Create(std::move(source), RevisionOptions(options),
                              {.metrics = metrics.get(),
                               .live_calls = live_calls.get(),
                               .shadow = shadow == nullptr ? nullptr : shadow->comparer.get()}));
  return std::unique_ptr<Server>(new Server(options, std::move(metrics), std::move(live_calls),
                                            std::move(shadow), std::move(first)));
}

Server::Server(const Options& options, std::shared_ptr<Metrics> metrics,
               std::unique_ptr<LiveCalls> live_calls, std::unique_ptr<Shadow> shadow,
               std::unique_ptr<ServingRevision> first)
    : options_(options),
      metrics_(std::move(metrics)),
      live_calls_(std::move(live_calls)),
      shadow_(std::move(shadow)),
      revisions_(std::make_unique<RevisionSwitch>(std::move(first))),
      slow_calls_(options_.slow_calls),
      workers_(options_.workers) {
  metrics_->ObserveState([this] {
    Metrics::State state;
    const RevisionSwitch::Lease revision = revisions_->Current();
    revision->Observe(state);
    state.requests = workers_.queued();
    state.hold = revision;
    return state;
  });
}

absl::StatusOr<std::unique_ptr<Server::Shadow>> Server::MakeShadow(const Options& options,
                                                                   ServingRevision::Source source,
                                                                   Metrics* metrics,
                                                                   LiveCalls* live_calls) {
  ServingRevision::Options of_shadow = RevisionOptions(options);
  of_shadow.audit.rate = 0;
  auto shadow = std::make_unique<Shadow>();
  // Never marked ready: what it launches is no part of the service's own numbers.
  ASSIGN_OR_RETURN(shadow->revision, RunAtLowestPriority([&] {
                     return ServingRevision::Create(std::move(source), of_shadow,
                                                    {.metrics = metrics, .live_calls = live_calls});
                   }));
  RETURN_IF_ERROR(shadow->revision->WarmUp());
  metrics->quality().SetShadow(shadow->revision->model_info());
  ShadowComparer::Options comparer = options.shadow;
  comparer.on_comparison = [metrics](const ShadowComparison& comparison) {
    metrics->quality().ShadowCompared(comparison);
  };
  comparer.on_drop = [metrics](Modality target, ShadowComparer::Drop reason) {
    metrics->quality().ShadowDropped(target, reason);
  };
  shadow->comparer = std::make_unique<ShadowComparer>(
      ShadowComparer::Parts{.gallery = &shadow->revision->gallery(),
                            .pipeline = &shadow->revision->pipeline(),
                            .model = shadow->revision->model_info(),
                            .limits = shadow->revision->limits(),
                            .live_calls = live_calls},
      std::move(comparer));
  return shadow;
}

Server::~Server() { Shutdown(absl::ZeroDuration()); }

absl::Status Server::Start() {
  RETURN_IF_ERROR(OpenAccess());
  if (!options_.metrics_address.empty()) {
    MetricsExposer::Authorize authorize;
    if (options_.metrics_need_token) {
      authorize = [this](const std::vector<absl::string_view>& authorization) {
        const absl::Status status = access_->Authorize(authorization, Role::kMetrics).status();
        if (!status.ok()) metrics_->CallUnauthorized(status.code());
        return status;
      };
    }
    ASSIGN_OR_RETURN(metrics_exposer_, MetricsExposer::Start(options_.metrics_address, metrics_,
                                                             std::move(authorize)));
  }
  RETURN_IF_ERROR(revision()->WarmUp());
  revision()->MarkReady();
  return Listen();
}

absl::Status Server::Reload(absl::StatusOr<ServingRevision::Source> next) {
  const absl::Status status = next.ok() ? TryReload(*std::move(next)) : next.status();
  metrics_->Reloaded(status.ok());
  return status;
}

absl::Status Server::TryReload(ServingRevision::Source next) {
  Options options = options_;
  options.limits = next.limits;
  RETURN_IF_ERROR(CheckOptions(options));
  ASSIGN_OR_RETURN(
      std::unique_ptr<ServingRevision> revision,
      ServingRevision::Create(std::move(next), RevisionOptions(options_),
                              {.metrics = metrics_.get(),
                               .live_calls = live_calls_.get(),
                               .shadow = shadow_ == nullptr ? nullptr : shadow_->comparer.get(),
                               .number = ++last_revision_}));
  RETURN_IF_ERROR(revision->WarmUp());
  revision->MarkReady();
  const ModelInfo model = revision->model_info();
  const std::shared_ptr<const GalleryView> view = revision->gallery().Pin();
  revisions_->Current()->StopAudits();
  revisions_->Replace(std::move(revision));
  metrics_->SetServed(model, *view);
  revisions_->AwaitReplaced();
  return absl::OkStatus();
}

absl::Status Server::OpenAccess() {
  if (options_.max_calls_per_second > 0) {
    rate_ = std::make_unique<RateLimiter>(
        RateLimiter::Options{.calls_per_second = options_.max_calls_per_second});
  }
  if (!ControlsAccess(options_)) return absl::OkStatus();
  AccessControl::Options access = AccessOptions(options_);
  access.on_reload = [this](const absl::Status& read) {
    metrics_->TokensRead(read.ok());
    if (read.ok() || options_.log == nullptr) return;
    options_.log->Warning(absl::StrCat(read.message(), "; what was read before stays"));
  };
  ASSIGN_OR_RETURN(access_, AccessControl::Create(std::move(access)));
  return absl::OkStatus();
}

absl::Status Server::Listen() {
  ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ServerCredentials> credentials,
                   MakeServerCredentials(options_.tls));
  if (!options_.trace_file.empty()) {
    ASSIGN_OR_RETURN(spans_, SpanFile::Open(options_.trace_file, options_.version));
  }
  observer_ = std::make_unique<CallObserver>(CallObserver::Parts{.metrics = metrics_.get(),
                                                                 .log = options_.log,
                                                                 .spans = spans_.get(),
                                                                 .slow = &slow_calls_},
                                             options_.calls);
  if (options_.load_reports) {
    load_reporter_ = std::make_unique<LoadReporter>(
        LoadReporter::Options{.cores = AvailableCores(), .usage = [this] { return Usage(); }});
  }
  const UnaryCall::Parts call = {.ledger = &ledger_,
                                 .workers = &workers_,
                                 .live_calls = live_calls_.get(),
                                 .record = {.metrics = metrics_.get(),
                                            .observer = observer_.get(),
                                            .load = load_reporter_.get(),
                                            .access = access_.get(),
                                            .rate = rate_.get(),
                                            .retry_delay = options_.retry_delay}};
  retrieval_service_ = std::make_unique<RetrievalService>(
      RetrievalService::Parts{.call = call,
                              .revisions = revisions_.get(),
                              .max_request_bytes = options_.limits.max_request_bytes,
                              .max_batch_queries = options_.limits.max_batch_queries});
  gallery_service_ = std::make_unique<GalleryService>(
      GalleryService::Parts{.call = call,
                            .revisions = revisions_.get(),
                            .snapshot_directory = options_.snapshot_directory},
      options_.limits);
  diagnostics_service_ = std::make_unique<DiagnosticsService>(DiagnosticsService::Parts{
      .call = call, .slow = &slow_calls_, .max_request_bytes = options_.limits.max_request_bytes});

  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  if (!options_.reflection || access_ != nullptr) {
    builder.SetOption(std::make_unique<WithoutReflection>());
  }
  // With port sharing a second server would start unnoticed and take half of the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options_.max_concurrent_streams);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                             ToMilliseconds(options_.max_connection_age));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
                             ToMilliseconds(options_.max_connection_age_grace));
  // Larger than the limit, so that the service refuses a message in its own words.
  builder.SetMaxReceiveMessageSize(static_cast<int>(
      std::min<int64_t>(4 * options_.limits.max_request_bytes, std::numeric_limits<int>::max())));
  int port = 0;
  builder.AddListeningPort(options_.address, credentials, &port);
  builder.RegisterService(retrieval_service_.get());
  builder.RegisterService(gallery_service_.get());
  builder.RegisterService(diagnostics_service_.get());
  server_ = builder.BuildAndStart();
  if (server_ == nullptr || port == 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", options_.address,
                     ": the port is in use, or the address is not this machine's"));
  }
  bound_address_ = WithPort(options_.address, port);
  SetHealth(/*serving=*/true, /*alive=*/true);
  if (options_.longest_launch != absl::InfiniteDuration()) {
    watchdog_ = std::make_unique<Watchdog>(
        Watchdog::Options{.limit = options_.longest_launch,
                          .period = options_.watchdog_period,
                          .age = [this] { return revision()->launch_age(); },
                          .on_change =
                              [this](bool stalled) {
                                metrics_->LaunchStalled(stalled);
                                SetHealth(!stalled, !stalled);
                              }});
  }
  return absl::OkStatus();
}

LoadReporter::Usage Server::Usage() const {
  timespec cpu{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
  return {.cpu = absl::DurationFromTimespec(cpu),
          .launches = metrics_->launch_time(),
          .queue = revisions_->Current()->pending_time()};
}

void Server::SetHealth(bool serving, bool alive) {
  grpc::HealthCheckServiceInterface& health = *server_->GetHealthCheckService();
  for (const char* service :
       {"", v1::RetrievalService::service_full_name(), v1::GalleryService::service_full_name(),
        v1::DiagnosticsService::service_full_name()}) {
    health.SetServingStatus(service, serving);
  }
  health.SetServingStatus(kLivenessService, alive);
}

void Server::Shutdown(absl::Duration drain, absl::Duration notice) {
  if (server_ == nullptr) return;
  watchdog_ = nullptr;
  SetHealth(/*serving=*/false, /*alive=*/true);
  if (notice > absl::ZeroDuration()) absl::SleepFor(notice);
  // Streams of health watchers and of reflection would hold gRPC's own shutdown up to its deadline,
  // so the calls that matter are waited for first; what is left after them gets a moment.
  constexpr absl::Duration kGrace = absl::Milliseconds(100);
  const absl::Time deadline = absl::Now() + drain;
  ledger_.StartDraining();
  revision()->StopAudits();
  if (shadow_ != nullptr) shadow_->comparer->Stop();
  const bool drained = ledger_.AwaitCalls(deadline);
  server_->Shutdown(absl::ToChronoTime(drained ? absl::Now() + kGrace : absl::Now()));
  ledger_.AwaitCalls(absl::InfiniteFuture());
  server_ = nullptr;
}

}  // namespace dime
