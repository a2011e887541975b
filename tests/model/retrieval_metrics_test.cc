#include "model/retrieval_metrics.h"

#include <fstream>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

TEST(RankMetricsTest, RecallsMedianAndMean) {
  const RankMetrics metrics = RankMetrics::FromRanks({0, 4, 9, 10});
  EXPECT_DOUBLE_EQ(metrics.r1, 25);
  EXPECT_DOUBLE_EQ(metrics.r5, 50);
  EXPECT_DOUBLE_EQ(metrics.r10, 75);
  EXPECT_DOUBLE_EQ(metrics.median_rank, 7);  // floor(6.5) + 1
  EXPECT_DOUBLE_EQ(metrics.mean_rank, 6.75);
}

TEST(ComputeMetricsTest, BestOfAnImagesCaptionsCounts) {
  // 2 images, 2 captions each; image 1's second caption is best of all for it.
  const std::vector<float> similarity = {0.1f, 0.4f, 0.9f, 0.2f,  //
                                         0.5f, 0.6f, 0.1f, 0.8f};
  const RetrievalMetrics metrics = ComputeMetrics(similarity, 2, 4, 2);
  EXPECT_DOUBLE_EQ(metrics.image_to_text.r1, 50);  // image 0's best caption is second
  EXPECT_DOUBLE_EQ(metrics.image_to_text.r5, 100);
  EXPECT_DOUBLE_EQ(metrics.text_to_image.r1, 25);  // only caption 3 finds its image first
  EXPECT_DOUBLE_EQ(metrics.text_to_image.mean_rank, 1.75);
}

TEST(ComputeMetricsTest, TiesGoToTheLaterItem) {
  const std::vector<float> same(3 * 3, 0.5f);
  const RetrievalMetrics metrics = ComputeMetrics(same, 3, 3, 1);
  EXPECT_DOUBLE_EQ(metrics.image_to_text.mean_rank, 2);  // ranks 2, 1, 0
  EXPECT_NEAR(metrics.text_to_image.r1, 100.0 / 3, 1e-9);
}

// Matrices with many exact ties, against an independent implementation (tests/golden).
TEST(ComputeMetricsTest, AgreesWithTheReference) {
  const nlohmann::json golden =
      nlohmann::json::parse(std::ifstream(DIME_SOURCE_DIR "/tests/golden/metrics_case.json"));
  for (const auto& [name, entry] : golden["cases"].items()) {
    std::vector<float> similarity;
    for (const auto& row : entry["similarity"]) {
      for (const auto& score : row) similarity.push_back(score.get<float>());
    }
    const auto images = static_cast<int64_t>(entry["similarity"].size());
    const auto captions = static_cast<int64_t>(entry["similarity"][0].size());
    const RetrievalMetrics metrics =
        ComputeMetrics(similarity, images, captions, static_cast<int>(captions / images));
    const auto expect = [&](const RankMetrics& m, const char* side) {
      const auto wanted = entry["metrics"][side].get<std::vector<double>>();
      const std::vector<double> actual = {m.r1, m.r5, m.r10, m.median_rank, m.mean_rank};
      for (size_t i = 0; i < actual.size(); ++i) {
        EXPECT_NEAR(actual[i], wanted[i], 1e-9) << name << ", " << side << ", " << i;
      }
    };
    expect(metrics.image_to_text, "image_to_text");
    expect(metrics.text_to_image, "text_to_image");
    EXPECT_NEAR(metrics.rsum(), entry["metrics"]["rsum"].get<double>(), 1e-9);
  }
}

TEST(RetrievalMetricsTest, MeanOfFolds) {
  RetrievalMetrics a, b;
  a.image_to_text.r1 = 10;
  b.image_to_text.r1 = 30;
  a.text_to_image.r5 = 40;
  b.text_to_image.r5 = 60;
  const RetrievalMetrics mean = RetrievalMetrics::Mean(std::vector<RetrievalMetrics>{a, b});
  EXPECT_DOUBLE_EQ(mean.image_to_text.r1, 20);
  EXPECT_DOUBLE_EQ(mean.rsum(), 70);
  EXPECT_DOUBLE_EQ(mean.selection(), 70);
}

}  // namespace
}  // namespace dime
