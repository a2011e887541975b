#include "server/quality_metrics.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/text_serializer.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class QualityMetricsTest : public ::testing::Test {
 protected:
  std::string Text() const { return prometheus::TextSerializer().Serialize(registry_.Collect()); }

  prometheus::Registry registry_;
  QualityMetrics quality_{registry_};
};

TEST_F(QualityMetricsTest, EverySeriesIsThereFromTheStart) {
  EXPECT_THAT(Text(),
              AllOf(HasSubstr("dime_rerank_top1_changed_total{method=\"SearchImages\"} 0\n"),
                    HasSubstr("dime_recall_audit_samples_total{method=\"SearchCaptions\"} 0\n"),
                    HasSubstr("dime_shadow_samples_total{method=\"SearchImages\"} 0\n"),
                    HasSubstr("dime_shadow_dropped_total{method=\"SearchCaptions\",reason="
                              "\"not_comparable\"} 0\n"),
                    Not(HasSubstr("dime_shadow_model_info{"))));
}

TEST_F(QualityMetricsTest, CountsWhatTheShadowFound) {
  ModelInfo model;
  model.name = "next";
  model.fingerprint = "abc";
  quality_.SetShadow(model);
  quality_.ShadowCompared({.target = Modality::kImage,
                           .overlap = 0.75,
                           .same_top1 = true,
                           .agreement = 0.5,
                           .time = absl::Milliseconds(20)});
  quality_.ShadowCompared({.target = Modality::kImage, .overlap = 0, .same_top1 = false});
  quality_.ShadowDropped(Modality::kCaption, ShadowComparer::Drop::kNotComparable);
  EXPECT_THAT(Text(),
              AllOf(HasSubstr("dime_shadow_model_info{fingerprint=\"abc\",name=\"next\"} 1\n"),
                    HasSubstr("dime_shadow_samples_total{method=\"SearchImages\"} 2\n"),
                    HasSubstr("dime_shadow_top1_same_total{method=\"SearchImages\"} 1\n"),
                    HasSubstr("dime_shadow_overlap_ratio_sum{method=\"SearchImages\"} 0.75\n"),
                    HasSubstr("dime_shadow_overlap_ratio_count{method=\"SearchImages\"} 2\n"),
                    // Where fewer than two hits are common there is no order to agree on.
                    HasSubstr("dime_shadow_rank_agreement_count{method=\"SearchImages\"} 1\n"),
                    HasSubstr("dime_shadow_dropped_total{method=\"SearchCaptions\",reason=\"not_"
                              "comparable\"} 1\n")));
}

}  // namespace
}  // namespace dime
