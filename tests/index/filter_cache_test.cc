#include "index/filter_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

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
    return AskAt(rows.back(), filter, rows);
  }
  // A version's rows, of which `first_listed_` tells from where on they were asked for.
  absl::StatusOr<std::shared_ptr<const RowBitmap>> AskAt(int64_t sequence, const ItemFilter& filter,
                                                         const std::vector<int64_t>& rows) {
    looked_at_.clear();
    first_listed_ = -1;
    return cache_.Matching(
        filter, sequence,
        [&](int64_t first) {
          first_listed_ = first;
          return std::vector<int64_t>(std::lower_bound(rows.begin(), rows.end(), first),
                                      rows.end());
        },
        [&](absl::Span<const int64_t> asked) -> absl::StatusOr<std::vector<int64_t>> {
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
  int64_t first_listed_ = -1;  // nothing was listed
};

TEST_F(FilterCacheTest, LooksAtNewRowsAlone) {
  const ItemFilter filter = ItemFilter::Parse("a = 1").value();
  ASSERT_OK_AND_ASSIGN(const auto first, Ask(filter, {1, 2, 64, 65, 1000}));
  EXPECT_THAT(looked_at_, ElementsAre(1, 2, 64, 65, 1000));
  for (const int64_t row : {1, 2, 64, 65, 1000}) EXPECT_EQ(first->Contains(row), row % 2 == 0);
  EXPECT_FALSE(first->Contains(1 << 30));
  ASSERT_OK_AND_ASSIGN(const auto second, Ask(filter, {2, 1000, 1002}));
  EXPECT_EQ(first_listed_, 1001);
  EXPECT_THAT(looked_at_, ElementsAre(1002));
  EXPECT_TRUE(second->Contains(1002));
  EXPECT_FALSE(first->Contains(1002)) << "what was given stays as it was";
  ASSERT_THAT(Ask(filter, {2, 1000, 1002}), IsOk());
  EXPECT_EQ(first_listed_, -1) << "the same version lists nothing";
  // A version of earlier rows finds its answer too.
  ASSERT_OK_AND_ASSIGN(const auto third, Ask(filter, {1, 2}));
  EXPECT_THAT(looked_at_, IsEmpty());
  EXPECT_TRUE(third->Contains(2));
}

TEST_F(FilterCacheTest, AnEarlierVersionMayHaveRowsThatNobodyLookedAt) {
  const ItemFilter filter = ItemFilter::Parse("a = 1").value();
  // Row 4 ended before this version.
  ASSERT_THAT(AskAt(9, filter, {2, 8}), IsOk());
  ASSERT_OK_AND_ASSIGN(const auto earlier, AskAt(6, filter, {2, 4, 5}));
  EXPECT_EQ(first_listed_, 0);
  EXPECT_THAT(looked_at_, ElementsAre(4, 5));
  EXPECT_TRUE(earlier->Contains(4));
  // And the later one is still known whole.
  ASSERT_THAT(AskAt(9, filter, {2, 8}), IsOk());
  EXPECT_EQ(first_listed_, -1);
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
  EXPECT_THAT(cache_.Matching(
                  filter, 1, [](int64_t) { return std::vector<int64_t>{1}; },
                  [](absl::Span<const int64_t>) -> absl::StatusOr<std::vector<int64_t>> {
                    return absl::DataLossError("a bad disk");
                  }),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("bad disk")));
  ASSERT_THAT(Ask(filter, {1}), IsOk());
  EXPECT_THAT(looked_at_, ElementsAre(1));
}

}  // namespace
}  // namespace dime
