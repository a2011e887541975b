#include "model/dime/bert_state_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "tests/index/status_matchers.h"
#include "tests/model/dime/golden_tiny.h"

namespace dime {
namespace {

using testing::HasSubstr;

const std::vector<std::string>& Captions() {
  static const auto* const captions = [] {
    auto* const lines = new std::vector<std::string>;
    std::ifstream file(std::string(kTiny) + "/data/test_caps.txt");
    for (std::string line; std::getline(file, line);) lines->push_back(line);
    return lines;
  }();
  return *captions;
}

// The captions and the BERT of the golden tiny model.
class BertStateCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
    ASSERT_OK_AND_ASSIGN(backbone_, TextBackbone::Load(options_.bert, {}, torch::kCPU));
    backbone_.bert->eval();
    ASSERT_GT(Captions().size(), 10u);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  absl::StatusOr<std::unique_ptr<BertStateCache>> Create() {
    return BertStateCache::Create(backbone_, torch::kCPU, Captions(), options_, &stop_);
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  const std::string directory_ = absl::StrCat(testing::TempDir(), "/bert_states_", getpid());
  BertStateCache::Options options_ = {.bert = std::string(kTinyModel) + "/bert",
                                      .data = std::string(kTiny) + "/data",
                                      .split = "test",
                                      .max_words = 8,
                                      .part_tag = "i2t"};
  std::atomic<bool> stop_{false};
  TextBackbone backbone_;
};

TEST_F(BertStateCacheTest, KeptStatesAreThoseComputedAnewToFloat16) {
  const std::vector<int64_t> asked = {9, 0, 9, 4};
  options_.keep = false;
  ASSERT_OK_AND_ASSIGN(const auto anew, Create());
  torch::Tensor expected_lengths;
  const torch::Tensor expected = anew->States(asked, &expected_lengths);
  ASSERT_EQ(expected.sizes(), (std::vector<int64_t>{4, 8, backbone_.hidden_size}));

  options_.keep = true;
  const auto expect_same = [&](const BertStateCache& cache) {
    EXPECT_EQ(cache.num_captions(), static_cast<int64_t>(Captions().size()));
    torch::Tensor lengths;
    const torch::Tensor states = cache.States(asked, &lengths);
    EXPECT_EQ(states.scalar_type(), torch::kFloat32);
    EXPECT_TRUE(torch::equal(lengths, expected_lengths));
    EXPECT_TRUE(torch::allclose(states, expected, /*rtol=*/1e-3, /*atol=*/1e-3));
  };
  ASSERT_OK_AND_ASSIGN(const auto in_memory, Create());
  expect_same(*in_memory);
  EXPECT_THAT(Files(), testing::IsEmpty());
  options_.file = directory_ + "/states";
  ASSERT_OK_AND_ASSIGN(const auto written, Create());
  expect_same(*written);
  EXPECT_THAT(Files(), testing::ElementsAre(testing::EndsWith("-8.f16")));
  // A second run computes nothing: one that is stopped at once has them all the same.
  stop_ = true;
  ASSERT_OK_AND_ASSIGN(const auto read, Create());
  expect_same(*read);
  // Of other lengths they are others'.
  options_.max_words = 7;
  EXPECT_THAT(Create(), StatusIs(absl::StatusCode::kCancelled, HasSubstr("stopped")));
}

TEST_F(BertStateCacheTest, WhatDoesNotFitIsNotKept) {
  const int64_t bytes =
      static_cast<int64_t>(Captions().size()) * options_.max_words * backbone_.hidden_size * 2;
  options_.max_bytes = bytes - 1;
  stop_ = true;
  ASSERT_THAT(Create(), IsOk());  // nothing is computed yet, so there is nothing to stop
  options_.file = directory_ + "/states";
  EXPECT_THAT(Create(), StatusIs(absl::StatusCode::kInvalidArgument,
                                 HasSubstr(absl::StrCat("room for ", bytes, " bytes"))));
  options_.max_bytes = bytes;
  EXPECT_THAT(Create(), StatusIs(absl::StatusCode::kCancelled, HasSubstr("stopped")));
}

TEST_F(BertStateCacheTest, AFileOfAnotherSizeIsNamed) {
  options_.file = directory_ + "/states";
  ASSERT_THAT(Create(), IsOk());
  const std::string path = directory_ + "/" + Files().at(0);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 2);
  EXPECT_THAT(Create(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(path)));
}

}  // namespace
}  // namespace dime
