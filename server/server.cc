#include "server/server.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/impl/server_builder_option.h"
#include "grpcpp/impl/server_builder_plugin.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "index/status_macros.h"

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

absl::Status CheckOptions(const Server::Options& options) {
  const SearchLimits& limits = options.limits;
  RETURN_IF_ERROR(CheckAtLeast("workers", options.workers.threads, 1));
  RETURN_IF_ERROR(CheckAtLeast("max_queued_calls", options.workers.max_queued, 1));
  RETURN_IF_ERROR(CheckAtLeast("bank_bytes", options.bank_bytes, 1));
  RETURN_IF_ERROR(CheckAtLeast("max_batch_pairs", options.max_batch_pairs, 1));
  RETURN_IF_ERROR(CheckAtLeast("max_queue_pairs", options.max_queue_pairs, 1));
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

WindowCache::Options WindowOptions(const Server::Options& options) {
  WindowCache::Options windows = options.windows;
  windows.ttl = options.limits.page_token_ttl;
  return windows;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Create(const Options& options,
                                                       std::unique_ptr<const DimeModel> model,
                                                       std::unique_ptr<Gallery> gallery) {
  RETURN_IF_ERROR(CheckOptions(options));
  ASSIGN_OR_RETURN(std::unique_ptr<LoadedGallery> loaded,
                   LoadedGallery::Create(std::move(gallery), model->info(), model->pair_scorer(),
                                         options.bank_bytes));
  return std::unique_ptr<Server>(new Server(options, std::move(model), std::move(loaded)));
}

Server::Server(const Options& options, std::unique_ptr<const DimeModel> model,
               std::unique_ptr<LoadedGallery> gallery)
    : options_(options),
      model_(std::move(model)),
      gallery_(std::move(gallery)),
      metrics_(
          std::make_shared<Metrics>(options_.version, model_->info(), *gallery_->gallery().Pin())),
      scorer_(&model_->pair_scorer(), {.max_batch_pairs = options_.max_batch_pairs,
                                       .max_queue_pairs = options_.max_queue_pairs,
                                       .on_batch =
                                           [this](const BatchingScorer::BatchStats& stats) {
                                             if (warm_) metrics_->BatchLaunched(stats);
                                           }}),
      pipeline_(gallery_.get(), &model_->caption_encoder(), &model_->image_encoder(), &scorer_),
      explainer_(&model_->caption_encoder(), &model_->image_encoder(), &model_->pair_explainer()),
      converter_(options_.limits, model_->info()),
      writer_(model_->info()),
      item_converter_(options_.limits, model_->info()),
      windows_(WindowOptions(options_)),
      workers_(options_.workers) {
  MutableGallery* const mutable_gallery = gallery_->mutable_gallery();
  if (mutable_gallery != nullptr) {
    IngestQueue::Options ingest = options_.ingest;
    ingest.on_batch = [this](const IngestQueue::BatchStats& stats) {
      metrics_->ItemsWritten(stats);
    };
    ingest_ = std::make_unique<IngestQueue>(mutable_gallery, &model_->caption_encoder(),
                                            &model_->image_encoder(), model_->info().num_regions,
                                            std::move(ingest));
  }
  metrics_->ObserveQueue([this] {
    return Metrics::QueueState{.requests = workers_.queued(),
                               .pairs = scorer_.queued_pairs(),
                               .oldest_wait = scorer_.oldest_wait(),
                               .ingest = ingest_ == nullptr ? IngestQueue::Size() : ingest_->size(),
                               .windows = windows_.size(),
                               .banks = {gallery_->bank_counts(Modality::kImage),
                                         gallery_->bank_counts(Modality::kCaption)},
                               .cells = model_->pair_scorer().routing_counts()};
  });
  metrics_->ObserveGallery(&gallery_->gallery(), mutable_gallery);
}

Server::~Server() { Shutdown(absl::ZeroDuration()); }

absl::Status Server::Start() {
  if (!options_.metrics_address.empty()) {
    ASSIGN_OR_RETURN(metrics_exposer_, MetricsExposer::Start(options_.metrics_address, metrics_));
  }
  RETURN_IF_ERROR(WarmUp());
  warm_ = true;
  return Listen();
}

absl::Status Server::WarmUp() {
  // The first runs of a size are slow (kernels are chosen, memory is allocated), and the second may
  // still be; sizes are those of ordinary requests. The rerank score alone counts, so that pairs
  // are scored whatever the model's fusion weight.
  constexpr int kRuns = 3;
  const CallContext context;
  std::vector<Query> queries;
  const std::shared_ptr<const GalleryView> view = gallery().Pin();
  if (view->size(Modality::kImage) > 0) queries.push_back(TextQuery{"warming up"});
  if (view->size(Modality::kCaption) > 0) {
    const ModelInfo& model = model_->info();
    queries.push_back(RegionFeaturesQuery{
        .num_regions = model.num_regions,
        .values = std::vector<float>(size_t{1} * model.num_regions * model.feature_dim, 0.5f)});
  }
  for (const Query& query : queries) {
    const SearchOptions options = {
        .top_k = 1,
        .rerank_depth = options_.limits.DefaultRerankDepth(TargetOf(query)),
        .mode = model_->info().DefaultMode(),
        .search_effort = options_.limits.DefaultSearchEffort(TargetOf(query)),
    };
    for (int run = 0; run < kRuns; ++run) {
      RETURN_IF_ERROR(pipeline_.Run(*view, query, options, context).status());
    }
  }
  return absl::OkStatus();
}

absl::Status Server::Listen() {
  if (options_.audit.rate > 0) {
    RecallAuditor::Options audit = options_.audit;
    audit.on_audit = [this](const RecallAudit& found) { metrics_->SearchAudited(found); };
    audit.on_drop = [this](Modality target, RecallAuditor::Drop reason) {
      metrics_->AuditDropped(target, reason);
    };
    auditor_ = std::make_unique<RecallAuditor>(
        RecallAuditor::Parts{.gallery = gallery_.get(),
                             .caption_encoder = &model_->caption_encoder(),
                             .image_encoder = &model_->image_encoder(),
                             .scorer = &model_->pair_scorer()},
        std::move(audit));
  }
  executor_ = std::make_unique<SearchExecutor>(SearchExecutor::Parts{.converter = &converter_,
                                                                     .pipeline = &pipeline_,
                                                                     .writer = &writer_,
                                                                     .windows = &windows_,
                                                                     .metrics = metrics_.get(),
                                                                     .auditor = auditor_.get()});
  const UnaryCall::Parts call = {.ledger = &ledger_,
                                 .workers = &workers_,
                                 .metrics = metrics_.get(),
                                 .auditor = auditor_.get(),
                                 .retry_delay = options_.retry_delay};
  retrieval_service_ = std::make_unique<RetrievalService>(
      RetrievalService::Parts{.call = call,
                              .gallery = &gallery_->gallery(),
                              .converter = &converter_,
                              .executor = executor_.get(),
                              .explainer = &explainer_,
                              .writer = &writer_,
                              .writable = gallery_->mutable_gallery() != nullptr},
      writer_.WriteInfo(options_.version, absl::Now(), options_.limits));
  gallery_service_ = std::make_unique<GalleryService>(
      GalleryService::Parts{.call = call,
                            .gallery = &gallery_->gallery(),
                            .mutable_gallery = gallery_->mutable_gallery(),
                            .ingest = ingest_.get(),
                            .converter = &item_converter_,
                            .snapshot_directory = options_.snapshot_directory},
      options_.limits);

  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  if (!options_.reflection) builder.SetOption(std::make_unique<WithoutReflection>());
  // With port sharing a second server would start unnoticed and take half of the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Larger than the limit, so that the service refuses a message in its own words.
  builder.SetMaxReceiveMessageSize(static_cast<int>(
      std::min<int64_t>(4 * options_.limits.max_request_bytes, std::numeric_limits<int>::max())));
  int port = 0;
  builder.AddListeningPort(options_.address, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(retrieval_service_.get());
  builder.RegisterService(gallery_service_.get());
  server_ = builder.BuildAndStart();
  if (server_ == nullptr || port == 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", options_.address,
                     ": the port is in use, or the address is not this machine's"));
  }
  bound_address_ = WithPort(options_.address, port);
  for (const char* service :
       {v1::RetrievalService::service_full_name(), v1::GalleryService::service_full_name()}) {
    server_->GetHealthCheckService()->SetServingStatus(service, true);
  }
  return absl::OkStatus();
}

void Server::Shutdown(absl::Duration drain) {
  if (server_ == nullptr) return;
  // Streams of health watchers and of reflection would hold gRPC's own shutdown up to its deadline,
  // so the calls that matter are waited for first; what is left after them gets a moment.
  constexpr absl::Duration kGrace = absl::Milliseconds(100);
  const absl::Time deadline = absl::Now() + drain;
  server_->GetHealthCheckService()->SetServingStatus(false);
  ledger_.StartDraining();
  if (auditor_ != nullptr) auditor_->Stop();
  const bool drained = ledger_.AwaitCalls(deadline);
  server_->Shutdown(absl::ToChronoTime(drained ? absl::Now() + kGrace : absl::Now()));
  ledger_.AwaitCalls(absl::InfiniteFuture());
  server_ = nullptr;
}

}  // namespace dime
