#include "server/quality_metrics.h"

#include <algorithm>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "server/metric_buckets.h"

namespace dime {
namespace {

using ::prometheus::BuildCounter;
using ::prometheus::BuildGauge;
using ::prometheus::BuildHistogram;
using Buckets = ::prometheus::Histogram::BucketBoundaries;

// Places among the candidates, from 1.
const Buckets& RankBuckets() {
  static const auto& buckets =
      *new Buckets{1, 2, 3, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000, 2000};
  return buckets;
}

const Buckets& DisplacementBuckets() {
  static const auto& buckets = *new Buckets{0, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000};
  return buckets;
}

// Of a rank correlation.
const Buckets& AgreementBuckets() {
  static const auto& buckets = *new Buckets{-0.5, 0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 1};
  return buckets;
}

// An audit waits while there are live searches.
const Buckets& LagBuckets() {
  static const auto& buckets =
      *new Buckets{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800};
  return buckets;
}

}  // namespace

QualityMetrics::QualityMetrics(prometheus::Registry& registry) {
  AddRankingSeries(registry);
  AddAuditSeries(registry);
  AddShadowSeries(registry);
}

void QualityMetrics::AddRankingSeries(prometheus::Registry& registry) {
  auto& top1_changed = BuildCounter()
                           .Name("dime_rerank_top1_changed_total")
                           .Help("Two-stage searches whose first hit is not the coarse order's.")
                           .Register(registry);
  auto& displacement = BuildHistogram()
                           .Name("dime_rank_displacement")
                           .Help("Mean distance of a search's hits from their coarse ranks.")
                           .Register(registry);
  auto& deepest_rank = BuildHistogram()
                           .Name("dime_deepest_promoted_rank")
                           .Help("Largest coarse rank among the hits of a search.")
                           .Register(registry);
  auto& deepest_ratio = BuildHistogram()
                            .Name("dime_deepest_promoted_rank_ratio")
                            .Help(
                                "The same as a share of the rerank depth; near 1, hits lie behind "
                                "it too. Searches that rerank the whole gallery do not count.")
                            .Register(registry);
  for (int m = 0; m < kNumSearchMethods; ++m) {
    const prometheus::Labels labels = {
        {"method", std::string(RpcMethodName(static_cast<RpcMethod>(m)))}};
    gains_[m] = {.top1_changed = &top1_changed.Add(labels),
                 .displacement = &displacement.Add(labels, DisplacementBuckets()),
                 .deepest_rank = &deepest_rank.Add(labels, RankBuckets()),
                 .deepest_ratio = &deepest_ratio.Add(labels, RatioBuckets())};
  }
}

void QualityMetrics::AddAuditSeries(prometheus::Registry& registry) {
  auto& ratios = BuildHistogram()
                     .Name("dime_recall_audit_ratio")
                     .Help("Share of the exact top k that a sampled live search had served.")
                     .Register(registry);
  auto& in_window = BuildCounter()
                        .Name("dime_recall_audit_top1_in_window_total")
                        .Help("Audits whose exact first hit was among the reranked candidates.")
                        .Register(registry);
  auto& samples = BuildCounter()
                      .Name("dime_recall_audit_samples_total")
                      .Help("Live searches that were answered again exactly.")
                      .Register(registry);
  auto& dropped = BuildCounter()
                      .Name("dime_recall_audit_dropped_total")
                      .Help("Sampled live searches that were not audited, by reason.")
                      .Register(registry);
  auto& lag = BuildHistogram()
                  .Name("dime_recall_audit_lag_seconds")
                  .Help("From a sampled search's answer to the end of its audit.")
                  .Register(registry);
  for (int m = 0; m < kNumSearchMethods; ++m) {
    const std::string method = std::string(RpcMethodName(static_cast<RpcMethod>(m)));
    for (size_t a = 0; a < kAuditedTopK.size(); ++a) {
      audits_[m].ratios[a] =
          &ratios.Add({{"method", method}, {"k", absl::StrCat(kAuditedTopK[a])}}, RatioBuckets());
    }
    audits_[m].top1_in_window = &in_window.Add({{"method", method}});
    audits_[m].samples = &samples.Add({{"method", method}});
    audits_[m].dropped_full = &dropped.Add({{"method", method}, {"reason", "queue_full"}});
    audits_[m].dropped_failed = &dropped.Add({{"method", method}, {"reason", "failed"}});
    audits_[m].lag = &lag.Add({{"method", method}}, LagBuckets());
  }
}

void QualityMetrics::AddShadowSeries(prometheus::Registry& registry) {
  shadow_info_ = &BuildGauge()
                      .Name("dime_shadow_model_info")
                      .Help("The model in the shadow of the one that serves; always 1.")
                      .Register(registry);
  auto& overlap = BuildHistogram()
                      .Name("dime_shadow_overlap_ratio")
                      .Help("Share of a search's first ten hits that the shadow found too.")
                      .Register(registry);
  auto& agreement = BuildHistogram()
                        .Name("dime_shadow_rank_agreement")
                        .Help("Kendall's tau between the two orders of the hits that both found.")
                        .Register(registry);
  auto& duration = BuildHistogram()
                       .Name("dime_shadow_duration_seconds")
                       .Help("Wall time of the shadow's searches, at the lowest priority.")
                       .Register(registry);
  auto& top1_same = BuildCounter()
                        .Name("dime_shadow_top1_same_total")
                        .Help("Compared searches whose first hit is the shadow's too.")
                        .Register(registry);
  auto& samples = BuildCounter()
                      .Name("dime_shadow_samples_total")
                      .Help("Live searches that were compared with the shadow's.")
                      .Register(registry);
  auto& dropped = BuildCounter()
                      .Name("dime_shadow_dropped_total")
                      .Help("Sampled live searches that were not compared, by reason.")
                      .Register(registry);
  for (int m = 0; m < kNumSearchMethods; ++m) {
    const prometheus::Labels labels = {
        {"method", std::string(RpcMethodName(static_cast<RpcMethod>(m)))}};
    const auto reason = [&dropped, m](const char* reason) {
      return &dropped.Add(
          {{"method", std::string(RpcMethodName(static_cast<RpcMethod>(m)))}, {"reason", reason}});
    };
    shadows_[m] = {.overlap = &overlap.Add(labels, RatioBuckets()),
                   .agreement = &agreement.Add(labels, AgreementBuckets()),
                   .duration = &duration.Add(labels, SecondsBuckets()),
                   .top1_same = &top1_same.Add(labels),
                   .samples = &samples.Add(labels),
                   .dropped_full = reason("queue_full"),
                   .dropped_not_comparable = reason("not_comparable"),
                   .dropped_failed = reason("failed")};
  }
}

void QualityMetrics::SearchReranked(RpcMethod method, const SearchResult& result,
                                    const SearchOptions& options) {
  if (result.hits.empty()) return;
  const RerankGain& gain = gains_[static_cast<int>(method)];
  if (result.hits[0].coarse_rank != 1) gain.top1_changed->Increment();
  double displacement = 0;
  int deepest = 0;
  for (size_t place = 0; place < result.hits.size(); ++place) {
    const int coarse_rank = result.hits[place].coarse_rank;
    displacement += std::abs(coarse_rank - static_cast<int>(place) - 1);
    deepest = std::max(deepest, coarse_rank);
  }
  gain.displacement->Observe(displacement / static_cast<double>(result.hits.size()));
  gain.deepest_rank->Observe(deepest);
  // Where fewer items match a filter than may be reranked, there is nothing behind the depth.
  const bool all_recalled =
      !options.filter.matches_everything() && result.recalled_count < int64_t{options.rerank_depth};
  if (result.recalled_count < result.gallery_items && !all_recalled) {
    gain.deepest_ratio->Observe(static_cast<double>(deepest) /
                                static_cast<double>(result.recalled_count));
  }
}

void QualityMetrics::SearchAudited(const RecallAudit& audit) {
  const Audits& audits = audits_[static_cast<int>(MethodFor(audit.target))];
  for (size_t a = 0; a < kAuditedTopK.size(); ++a) {
    if (audit.ratios[a].has_value()) audits.ratios[a]->Observe(*audit.ratios[a]);
  }
  if (audit.top1_in_window) audits.top1_in_window->Increment();
  audits.samples->Increment();
  Observe(*audits.lag, audit.lag);
}

void QualityMetrics::AuditDropped(Modality target, RecallAuditor::Drop reason) {
  const Audits& audits = audits_[static_cast<int>(MethodFor(target))];
  (reason == RecallAuditor::Drop::kQueueFull ? audits.dropped_full : audits.dropped_failed)
      ->Increment();
}

void QualityMetrics::SetShadow(const ModelInfo& model) {
  shadow_info_->Add({{"name", model.name}, {"fingerprint", model.fingerprint}}).Set(1);
}

void QualityMetrics::ShadowCompared(const ShadowComparison& comparison) {
  const Shadows& shadows = shadows_[static_cast<int>(MethodFor(comparison.target))];
  shadows.samples->Increment();
  if (comparison.same_top1) shadows.top1_same->Increment();
  shadows.overlap->Observe(comparison.overlap);
  if (comparison.agreement.has_value()) shadows.agreement->Observe(*comparison.agreement);
  Observe(*shadows.duration, comparison.time);
}

void QualityMetrics::ShadowDropped(Modality target, ShadowComparer::Drop reason) {
  const Shadows& shadows = shadows_[static_cast<int>(MethodFor(target))];
  switch (reason) {
    case ShadowComparer::Drop::kQueueFull:
      return shadows.dropped_full->Increment();
    case ShadowComparer::Drop::kNotComparable:
      return shadows.dropped_not_comparable->Increment();
    case ShadowComparer::Drop::kFailed:
      return shadows.dropped_failed->Increment();
  }
}

}  // namespace dime
