#include "index/vector_searcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/index/fake_searcher.h"
#include "tests/index/file_fixtures.h"
#include "tests/index/gallery_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr int kSearchedDim = 8;

class VectorSearcherTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(index_, CoarseIndex::Build(vectors_, kSearchedDim, {.factory = "SQ8"}));
  }

  const std::vector<float> vectors_ = UnitVectors(2000, kSearchedDim, 1);
  const std::vector<float> query_ = UnitVectors(1, kSearchedDim, 2);
  FakeSearcherFactory searchers_;
  std::unique_ptr<CoarseIndex> index_;
};

TEST_F(VectorSearcherTest, TheIndexSearchesExactlyWhereItIsToldTo) {
  EXPECT_EQ(index_->description(), "SQ8");
  ASSERT_THAT(SearchElsewhere(&searchers_, vectors_, *index_), IsOk());
  EXPECT_EQ(index_->description(), "exact on fake:3");
  EXPECT_EQ(index_->factory(), "SQ8") << "what is on disk is what it was";
  ASSERT_OK_AND_ASSIGN(const auto exact,
                       CoarseIndex::Build(vectors_, kSearchedDim, {.factory = "Flat"}));
  ASSERT_OK_AND_ASSIGN(const auto expected, exact->Search(query_, 20, {}));
  ASSERT_OK_AND_ASSIGN(const auto found, index_->Search(query_, 20, {.effort = 3}));
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i].row, expected[i].row);
  EXPECT_EQ(searchers_.searches, 1);
}

TEST_F(VectorSearcherTest, ForMoreThanASearcherGivesTheIndexSearchesItself) {
  ASSERT_THAT(SearchElsewhere(&searchers_, vectors_, *index_), IsOk());
  ASSERT_OK_AND_ASSIGN(const auto found, index_->Search(query_, 1001, {}));
  EXPECT_EQ(found.size(), 1001u);
  EXPECT_EQ(searchers_.searches, 0);
  // Then its scores are of what it keeps, of which callers who compare vectors have to know.
  EXPECT_FALSE(index_->keeps_vectors());
}

TEST_F(VectorSearcherTest, NothingIsDoneWithoutAFactoryOrVectors) {
  EXPECT_THAT(SearchElsewhere(nullptr, vectors_, *index_), IsOk());
  EXPECT_THAT(SearchElsewhere(&searchers_, {}, *index_), IsOk());
  EXPECT_EQ(searchers_.made, 0);
  EXPECT_EQ(index_->description(), "SQ8");
}

TEST_F(VectorSearcherTest, WhatDoesNotFitIsTold) {
  searchers_.room = 1999;
  testing::internal::CaptureStderr();
  EXPECT_THAT(SearchElsewhere(&searchers_, vectors_, *index_), IsOk());
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("2000 vectors do not fit fake:3"));
  EXPECT_EQ(index_->description(), "SQ8");
}

}  // namespace
}  // namespace dime
