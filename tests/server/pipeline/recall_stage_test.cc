#include "server/pipeline/recall_stage.h"

#include <algorithm>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"

namespace dime {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class RecallStageTest : public ::testing::Test {
 protected:
  static EncodedQuery ImageQuery(int seed) {
    return EncodedQuery(
        *FakeImageEncoder().EncodeImages(1, kFakeNumRegions, FakeRegionFeatures(seed)),
        /*text_truncated=*/false);
  }

  FakeGallery gallery_{{.num_images = 5, .captions = FakeCaptions(30)}};
  const RecallStage stage_{};
};

TEST_F(RecallStageTest, TakesAsManyAsAreToBeReranked) {
  const auto candidates =
      stage_.Run(gallery_, ImageQuery(9), {.top_k = 3, .rerank_depth = 12, .search_effort = 7});
  ASSERT_TRUE(candidates.ok()) << candidates.status();
  EXPECT_THAT(*candidates, SizeIs(12));
  EXPECT_EQ(gallery_.last_effort(), 7);
}

TEST_F(RecallStageTest, TakesAllOfASmallGallery) {
  const auto candidates = stage_.Run(gallery_, ImageQuery(9), {.rerank_depth = 1000});
  ASSERT_TRUE(candidates.ok()) << candidates.status();
  EXPECT_THAT(*candidates, SizeIs(30));
}

TEST_F(RecallStageTest, ExactScansAllInOrderOfCoarseScoreThenRow) {
  const EncodedQuery query = ImageQuery(9);
  const auto candidates = stage_.Run(gallery_, query, {.exact = true});
  ASSERT_TRUE(candidates.ok()) << candidates.status();
  ASSERT_THAT(*candidates, SizeIs(30));
  std::vector<bool> seen(30);
  for (const Candidate& candidate : *candidates) {
    float score = 0;
    for (int j = 0; j < kFakeCoarseDim; ++j) {
      score += gallery_.features(Modality::kCaption).coarse[candidate.row * kFakeCoarseDim + j] *
               query.view().coarse[j];
    }
    EXPECT_NEAR(candidate.score, score, 1e-6);
    seen[candidate.row] = true;
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), true), 30);
  bool ties = false;
  for (size_t k = 1; k < candidates->size(); ++k) {
    const Candidate& better = (*candidates)[k - 1];
    const Candidate& worse = (*candidates)[k];
    ASSERT_GE(better.score, worse.score);
    if (better.score == worse.score) {
      ties = true;
      EXPECT_LT(better.row, worse.row);
    }
  }
  EXPECT_TRUE(ties) << "the captions hold equal ones, so that ties are tested";
  EXPECT_EQ(gallery_.last_effort(), -1) << "the index has no part in an exact search";
}

TEST_F(RecallStageTest, AnEmptyGalleryGivesNoCandidates) {
  const FakeGallery empty({.num_images = 5});
  for (bool exact : {false, true}) {
    const auto candidates = RecallStage().Run(empty, ImageQuery(1), {.exact = exact});
    ASSERT_TRUE(candidates.ok()) << candidates.status();
    EXPECT_THAT(*candidates, IsEmpty());
  }
}

TEST_F(RecallStageTest, AFailureOfTheIndexIsInternal) {
  EncodedItems query = *FakeImageEncoder().EncodeImages(1, kFakeNumRegions, FakeRegionFeatures(1));
  query.coarse.pop_back();
  const auto candidates = stage_.Run(gallery_, EncodedQuery(std::move(query), false), {});
  EXPECT_EQ(candidates.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(candidates.status().message(), HasSubstr("width is wrong"));
}

}  // namespace
}  // namespace dime
