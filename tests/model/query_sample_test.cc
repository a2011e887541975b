#include "model/query_sample.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(QuerySampleTest, RowsAreSpreadEvenly) {
  EXPECT_THAT(SampleRows(100, 4), ElementsAre(0, 25, 50, 75));
  EXPECT_THAT(SampleRows(5, 3), ElementsAre(0, 1, 3));
  EXPECT_THAT(SampleRows(3, 10), ElementsAre(0, 1, 2));
  EXPECT_THAT(SampleRows(0, 10), IsEmpty());
}

TEST(QuerySampleTest, CaptionsTakeTurnsWithinTheirImages) {
  EXPECT_THAT(SampleCaptions(100, 5, 6), ElementsAre(0, 81, 167, 253, 334, 415));
  EXPECT_THAT(SampleCaptions(3, 1, 3), ElementsAre(0, 1, 2));
}

TEST(QuerySampleTest, MoreCaptionsThanImagesAreStillOfAllPlacesAndOnceEach) {
  for (int64_t count : {40, 41, 50, 80, 100, 199, 200, 1000}) {
    const std::vector<int64_t> captions = SampleCaptions(40, 5, count);
    EXPECT_THAT(captions, SizeIs(std::min<int64_t>(count, 200)));
    EXPECT_THAT(std::set<int64_t>(captions.begin(), captions.end()), SizeIs(captions.size()));
    EXPECT_LT(captions.back(), 200);
    std::set<int64_t> places;
    for (int64_t caption : captions) places.insert(caption % 5);
    EXPECT_THAT(places, SizeIs(5)) << count;
  }
}

}  // namespace
}  // namespace dime
