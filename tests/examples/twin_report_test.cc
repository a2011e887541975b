#include "examples/scenes/twin_report.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime::scenes {
namespace {

using ::testing::HasSubstr;

constexpr auto kRelation = static_cast<size_t>(CaptionKind::kRelation);
constexpr auto kMixed = static_cast<size_t>(CaptionKind::kMixed);
constexpr auto kMirrored = static_cast<size_t>(TwinKind::kMirrored);

// Two mirrored twins: all captions are true of both but the relation captions, and the mixed one
// of image 0.
class TwinReportTest : public ::testing::Test {
 protected:
  TwinReportTest() {
    for (SplitEntry& entry : entries_) {
      entry.twin_kind = TwinKind::kMirrored;
      entry.true_of_twin = {true, true, false, true, true};
    }
    entries_[0].true_of_twin[kMixed] = false;
    for (int image = 0; image < 2; ++image) {
      for (int k = 0; k < kCaptionKinds; ++k) {
        truth_.push_back(entries_[image].true_of_twin[k] ? std::vector<int>{0, 1}
                                                         : std::vector<int>{image});
      }
    }
  }

  float& Score(int image, int caption) { return similarity_[image * 10 + caption]; }

  std::vector<SplitEntry> entries_ = std::vector<SplitEntry>(2);
  std::vector<std::vector<int>> truth_;
  std::vector<float> similarity_ = std::vector<float>(20, 0.0f);
};

TEST_F(TwinReportTest, CountsWhatIsToldApart) {
  Score(0, 2) = 0.9f;  // image 0 and its relation caption
  Score(1, 2) = 0.5f;
  Score(0, 7) = 0.8f;  // image 1's relation caption is given to image 0: wrong
  Score(1, 7) = 0.6f;
  Score(0, 4) = 0.1f;  // image 0's mixed caption, its own image higher
  const auto report = ReportTwins(entries_, truth_, similarity_);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->from_text[kMirrored][kRelation].right, 1);
  EXPECT_EQ(report->from_text[kMirrored][kRelation].total, 2);
  EXPECT_EQ(report->from_text[kMirrored][kMixed].right, 1);
  EXPECT_EQ(report->from_text[kMirrored][kMixed].total, 1);
  // Image 0 has 0.9 for its own against 0.8; image 1 has 0.6 against 0.5.
  EXPECT_EQ(report->from_image[kMirrored][kRelation].right, 2);
  // The mixed caption of image 1 is true of both.
  EXPECT_EQ(report->from_image[kMirrored][kMixed].total, 0);
  const TwinShare all = SumOverCaptionKinds(report->from_text, TwinKind::kMirrored);
  EXPECT_EQ(all.total, 3);
  EXPECT_NEAR(all.percent(), 200.0 / 3, 1e-9);
  EXPECT_EQ(SumOverCaptionKinds(report->from_text, TwinKind::kCounts).total, 0);
}

TEST_F(TwinReportTest, EqualScoresTellNothing) {
  const auto report = ReportTwins(entries_, truth_, similarity_);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(SumOverCaptionKinds(report->from_text, TwinKind::kMirrored).right, 0);
  EXPECT_EQ(SumOverCaptionKinds(report->from_image, TwinKind::kMirrored).right, 0);
}

TEST_F(TwinReportTest, TopHitsMayBeTrueWithoutBeingTheOwn) {
  Score(1, 0) = 1;  // a caption of image 0 that is true of image 1 as well
  Score(1, 2) = 2;  // one that is not
  const auto report = ReportTwins(entries_, truth_, similarity_);
  ASSERT_TRUE(report.ok()) << report.status();
  // Of ten captions, where scores are equal image 0 comes first: wrong for 2 (image 1) and for 7.
  EXPECT_NEAR(report->top_image_true, 80, 1e-9);
  // Image 0's first caption is its own; image 1's best is caption 2, which is false of it.
  EXPECT_NEAR(report->top_caption_true, 50, 1e-9);
  EXPECT_NEAR(report->ceiling.text_to_image[0], 100 * (3 + 7 * 0.5) / 10, 1e-9);
  EXPECT_EQ(report->recall.text_to_image.r10, 100);
}

TEST_F(TwinReportTest, RefusesWhatDoesNotFit) {
  std::vector<float> small(similarity_.begin(), similarity_.end() - 1);
  EXPECT_FALSE(ReportTwins(entries_, truth_, small).ok());
  Score(1, 3) = std::nanf("");
  const auto report = ReportTwins(entries_, truth_, similarity_);
  EXPECT_EQ(report.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(report.status().message()), HasSubstr("row 1, column 3"));
}

}  // namespace
}  // namespace dime::scenes
