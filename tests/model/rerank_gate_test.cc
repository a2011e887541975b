#include "model/rerank_gate.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RerankGateTest : public ::testing::Test {
 protected:
  RerankGateTest() {
    for (DirectionInfo& direction : model_.directions) direction.embed_size = 8;
    model_.ranking.tuned_on = "dev of world";
  }
  void Measure(ScoreMode mode, double coarse, double rerank) {
    for (Modality target : {Modality::kImage, Modality::kCaption}) {
      model_.ranking.of(target, mode) = {.coarse_recall = coarse, .rerank_recall = rerank};
    }
  }
  ModelInfo model_;
};

TEST_F(RerankGateTest, QuietWhereRerankingHelpsOrWasNotMeasured) {
  EXPECT_THAT(RerankWarnings(model_), IsEmpty());
  for (ScoreMode mode : kScoreModes) Measure(mode, 150, 200);
  EXPECT_THAT(RerankWarnings(model_), IsEmpty());
  Measure(ScoreMode::kI2t, 200, 200);  // no worse is no loss
  EXPECT_THAT(RerankWarnings(model_), IsEmpty());
}

TEST_F(RerankGateTest, NamesTheLosingModeTheFiguresAndTheDefault) {
  Measure(ScoreMode::kEnsemble, 170.5, 150);
  EXPECT_THAT(RerankWarnings(model_),
              ElementsAre(AllOf(HasSubstr("WARNING"), HasSubstr("mode ensemble"),
                                HasSubstr("300.0"), HasSubstr("341.0"), HasSubstr("dev of world"),
                                HasSubstr("not the default; that is i2t"))));
}

TEST_F(RerankGateTest, SaysSoWhereNoModeIsBetter) {
  for (ScoreMode mode : kScoreModes) Measure(mode, 200, 100);
  EXPECT_EQ(RerankWarnings(model_).size(), 3u);
  EXPECT_THAT(RerankWarnings(model_)[2],
              AllOf(HasSubstr("mode ensemble"), HasSubstr("default all the same")));
}

TEST_F(RerankGateTest, ModesThatTheModelLacksAreNotMentioned) {
  model_.directions[static_cast<int>(Direction::kT2i)].embed_size = 0;
  for (ScoreMode mode : kScoreModes) Measure(mode, 200, 100);
  EXPECT_THAT(RerankWarnings(model_), ElementsAre(HasSubstr("mode i2t")));
}

}  // namespace
}  // namespace dime
