#ifndef DIME_SERVER_QUALITY_METRICS_H_
#define DIME_SERVER_QUALITY_METRICS_H_

#include <array>

#include "index/features.h"
#include "model/model_info.h"
#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"
#include "server/pipeline/search_types.h"
#include "server/recall_auditor.h"
#include "server/rpc_method.h"
#include "server/shadow_comparer.h"

namespace dime {

// That part of the server's metrics that tells how good its answers are: what reranking gains, how
// much of the exact answer was served, and how another revision's answers differ. Thread-safe. The
// registry, in which its series are, must outlive it.
class QualityMetrics {
 public:
  explicit QualityMetrics(prometheus::Registry& registry);

  // A two-stage search that was answered as it was asked.
  void SearchReranked(RpcMethod method, const SearchResult& result, const SearchOptions& options);
  // Of RecallAuditor: an audit that was finished, and a sample that was not audited.
  void SearchAudited(const RecallAudit& audit);
  void AuditDropped(Modality target, RecallAuditor::Drop reason);
  // Of ShadowComparer: which model there is in the shadow, a search that was compared with what it
  // finds, and one that was not.
  void SetShadow(const ModelInfo& model);
  void ShadowCompared(const ShadowComparison& comparison);
  void ShadowDropped(Modality target, ShadowComparer::Drop reason);

 private:
  // Of one search method: what reranking changes in the coarse order.
  struct RerankGain {
    prometheus::Counter* top1_changed;
    prometheus::Histogram *displacement, *deepest_rank, *deepest_ratio;
  };
  // Of one search method.
  struct Audits {
    std::array<prometheus::Histogram*, kAuditedTopK.size()> ratios;  // by kAuditedTopK
    prometheus::Counter *top1_in_window, *samples, *dropped_full, *dropped_failed;
    prometheus::Histogram* lag;
  };
  // Of one search method.
  struct Shadows {
    prometheus::Histogram *overlap, *agreement, *duration;
    prometheus::Counter *top1_same, *samples;
    prometheus::Counter *dropped_full, *dropped_not_comparable, *dropped_failed;
  };

  void AddRankingSeries(prometheus::Registry& registry);
  void AddAuditSeries(prometheus::Registry& registry);
  void AddShadowSeries(prometheus::Registry& registry);

  // All of these live in the registry.
  std::array<RerankGain, kNumSearchMethods> gains_{};  // by RpcMethod
  std::array<Audits, kNumSearchMethods> audits_{};     // by RpcMethod
  std::array<Shadows, kNumSearchMethods> shadows_{};   // by RpcMethod
  prometheus::Family<prometheus::Gauge>* shadow_info_ = nullptr;
};

}  // namespace dime

#endif  // DIME_SERVER_QUALITY_METRICS_H_
