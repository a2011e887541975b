#include "server/serving_revision.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "index/status_macros.h"

namespace dime {
namespace {

WindowCache::Options WindowOptions(const WindowCache::Options& given, const SearchLimits& limits) {
  WindowCache::Options windows = given;
  windows.ttl = limits.page_token_ttl;
  return windows;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServingRevision>> ServingRevision::Create(Source source,
                                                                         const Options& options,
                                                                         const Parts& parts) {
  ASSIGN_OR_RETURN(std::unique_ptr<LoadedGallery> gallery,
                   LoadedGallery::Create(std::move(source.gallery), source.model->info(),
                                         source.model->pair_scorer(), options.bank_bytes));
  return std::unique_ptr<ServingRevision>(
      new ServingRevision(std::move(source.model), std::move(gallery), source.limits,
                          std::move(source.reference), options, parts));
}

ServingRevision::ServingRevision(std::unique_ptr<const DimeModel> model,
                                 std::unique_ptr<LoadedGallery> gallery, const SearchLimits& limits,
                                 std::optional<ReferencePairs> reference, const Options& options,
                                 const Parts& parts)
    : options_(options),
      limits_(limits),
      reference_(std::move(reference)),
      parts_(parts),
      model_(std::move(model)),
      gallery_(std::move(gallery)),
      batching_encoder_(&model_->caption_encoder(),
                        {.on_batch =
                             [this](int captions) {
                               if (ready_) parts_.metrics->QueriesEncoded(captions);
                             }}),
      query_encoder_(&batching_encoder_, options_.query_cache_bytes),
      scorer_(
          &model_->pair_scorer(),
          {.max_batch_pairs = options_.max_batch_pairs > 0 ? options_.max_batch_pairs
                                                           : model_->pair_scorer().launch_pairs(),
           .max_queue_pairs = options_.max_queue_pairs,
           .on_batch =
               [this](const BatchingScorer::BatchStats& stats) {
                 if (ready_) parts_.metrics->BatchLaunched(stats);
               }}),
      // In the scorer's queue itself there is at most what was admitted.
      admission_({.max_evaluations = kNumDirections * options_.max_queue_pairs,
                  .retry_delay = options_.retry_delay,
                  .scorer_rate = [this] { return scorer_.cost_per_second(); }}),
      pipeline_(gallery_.get(), &query_encoder_, &model_->image_encoder(), &scorer_),
      explainer_(&query_encoder_, &model_->image_encoder(), &model_->pair_explainer()),
      converter_(limits_, model_->info()),
      writer_(model_->info()),
      item_converter_(limits_, model_->info()),
      windows_(WindowOptions(options_.windows, limits_)) {
  if (options_.audit.rate > 0) {
    RecallAuditor::Options audit = options_.audit;
    audit.on_audit = [this](const RecallAudit& found) {
      parts_.metrics->quality().SearchAudited(found);
    };
    audit.on_drop = [this](Modality target, RecallAuditor::Drop reason) {
      parts_.metrics->quality().AuditDropped(target, reason);
    };
    auditor_ = std::make_unique<RecallAuditor>(
        RecallAuditor::Parts{.gallery = gallery_.get(),
                             .caption_encoder = &model_->caption_encoder(),
                             .image_encoder = &model_->image_encoder(),
                             .scorer = &model_->pair_scorer(),
                             .live_calls = parts_.live_calls},
        std::move(audit));
  }
  executor_ = std::make_unique<SearchExecutor>(SearchExecutor::Parts{.converter = &converter_,
                                                                     .pipeline = &pipeline_,
                                                                     .writer = &writer_,
                                                                     .windows = &windows_,
                                                                     .admission = &admission_,
                                                                     .metrics = parts_.metrics,
                                                                     .auditor = auditor_.get(),
                                                                     .shadow = parts_.shadow});
  if (mutable_gallery() != nullptr) {
    IngestQueue::Options ingest = options_.ingest;
    ingest.on_batch = [this](const IngestQueue::BatchStats& stats) {
      parts_.metrics->ItemsWritten(stats);
    };
    ingest_ = std::make_unique<IngestQueue>(mutable_gallery(), &model_->caption_encoder(),
                                            &model_->image_encoder(), model_->info().num_regions,
                                            std::move(ingest));
  }
}

ServingRevision::~ServingRevision() {
  if (!ready_) return;
  Metrics::State state;
  Observe(state);
  parts_.metrics->RevisionEnded(state);
}

absl::Status ServingRevision::WarmUp() {
  RETURN_IF_ERROR(RunSearches());
  return CheckReference();
}

absl::Status ServingRevision::CheckReference() {
  if (!reference_.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(deviation_, reference_->Compare(*model_));
  return CheckDeviation(*deviation_, model_->info().scorer);
}

absl::Status ServingRevision::RunSearches() {
  // The first runs of a size are slow (kernels are chosen, memory is allocated), and the second may
  // still be; sizes are those of ordinary requests. The rerank score alone counts, so that pairs
  // are scored whatever the model's fusion weight. Each text is another, since encodings are kept.
  constexpr int kRuns = 3;
  const ModelInfo& model = model_->info();
  const std::shared_ptr<const GalleryView> view = gallery().Pin();
  for (int run = 0; run < kRuns; ++run) {
    const Query queries[] = {
        TextQuery{absl::StrCat("warming up, ", run)},
        RegionFeaturesQuery{
            .num_regions = model.num_regions,
            .values = std::vector<float>(size_t{1} * model.num_regions * model.feature_dim, 0.5f)}};
    for (const Query& query : queries) {
      const Modality target = TargetOf(query);
      if (view->size(target) == 0) {
        // A living gallery is going to be filled; of another this kind is never searched.
        if (mutable_gallery() != nullptr) RETURN_IF_ERROR(ScoreMadeUp(query));
        continue;
      }
      const SearchOptions options = {
          .top_k = 1,
          .rerank_depth = limits_.DefaultRerankDepth(target),
          .mode = model.DefaultMode(),
          .search_effort = limits_.DefaultSearchEffort(target),
      };
      RETURN_IF_ERROR(pipeline_.Run(*view, query, options, CallContext()).status());
    }
  }
  return absl::OkStatus();
}

absl::Status ServingRevision::ScoreMadeUp(const Query& query) {
  const EncodeStage encode(&query_encoder_, &model_->image_encoder());
  ASSIGN_OR_RETURN(const EncodedQuery encoded, encode.Run(*gallery().Pin(), query));
  // Encoded as ingest will encode.
  const ModelInfo& model = model_->info();
  ASSIGN_OR_RETURN(
      const EncodedItems items,
      encoded.target() == Modality::kImage
          ? model_->image_encoder().EncodeImages(
                1, model.num_regions,
                std::vector<float>(size_t{1} * model.num_regions * model.feature_dim, 0.5f))
          : model_->caption_encoder().EncodeCaptions({"a caption to warm up with"}));
  const EncodedItemsView candidates = items.view();
  ASSIGN_OR_RETURN(const std::unique_ptr<FeatureBank> bank,
                   model_->pair_scorer().MakeBank(candidates));
  const std::vector<int64_t> rows(limits_.DefaultRerankDepth(encoded.target()), 0);
  return scorer_
      .Score(
          {.query = encoded.view(), .bank = bank.get(), .rows = rows, .mode = model.DefaultMode()},
          CallContext())
      .status();
}

void ServingRevision::MarkReady() {
  info_ = writer_.WriteInfo(options_.version, absl::Now(), limits_);
  parts_.metrics->ModelCompared(deviation_);
  ready_ = true;
}

void ServingRevision::StopAudits() {
  if (auditor_ != nullptr) auditor_->Stop();
}

void ServingRevision::Observe(Metrics::State& state) const {
  state.revision = parts_.number;
  state.pairs = scorer_.queued_pairs();
  state.evaluations = admission_.evaluations();
  state.oldest_wait = scorer_.oldest_wait();
  if (ingest_ != nullptr) state.ingest = ingest_->size();
  state.windows = windows_.size();
  for (const Modality modality : {Modality::kImage, Modality::kCaption}) {
    state.banks[static_cast<int>(modality)] = gallery_->bank_counts(modality);
  }
  state.query_cache = query_encoder_.counts();
  state.cells = model_->pair_scorer().routing_counts();
  state.gallery = &gallery();
  state.mutable_gallery = mutable_gallery();
}

}  // namespace dime
