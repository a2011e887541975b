#include "model/reference_pairs.h"

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_model.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ReferencePairsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "/reference_pairs_test";
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
    const auto made = ReferencePairs::Make(model_, model_.pair_scorer(), 7, 3, {"red star", "dog"});
    ASSERT_TRUE(made.ok()) << made.status();
    pairs_ = *made;
  }
  void Write(const std::string& text) const {
    std::ofstream(directory_ + "/" + kReferencePairsName) << text;
  }

  std::string directory_;
  FakeModel model_;
  ReferencePairs pairs_;
};

TEST_F(ReferencePairsTest, AModelAgreesWithItself) {
  ASSERT_TRUE(pairs_.Save(directory_).ok());
  const auto loaded = ReferencePairs::Load(directory_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->scores[0].size(), 6);
  const auto deviation = loaded->Compare(model_);
  ASSERT_TRUE(deviation.ok()) << deviation.status();
  EXPECT_LT(deviation->largest, 1e-6);
  EXPECT_TRUE(CheckDeviation(*deviation, "modules").ok());
}

TEST_F(ReferencePairsTest, AScorerThatIsOffIsFoundOut) {
  model_.fake_scorer().replace_score = [](int64_t row, float score) {
    return row == 0 ? score + 0.1f : score;
  };
  const auto deviation = pairs_.Compare(model_);
  ASSERT_TRUE(deviation.ok()) << deviation.status();
  EXPECT_NEAR(deviation->mean, 0.05, 1e-6);
  EXPECT_NEAR(deviation->largest, 0.1, 1e-6);
  const absl::Status refused = CheckDeviation(*deviation, "amx");
  EXPECT_EQ(refused.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(refused.message(), AllOf(HasSubstr("reference_pairs.json"), HasSubstr("0.05")));
}

TEST_F(ReferencePairsTest, RoundingIsNotAFaultAndAStepOfOnePairNeither) {
  EXPECT_TRUE(CheckDeviation({.mean = 0.002, .p90 = 0.005, .largest = 0.6}, "amx").ok());
  EXPECT_FALSE(CheckDeviation({.mean = 0.002, .p90 = 0.005, .largest = 0.6}, "modules").ok());
  EXPECT_TRUE(CheckDeviation({.mean = 1e-5, .p90 = 2e-5, .largest = 1e-4}, "modules").ok());
}

TEST_F(ReferencePairsTest, AScoreThatIsNoNumberIsNotWithinTolerance) {
  model_.fake_scorer().replace_score = [](int64_t row, float score) {
    return row == 0 ? std::nanf("") : score;
  };
  const auto deviation = pairs_.Compare(model_);
  ASSERT_TRUE(deviation.ok()) << deviation.status();
  EXPECT_FALSE(CheckDeviation(*deviation, "amx").ok());
}

TEST_F(ReferencePairsTest, AnotherModelsPairsAreRefused) {
  pairs_.scores[1].clear();
  EXPECT_THAT(pairs_.Compare(model_).status().message(), HasSubstr("another model's"));
}

TEST_F(ReferencePairsTest, ADirectoryWithoutThemSaysSo) {
  EXPECT_EQ(ReferencePairs::Load(directory_).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ReferencePairsTest, DamagedFilesAreNamed) {
  for (const char* text :
       {"", "{", "[]", R"({"format": 2})", R"({"format": 1, "seed": -1})",
        R"({"format": 1, "seed": 1, "num_images": 0, "captions": ["a"], "scores": {}})",
        R"({"format": 1, "seed": 1, "num_images": 1, "captions": [], "scores": {}})",
        R"({"format": 1, "seed": 1, "num_images": 1, "captions": ["a"], "scores": {"i2t": []}})",
        R"({"format": 1, "seed": 1, "num_images": 1, "captions": ["a"], "scores": []})"}) {
    Write(text);
    const absl::Status status = ReferencePairs::Load(directory_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(status.message(), AllOf(HasSubstr("reference_pairs.json"), HasSubstr("--write")));
  }
}

}  // namespace
}  // namespace dime
