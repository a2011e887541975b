#include "server/metrics.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/metric_buckets.h"
#include "server/process_metrics.h"

namespace dime {
namespace {

using ::prometheus::BuildCounter;
using ::prometheus::BuildGauge;
using ::prometheus::BuildHistogram;
using Buckets = ::prometheus::Histogram::BucketBoundaries;

const Buckets& PairsBuckets() {
  static const auto& buckets = *new Buckets{1,   10,  25,  50,   75,   100,  150,   200,  300,
                                            400, 500, 750, 1000, 2000, 5000, 10000, 50000};
  return buckets;
}

const Buckets& RequestsBuckets() {
  static const auto& buckets = *new Buckets{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128};
  return buckets;
}

// Every code that the service answers with (see error_details.h).
constexpr absl::StatusCode kCodes[] = {
    absl::StatusCode::kOk,
    absl::StatusCode::kInvalidArgument,
    absl::StatusCode::kNotFound,
    absl::StatusCode::kAlreadyExists,
    absl::StatusCode::kPermissionDenied,
    absl::StatusCode::kUnauthenticated,
    absl::StatusCode::kFailedPrecondition,
    absl::StatusCode::kResourceExhausted,
    absl::StatusCode::kDeadlineExceeded,
    absl::StatusCode::kCancelled,
    absl::StatusCode::kUnavailable,
    absl::StatusCode::kInternal,
};

std::string MethodLabel(int method) {
  return std::string(RpcMethodName(static_cast<RpcMethod>(method)));
}

std::string DegradationLabel(Degradation reason) {
  switch (reason) {
    case Degradation::kDeadline:
      return "deadline";
    case Degradation::kQueueFull:
      return "queue_full";
    case Degradation::kRerankFailed:
      return "rerank_failed";
  }
  return "";
}

}  // namespace

Metrics::Metrics(absl::string_view server_version, const ModelInfo& model,
                 const GalleryView& view) {
  AddRequestSeries();
  AddSearchSeries();
  AddBatchSeries();
  AddIngestSeries();
  AddPageSeries();
  AddInfoSeries(server_version);
  SetServed(model, view);
}

void Metrics::AddRequestSeries() {
  auto& requests = BuildCounter()
                       .Name("dime_requests_total")
                       .Help("Requests answered, by method and gRPC status code.")
                       .Register(registry_);
  auto& durations = BuildHistogram()
                        .Name("dime_request_duration_seconds")
                        .Help("Wall time from a request's admission to its answer.")
                        .Register(registry_);
  auto& inflight = BuildGauge()
                       .Name("dime_requests_inflight")
                       .Help("Requests that were admitted and are not answered yet.")
                       .Register(registry_);
  for (int m = 0; m < kNumRpcMethods; ++m) {
    for (absl::StatusCode code : kCodes) {
      const prometheus::Labels labels = {{"method", MethodLabel(m)},
                                         {"code", absl::StatusCodeToString(code)}};
      outcomes_[m][code] = {.requests = &requests.Add(labels),
                            .duration = &durations.Add(labels, SecondsBuckets())};
    }
    inflight_[m] = &inflight.Add({{"method", MethodLabel(m)}});
  }
  auto& slow = BuildCounter()
                   .Name("dime_slow_requests_total")
                   .Help(
                       "Requests that took as long as the server's threshold, or until their "
                       "deadline.")
                   .Register(registry_);
  for (int m = 0; m < kNumRpcMethods; ++m) slow_[m] = &slow.Add({{"method", MethodLabel(m)}});
  log_lines_left_out_ = &BuildCounter()
                             .Name("dime_log_lines_left_out_total")
                             .Help("Lines about requests that a flood left no room for in the log.")
                             .Register(registry_)
                             .Add({});
  auto& spans = BuildCounter()
                    .Name("dime_traced_requests_total")
                    .Help("Requests whose spans were wanted, by what became of these.")
                    .Register(registry_);
  spans_written_ = &spans.Add({{"outcome", "written"}});
  spans_lost_ = &spans.Add({{"outcome", "lost"}});
  auto& rejected = BuildCounter()
                       .Name("dime_queue_rejected_total")
                       .Help("Searches given up before an answer, by reason.")
                       .Register(registry_);
  rejections_ = {.full = &rejected.Add({{"reason", "full"}}),
                 .unreachable = &rejected.Add({{"reason", "unreachable"}}),
                 .quota = &rejected.Add({{"reason", "quota"}}),
                 .deadline = &rejected.Add({{"reason", "deadline"}}),
                 .cancelled = &rejected.Add({{"reason", "cancelled"}}),
                 .draining = &rejected.Add({{"reason", "draining"}})};
}

void Metrics::AddSearchSeries() {
  auto& stages = BuildHistogram()
                     .Name("dime_stage_duration_seconds")
                     .Help("Wall time of each stage of the searches that were answered.")
                     .Register(registry_);
  auto& candidates = BuildHistogram()
                         .Name("dime_coarse_candidates")
                         .Help("Candidates that recall gave to reranking, per search.")
                         .Register(registry_);
  auto& depth_saved = BuildHistogram()
                          .Name("dime_adaptive_depth_saved_ratio")
                          .Help(
                              "Share of the candidates that adaptive depth left unscored, per "
                              "search that asked for it of a calibrated model.")
                          .Register(registry_);
  auto& degraded = BuildCounter()
                       .Name("dime_degraded_total")
                       .Help(
                           "Searches whose answer was less than was asked, by reason: too little "
                           "time for all candidates, no room, or a fault of the reranker.")
                       .Register(registry_);
  for (int m = 0; m < kNumSearchMethods; ++m) {
    const auto stage = [&stages, m](const char* name) {
      return &stages.Add({{"method", MethodLabel(m)}, {"stage", name}}, SecondsBuckets());
    };
    stages_[m] = {.queue = stage("queue"),
                  .encode = stage("encode"),
                  .recall = stage("recall"),
                  .rerank = stage("rerank"),
                  .select = stage("select"),
                  .candidates = &candidates.Add({{"method", MethodLabel(m)}}, PairsBuckets()),
                  .depth_saved = &depth_saved.Add({{"method", MethodLabel(m)}}, RatioBuckets())};
    for (const Degradation reason : kDegradations) {
      stages_[m].degraded[static_cast<int>(reason)] =
          &degraded.Add({{"method", MethodLabel(m)}, {"reason", DegradationLabel(reason)}});
    }
  }
  auto& pairs = BuildCounter()
                    .Name("dime_rerank_pairs_total")
                    .Help("Pairs scored for answered searches, by the model's direction.")
                    .Register(registry_);
  for (Direction direction : kDirections) {
    rerank_pairs_[static_cast<int>(direction)] =
        &pairs.Add({{"direction", std::string(DirectionName(direction))}});
  }
}

void Metrics::AddBatchSeries() {
  const auto gauge = [this](const char* name, const char* help) {
    return &BuildGauge().Name(name).Help(help).Register(registry_).Add({});
  };
  const auto histogram = [this](const char* name, const char* help, const Buckets& buckets) {
    return &BuildHistogram().Name(name).Help(help).Register(registry_).Add({}, buckets);
  };
  queue_requests_ = gauge("dime_queue_requests", "Searches that wait for a worker.");
  queue_pairs_ = gauge("dime_queue_pairs", "Pairs that wait for a launch of the scorer.");
  admitted_ = gauge("dime_admitted_evaluations",
                    "Evaluations of pairs by a direction that were admitted and are not done.");
  queue_oldest_ = gauge("dime_queue_oldest_seconds",
                        "How long the oldest of the requests in the scorer's queue has waited.");
  batch_pairs_ =
      histogram("dime_batch_pairs", "Pairs in each launch of the scorer.", PairsBuckets());
  batch_requests_ =
      histogram("dime_batch_requests", "Searches that shared each launch.", RequestsBuckets());
  batch_duration_ =
      histogram("dime_batch_duration_seconds", "Wall time of each launch.", SecondsBuckets());
  encode_batch_ = histogram("dime_encode_batch_queries", "Texts of searches encoded at once.",
                            RequestsBuckets());
  auto& lookups = BuildCounter()
                      .Name("dime_query_cache_total")
                      .Help("Texts of searches that were (hit) or were not (miss) encoded already.")
                      .Register(registry_);
  query_cache_hits_ = &lookups.Add({{"outcome", "hit"}});
  query_cache_misses_ = &lookups.Add({{"outcome", "miss"}});
  query_cache_bytes_ =
      gauge("dime_query_cache_bytes", "Memory of the encodings of texts searched by lately.");
  auto& cells = BuildCounter()
                    .Name("dime_routing_cells_total")
                    .Help(
                        "Cells of scored pairs, by whether they were run or skipped because every "
                        "gate on their paths was shut. A scorer that computes every cell counts "
                        "none.")
                    .Register(registry_);
  cells_run_ = &cells.Add({{"outcome", "run"}});
  cells_skipped_ = &cells.Add({{"outcome", "skipped"}});
}

void Metrics::AddIngestSeries() {
  const auto gauge = [this](const char* name, const char* help) {
    return &BuildGauge().Name(name).Help(help).Register(registry_).Add({});
  };
  auto& items = BuildCounter()
                    .Name("dime_ingest_items_total")
                    .Help(
                        "Items of upsert streams by outcome: written; invalid: the item is at "
                        "fault; refused: no room, or closing; failed: the server's fault.")
                    .Register(registry_);
  auto& deleted = BuildCounter()
                      .Name("dime_items_deleted_total")
                      .Help("Items that were deleted.")
                      .Register(registry_);
  auto& batch_items = BuildHistogram()
                          .Name("dime_ingest_batch_items")
                          .Help("Items that were encoded and written at once.")
                          .Register(registry_);
  auto& stages = BuildHistogram()
                     .Name("dime_ingest_stage_duration_seconds")
                     .Help("Wall time of each stage of a batch of items.")
                     .Register(registry_);
  auto& vectors = BuildGauge()
                      .Name("dime_index_vectors")
                      .Help("Items in the base of the coarse index, dead ones included.")
                      .Register(registry_);
  auto& tail = BuildGauge()
                   .Name("dime_index_tail_vectors")
                   .Help("Items written since, which every search compares one by one.")
                   .Register(registry_);
  auto& tombstones = BuildGauge()
                         .Name("dime_index_tombstones")
                         .Help("Dead items in the coarse index and its tail.")
                         .Register(registry_);
  for (const Modality modality : {Modality::kImage, Modality::kCaption}) {
    const std::string name(ModalityName(modality));
    const auto outcome = [&items, &name](const char* outcome) {
      return &items.Add({{"modality", name}, {"outcome", outcome}});
    };
    const auto stage = [&stages, &name](const char* stage) {
      return &stages.Add({{"modality", name}, {"stage", stage}}, SecondsBuckets());
    };
    ingest_[static_cast<int>(modality)] = {
        .written = outcome("written"),
        .invalid = outcome("invalid"),
        .refused = outcome("refused"),
        .failed = outcome("failed"),
        .deleted = &deleted.Add({{"modality", name}}),
        .batch_items = &batch_items.Add({{"modality", name}}, RequestsBuckets()),
        .encoding = stage("encode"),
        .writing = stage("write"),
        .indexed = &vectors.Add({{"index", name}}),
        .tail = &tail.Add({{"index", name}}),
        .tombstones = &tombstones.Add({{"index", name}})};
  }
  auto& bank_rows = BuildCounter()
                        .Name("dime_bank_rows_total")
                        .Help(
                            "Rows of a living gallery that reranking found in the bank of local "
                            "features (hit) or read from the store (miss).")
                        .Register(registry_);
  for (const Modality modality : {Modality::kImage, Modality::kCaption}) {
    const std::string name(ModalityName(modality));
    bank_hits_[static_cast<int>(modality)] =
        &bank_rows.Add({{"modality", name}, {"outcome", "hit"}});
    bank_misses_[static_cast<int>(modality)] =
        &bank_rows.Add({{"modality", name}, {"outcome", "miss"}});
  }
  ingest_queue_items_ =
      gauge("dime_ingest_queue_items", "Items that were taken and are not written yet.");
  ingest_queue_bytes_ = gauge("dime_ingest_queue_bytes", "Their size.");
  gallery_bytes_ = gauge("dime_gallery_bytes", "Bytes of a living gallery on disk.");
  gallery_sequence_ = gauge("dime_gallery_sequence", "Number of the last write to the gallery.");
  last_merge_ = gauge("dime_index_last_merge_timestamp_seconds",
                      "When the tail last went into the coarse index; 0 if never.");
  last_snapshot_ = gauge("dime_last_snapshot_timestamp_seconds",
                         "When this server last wrote a snapshot; 0 if never.");
}

void Metrics::AddPageSeries() {
  auto& pages = BuildCounter()
                    .Name("dime_search_pages_total")
                    .Help("Further pages of searches that were asked, by outcome.")
                    .Register(registry_);
  pages_[static_cast<int>(PageOutcome::kServed)] = &pages.Add({{"outcome", "served"}});
  pages_[static_cast<int>(PageOutcome::kExpired)] = &pages.Add({{"outcome", "expired"}});
  pages_[static_cast<int>(PageOutcome::kInvalid)] = &pages.Add({{"outcome", "invalid"}});
  page_windows_ = &BuildGauge()
                       .Name("dime_page_windows")
                       .Help("Searches whose further pages are kept.")
                       .Register(registry_)
                       .Add({});
  page_window_bytes_ = &BuildGauge()
                            .Name("dime_page_window_bytes")
                            .Help("Memory of the searches whose further pages are kept.")
                            .Register(registry_)
                            .Add({});
}

void Metrics::AddInfoSeries(absl::string_view server_version) {
  const auto info = [this](const char* name, const char* help) {
    return &BuildGauge().Name(name).Help(help).Register(registry_);
  };
  info("dime_build_info", "The server's version; always 1.")
      ->Add({{"version", std::string(server_version)}})
      .Set(1);
  const auto gauge = [this](const char* name, const char* help) {
    return &BuildGauge().Name(name).Help(help).Register(registry_).Add({});
  };
  parity_mean_ = gauge("dime_model_parity_mean_abs_error",
                       "How far scores of the model's reference pairs were from those where it was "
                       "made, on average; NaN if it has none.");
  parity_max_ = gauge("dime_model_parity_max_abs_error", "The same at most.");
  for (prometheus::Gauge* parity : {parity_mean_, parity_max_}) {
    parity->Set(std::numeric_limits<double>::quiet_NaN());
  }
  launch_stalled_ =
      gauge("dime_launch_stalled", "1 while a launch of the scorer takes longer than any should.");
  auto& reloads = BuildCounter()
                      .Name("dime_reloads_total")
                      .Help("Loads of another model and gallery while serving, by outcome.")
                      .Register(registry_);
  reloads_done_ = &reloads.Add({{"outcome", "done"}});
  reloads_failed_ = &reloads.Add({{"outcome", "failed"}});
  auto& unauthorized = BuildCounter()
                           .Name("dime_auth_rejected_total")
                           .Help("Calls refused for their token, by reason.")
                           .Register(registry_);
  auth_unauthenticated_ = &unauthorized.Add({{"reason", "unauthenticated"}});
  auth_denied_ = &unauthorized.Add({{"reason", "permission_denied"}});
  auto& tokens = BuildCounter()
                     .Name("dime_auth_token_reads_total")
                     .Help("Readings of a token file that had changed, by outcome.")
                     .Register(registry_);
  tokens_read_ = &tokens.Add({{"outcome", "done"}});
  tokens_damaged_ = &tokens.Add({{"outcome", "failed"}});
  model_info_ = info("dime_model_info", "The model that scores; always 1.");
  gallery_info_ =
      info("dime_gallery_info", "The gallery that is searched, with its coarse indexes; always 1.");
  auto& items = BuildGauge()
                    .Name("dime_gallery_items")
                    .Help("Items of the gallery, by modality.")
                    .Register(registry_);
  for (Modality modality : {Modality::kImage, Modality::kCaption}) {
    gallery_items_[static_cast<int>(modality)] =
        &items.Add({{"modality", std::string(ModalityName(modality))}});
  }
}

void Metrics::SetServed(const ModelInfo& model, const GalleryView& view) {
  std::vector<absl::string_view> directions;
  for (Direction direction : kDirections) {
    if (model.Has(direction)) directions.push_back(DirectionName(direction));
  }
  // The series of what is no longer served goes: two with the value 1 would contradict each other.
  const auto replace = [](prometheus::Family<prometheus::Gauge>& family, prometheus::Gauge*& served,
                          const prometheus::Labels& labels) {
    if (served != nullptr) family.Remove(served);
    served = &family.Add(labels);
    served->Set(1);
  };
  std::lock_guard<std::mutex> lock(served_mutex_);
  replace(*model_info_, served_model_,
          {{"name", model.name},
           {"fingerprint", model.fingerprint},
           {"device", model.device},
           {"directions", absl::StrJoin(directions, ",")},
           {"scorer", model.scorer}});
  replace(*gallery_info_, served_gallery_,
          {{"name", view.info().name},
           {"version", view.info().lineage},
           {"image_index", view.info().image_index},
           {"caption_index", view.info().caption_index}});
  for (Modality modality : {Modality::kImage, Modality::kCaption}) {
    gallery_items_[static_cast<int>(modality)]->Set(static_cast<double>(view.size(modality)));
  }
}

void Metrics::RequestStarted(RpcMethod method) { inflight_[static_cast<int>(method)]->Increment(); }

void Metrics::RequestFinished(RpcMethod method, absl::StatusCode code, absl::Duration duration,
                              v1::ErrorReason reason) {
  inflight_[static_cast<int>(method)]->Decrement();
  const auto& outcomes = outcomes_[static_cast<int>(method)];
  auto outcome = outcomes.find(code);
  if (outcome == outcomes.end()) outcome = outcomes.find(absl::StatusCode::kInternal);
  outcome->second.requests->Increment();
  Observe(*outcome->second.duration, duration);
  if (method > RpcMethod::kGetInfo) return;  // no search
  switch (code) {
    case absl::StatusCode::kResourceExhausted:
      return (reason == v1::ERROR_REASON_DEADLINE_UNREACHABLE ? rejections_.unreachable
              : reason == v1::ERROR_REASON_QUOTA_EXCEEDED     ? rejections_.quota
                                                              : rejections_.full)
          ->Increment();
    case absl::StatusCode::kDeadlineExceeded:
      return rejections_.deadline->Increment();
    case absl::StatusCode::kCancelled:
      return rejections_.cancelled->Increment();
    case absl::StatusCode::kUnavailable:
      return rejections_.draining->Increment();
    default:
      return;
  }
}

void Metrics::SearchAnswered(RpcMethod method, const SearchResult& result,
                             const SearchOptions& options, absl::Duration queue_time) {
  const Stages& stages = stages_[static_cast<int>(method)];
  Observe(*stages.queue, queue_time);
  Observe(*stages.encode, result.timings.encode);
  Observe(*stages.recall, result.timings.recall);
  Observe(*stages.rerank, result.timings.rerank);
  Observe(*stages.select, result.timings.select);
  stages.candidates->Observe(static_cast<double>(result.recalled_count));
  for (const Degradation reason : result.degradations) {
    stages.degraded[static_cast<int>(reason)]->Increment();
  }
  // What follows tells of searches as they are when there is time.
  const bool whole = result.degradations.empty();
  if (whole && options.score_bound.has_value() && result.reranked_count > 0) {
    stages.depth_saved->Observe(1 - static_cast<double>(result.reranked_count) /
                                        static_cast<double>(result.recalled_count));
  }
  if (whole && !options.exact && result.reranked_count > 0)
    quality_.SearchReranked(method, result, options);
  for (Direction direction : kDirections) {
    if (!Uses(options.mode, direction)) continue;
    rerank_pairs_[static_cast<int>(direction)]->Increment(
        static_cast<double>(result.reranked_count));
  }
}

void Metrics::BatchLaunched(const BatchingScorer::BatchStats& stats) {
  batch_pairs_->Observe(static_cast<double>(stats.pairs));
  batch_requests_->Observe(stats.requests);
  Observe(*batch_duration_, stats.scoring);
  launch_nanoseconds_ += absl::ToInt64Nanoseconds(stats.scoring);
}

void Metrics::QueriesEncoded(int texts) { encode_batch_->Observe(texts); }

void Metrics::PageAsked(PageOutcome outcome) { pages_[static_cast<int>(outcome)]->Increment(); }

void Metrics::ItemSettled(Modality modality, absl::StatusCode code) {
  const Ingest& ingest = ingest_[static_cast<int>(modality)];
  switch (code) {
    case absl::StatusCode::kOk:
      return ingest.written->Increment();
    case absl::StatusCode::kInvalidArgument:
      return ingest.invalid->Increment();
    case absl::StatusCode::kResourceExhausted:
      return ingest.refused->Increment();
    default:
      return ingest.failed->Increment();
  }
}

void Metrics::ItemsDeleted(Modality modality, int64_t count) {
  ingest_[static_cast<int>(modality)].deleted->Increment(static_cast<double>(count));
}

void Metrics::ItemsWritten(const IngestQueue::BatchStats& stats) {
  const Ingest& ingest = ingest_[static_cast<int>(stats.modality)];
  ingest.batch_items->Observe(static_cast<double>(stats.items));
  Observe(*ingest.encoding, stats.encoding);
  Observe(*ingest.writing, stats.writing);
}

void Metrics::SnapshotCreated(absl::Time when) {
  last_snapshot_->Set(absl::ToDoubleSeconds(when - absl::UnixEpoch()));
}

void Metrics::ModelCompared(const std::optional<ReferencePairs::Deviation>& deviation) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  parity_mean_->Set(deviation.has_value() ? deviation->mean : kNone);
  parity_max_->Set(deviation.has_value() ? deviation->largest : kNone);
}

void Metrics::SlowRequest(RpcMethod method) { slow_[static_cast<int>(method)]->Increment(); }

void Metrics::LogLineLeftOut() { log_lines_left_out_->Increment(); }

void Metrics::SpansWritten(bool done) { (done ? spans_written_ : spans_lost_)->Increment(); }

void Metrics::LaunchStalled(bool stalled) { launch_stalled_->Set(stalled ? 1 : 0); }

void Metrics::Reloaded(bool done) { (done ? reloads_done_ : reloads_failed_)->Increment(); }

void Metrics::CallUnauthorized(absl::StatusCode code) {
  (code == absl::StatusCode::kPermissionDenied ? auth_denied_ : auth_unauthenticated_)->Increment();
}

void Metrics::TokensRead(bool done) { (done ? tokens_read_ : tokens_damaged_)->Increment(); }

void Metrics::CollectGallery(const State& state) const {
  if (state.gallery == nullptr) return;
  const std::shared_ptr<const GalleryView> view = state.gallery->Pin();
  for (Modality modality : {Modality::kImage, Modality::kCaption}) {
    gallery_items_[static_cast<int>(modality)]->Set(static_cast<double>(view->size(modality)));
  }
  if (state.mutable_gallery == nullptr) return;
  const absl::StatusOr<GalleryStats> stats = state.mutable_gallery->Stats();
  if (!stats.ok()) return;
  for (Modality modality : {Modality::kImage, Modality::kCaption}) {
    const GalleryStats::Side& side = stats->sides[static_cast<int>(modality)];
    const Ingest& ingest = ingest_[static_cast<int>(modality)];
    ingest.indexed->Set(static_cast<double>(side.indexed));
    ingest.tail->Set(static_cast<double>(side.tail));
    ingest.tombstones->Set(static_cast<double>(side.tombstones));
  }
  gallery_bytes_->Set(static_cast<double>(stats->bytes_on_disk));
  gallery_sequence_->Set(static_cast<double>(stats->sequence));
  if (stats->last_merge != absl::InfinitePast()) {
    last_merge_->Set(absl::ToDoubleSeconds(stats->last_merge - absl::UnixEpoch()));
  }
}

void Metrics::CollectTotals(const State& state) const {
  std::lock_guard<std::mutex> lock(totals_mutex_);
  State& last_totals = last_totals_[state.revision];
  const auto catch_up = [](prometheus::Counter& counter, int64_t value, int64_t& last) {
    if (value <= last) return;
    counter.Increment(static_cast<double>(value - last));
    last = value;
  };
  catch_up(*query_cache_hits_, state.query_cache.hits, last_totals.query_cache.hits);
  catch_up(*query_cache_misses_, state.query_cache.misses, last_totals.query_cache.misses);
  catch_up(*cells_run_, state.cells.run, last_totals.cells.run);
  catch_up(*cells_skipped_, state.cells.skipped, last_totals.cells.skipped);
  for (size_t m = 0; m < state.banks.size(); ++m) {
    catch_up(*bank_hits_[m], state.banks[m].hits, last_totals.banks[m].hits);
    catch_up(*bank_misses_[m], state.banks[m].misses, last_totals.banks[m].misses);
  }
}

void Metrics::RevisionEnded(const State& state) {
  CollectTotals(state);
  std::lock_guard<std::mutex> lock(totals_mutex_);
  last_totals_.erase(state.revision);
}

std::vector<prometheus::MetricFamily> Metrics::Collect() const {
  if (state_) {
    const State state = state_();
    queue_requests_->Set(static_cast<double>(state.requests));
    queue_pairs_->Set(static_cast<double>(state.pairs));
    admitted_->Set(static_cast<double>(state.evaluations));
    query_cache_bytes_->Set(static_cast<double>(state.query_cache.bytes));
    queue_oldest_->Set(absl::ToDoubleSeconds(state.oldest_wait));
    ingest_queue_items_->Set(static_cast<double>(state.ingest.items));
    ingest_queue_bytes_->Set(static_cast<double>(state.ingest.bytes));
    page_windows_->Set(static_cast<double>(state.windows.windows));
    page_window_bytes_->Set(static_cast<double>(state.windows.bytes));
    CollectTotals(state);
    CollectGallery(state);
  }
  std::vector<prometheus::MetricFamily> families = registry_.Collect();
  for (prometheus::MetricFamily& family : CollectProcessMetrics()) {
    families.push_back(std::move(family));
  }
  return families;
}

}  // namespace dime
