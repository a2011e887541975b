#include "index/filter_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class FilterCacheTest : public testing::Test {
 protected:
  // Even rows match.
  absl::StatusOr<std::shared_ptr<const RowBitmap>> Ask(const ItemFilter& filter,
                                                       const std::vector<int64_t>& rows) {
    looked_at_.clear();
    return cache_.Matching(
        filter, rows, [&](absl::Span<const int64_t> asked) -> absl::StatusOr<std::vector<int64_t>> {
          looked_at_.assign(asked.begin(), asked.end());
          std::vector<int64_t> found;
          for (const int64_t row : asked) {
            if (row % 2 == 0) found.push_back(row);
          }
          return found;
        });
  }
  FilterCache cache_{2};
  std::vector<int64_t> looked_at_;
};

TEST_F(FilterCacheTest, LooksAtNewRowsAlone) {
  const ItemFilter filter = ItemFilter::Parse("a = 1").value();
  ASSERT_OK_AND_ASSIGN(const auto first, Ask(filter, {1, 2, 64, 65, 1000}));
  EXPECT_THAT(looked_at_, ElementsAre(1, 2, 64, 65, 1000));
  for (const int64_t row : {1, 2, 64, 65, 1000}) EXPECT_EQ(first->Contains(row), row % 2 == 0);
  EXPECT_FALSE(first->Contains(1 << 30));
  ASSERT_OK_AND_ASSIGN(const auto second, Ask(filter, {2, 66, 1000}));
  EXPECT_THAT(looked_at_, ElementsAre(66));
  EXPECT_TRUE(second->Contains(66));
  EXPECT_FALSE(first->Contains(66)) << "what was given stays as it was";
  // A version of earlier rows finds its answer too.
  ASSERT_OK_AND_ASSIGN(const auto third, Ask(filter, {1, 2}));
  EXPECT_THAT(looked_at_, IsEmpty());
  EXPECT_TRUE(third->Contains(2));
}

TEST_F(FilterCacheTest, KeepsTheLatestFilters) {
  for (int n = 0; n < 3; ++n) {
    ASSERT_THAT(Ask(ItemFilter::Parse(absl::StrCat("a = ", n)).value(), {2}), IsOk());
  }
  ASSERT_THAT(Ask(ItemFilter::Parse("a = 2").value(), {2}), IsOk());
  EXPECT_THAT(looked_at_, IsEmpty());
  ASSERT_THAT(Ask(ItemFilter::Parse("a = 0").value(), {2}), IsOk());
  EXPECT_THAT(looked_at_, ElementsAre(2));
}

TEST_F(FilterCacheTest, AFailureIsTheCallersAndNotKept) {
  const ItemFilter filter = ItemFilter::Parse("b = 1").value();
  EXPECT_THAT(
      cache_.Matching(filter, {1},
                      [](absl::Span<const int64_t>) -> absl::StatusOr<std::vector<int64_t>> {
                        return absl::DataLossError("a bad disk");
                      }),
      StatusIs(absl::StatusCode::kDataLoss, HasSubstr("bad disk")));
  ASSERT_THAT(Ask(filter, {1}), IsOk());
  EXPECT_THAT(looked_at_, ElementsAre(1));
}

}  // namespace
}  // namespace dime
