#include "model/ranking_settings.h"

#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/model_info.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class RankingSettingsTest : public ::testing::Test {
 protected:
  RankingSettingsTest() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    directory_ = ::testing::TempDir() + "/" + test->name();
    const int ignored = system(("rm -rf " + directory_ + " && mkdir -p " + directory_).c_str());
    static_cast<void>(ignored);
  }
  void Write(const std::string& text) { std::ofstream(directory_ + "/ranking.json") << text; }
  std::string directory_;
};

RankingSettings SomeSettings() {
  RankingSettings settings;
  settings.tuned_on = "dev of world";
  settings.of(Modality::kImage, ScoreMode::kI2t) = {
      .fusion_weight = 0.25, .coarse_recall = 200, .rerank_recall = 180, .fused_recall = 210};
  settings.of(Modality::kCaption, ScoreMode::kI2t) = {
      .fusion_weight = 0.5, .coarse_recall = 210, .rerank_recall = 220, .fused_recall = 230};
  settings.of(Modality::kImage, ScoreMode::kEnsemble) = {
      .fusion_weight = 0,
      .coarse_recall = 150,
      .rerank_recall = 170,
      .fused_recall = 170,
      .bound = RankingSettings::Entry::Bound{.slope = 0.5, .intercept = 0.75}};
  return settings;
}

TEST_F(RankingSettingsTest, KeepsWhatWasSaved) {
  ASSERT_TRUE(SomeSettings().Save(directory_).ok());
  const auto loaded = RankingSettings::Load(directory_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->tuned_on, "dev of world");
  EXPECT_EQ(loaded->FusionWeight(Modality::kImage, ScoreMode::kI2t), 0.25f);
  EXPECT_EQ(loaded->FusionWeight(Modality::kCaption, ScoreMode::kI2t), 0.5f);
  EXPECT_EQ(loaded->of(Modality::kCaption, ScoreMode::kI2t)->rerank_recall, 220);
  EXPECT_FALSE(loaded->of(Modality::kCaption, ScoreMode::kI2t)->bound.has_value());
  ASSERT_TRUE(loaded->of(Modality::kImage, ScoreMode::kEnsemble)->bound.has_value());
  EXPECT_EQ(loaded->of(Modality::kImage, ScoreMode::kEnsemble)->bound->slope, 0.5f);
  EXPECT_FALSE(loaded->of(Modality::kCaption, ScoreMode::kT2i).has_value());
}

TEST_F(RankingSettingsTest, WithoutAFileNothingIsFused) {
  const auto loaded = RankingSettings::Load(directory_);
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded->FusionWeight(Modality::kImage, ScoreMode::kEnsemble), 0);
  EXPECT_FALSE(loaded->RerankLoses(ScoreMode::kEnsemble));
}

TEST_F(RankingSettingsTest, NamesTheFieldAtFault) {
  Write(R"({"format": 1, "images": {"t2i": {"fusion_weight": 1.5, "coarse_recall": 1,
            "rerank_recall": 1, "fused_recall": 1}}})");
  EXPECT_THAT(RankingSettings::Load(directory_).status().message(),
              AllOf(HasSubstr("ranking.json"), HasSubstr("images.t2i.fusion_weight"),
                    HasSubstr("1.5"), HasSubstr("--tune-fusion")));
  Write(R"({"format": 1, "images": {"t2i": {"fusion_weight": 0.5}}})");
  EXPECT_THAT(RankingSettings::Load(directory_).status().message(),
              HasSubstr("images.t2i.coarse_recall is missing"));
  for (const char* text : {"", "[]", "{}", R"({"format": 2})", R"({"format": 1, "images": 3})"}) {
    Write(text);
    EXPECT_EQ(RankingSettings::Load(directory_).status().code(), absl::StatusCode::kInvalidArgument)
        << text;
  }
}

TEST_F(RankingSettingsTest, RerankLosesByTheSumOverBothKinds) {
  RankingSettings settings = SomeSettings();
  EXPECT_TRUE(settings.RerankLoses(ScoreMode::kI2t));        // 180 + 220 < 200 + 210
  EXPECT_FALSE(settings.RerankLoses(ScoreMode::kEnsemble));  // measured for one kind only
  settings.of(Modality::kImage, ScoreMode::kI2t)->rerank_recall = 190;
  EXPECT_FALSE(settings.RerankLoses(ScoreMode::kI2t));
}

TEST_F(RankingSettingsTest, AModeWhoseRerankLosesIsNoDefaultWhileAnotherIsLeft) {
  ModelInfo model;
  model.directions[0].embed_size = model.directions[1].embed_size = 8;
  EXPECT_EQ(model.DefaultMode(), ScoreMode::kEnsemble);
  for (Modality target : {Modality::kImage, Modality::kCaption}) {
    model.ranking.of(target, ScoreMode::kEnsemble) = {.coarse_recall = 200, .rerank_recall = 150};
  }
  EXPECT_EQ(model.DefaultMode(), ScoreMode::kI2t);
  for (Modality target : {Modality::kImage, Modality::kCaption}) {
    for (ScoreMode mode : {ScoreMode::kI2t, ScoreMode::kT2i}) {
      model.ranking.of(target, mode) = {.coarse_recall = 200, .rerank_recall = 150};
    }
  }
  EXPECT_EQ(model.DefaultMode(), ScoreMode::kEnsemble);
}

}  // namespace
}  // namespace dime
