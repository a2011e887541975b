#include "index/coarse_segment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>

#include "tests/index/file_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::HasSubstr;

constexpr int kSegmentDim = 8;

std::shared_ptr<CoarseBase> MakeBase(int64_t count) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < count; ++i) rows.push_back(3 * i + 1);
  return CoarseBase::Build(rows, UnitVectors(count, kSegmentDim, 5), kSegmentDim, 3 * count,
                           {.factory = "Flat"})
      .value();
}

TEST(InnerProductTest, IsTheSumOfProductsAtEveryWidth) {
  for (int dim = 1; dim < 70; ++dim) {
    const std::vector<float> vectors = UnitVectors(2, dim, 3);
    const absl::Span<const float> a = absl::MakeConstSpan(vectors).subspan(0, dim);
    const absl::Span<const float> b = absl::MakeConstSpan(vectors).subspan(dim);
    EXPECT_NEAR(InnerProduct(a, b), std::inner_product(a.begin(), a.end(), b.begin(), 0.0), 1e-6);
  }
}

TEST(CoarseBaseTest, RowsHaveAnEndThatEarlierVersionsDoNotSee) {
  const auto base = MakeBase(10);
  EXPECT_EQ(base->FindPlace(7), 2);
  EXPECT_EQ(base->FindPlace(8), std::nullopt);
  EXPECT_EQ(base->FindPlace(100), std::nullopt);
  base->SetEnd(2, 40);
  EXPECT_TRUE(base->AliveAt(2, 39));
  EXPECT_FALSE(base->AliveAt(2, 40));
  EXPECT_TRUE(base->AliveAt(3, 1000));
}

TEST(CoarseBaseTest, ComesBackFromItsFilesOrTellsOfDamage) {
  const std::string name = FreshDirectory() + "/base";
  const auto base = MakeBase(20);
  EXPECT_THAT(CoarseBase::Load(name),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("base.rows")));
  ASSERT_THAT(base->Save(name), IsOk());
  ASSERT_OK_AND_ASSIGN(const auto loaded, CoarseBase::Load(name));
  ASSERT_EQ(loaded->size(), 20);
  EXPECT_EQ(loaded->sequence(), 60);
  for (int64_t place = 0; place < 20; ++place) {
    EXPECT_EQ(loaded->row(place), base->row(place));
    EXPECT_EQ(loaded->vector(place), base->vector(place));
    EXPECT_TRUE(loaded->AliveAt(place, 1'000'000));
  }
  for (const std::string& path : {CoarseBase::RowsPath(name), CoarseBase::IndexPath(name)}) {
    const std::string whole = ReadFile(path);
    ForEachDamage(whole, 20, [&](const std::string& damaged, const std::string& what) {
      WriteFile(path, damaged);
      EXPECT_THAT(CoarseBase::Load(name),
                  StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("base")))
          << what;
    });
    WriteFile(path, whole);
  }
}

TEST(CoarseTailTest, ACopyKeepsToWhatItWasToldOf) {
  const std::vector<float> vectors = UnitVectors(1500, kSegmentDim, 6);
  const auto vector = [&](int64_t i) {
    return absl::MakeConstSpan(vectors).subspan(static_cast<size_t>(i * kSegmentDim), kSegmentDim);
  };
  CoarseTail tail(kSegmentDim);
  for (int64_t i = 0; i < 700; ++i) EXPECT_EQ(tail.Append(2 * i, vector(i)), i);
  const CoarseTail before = tail;
  for (int64_t i = 700; i < 1500; ++i) tail.Append(2 * i, vector(i));
  EXPECT_EQ(before.size(), 700);
  EXPECT_EQ(before.FindPlace(1400), std::nullopt);
  EXPECT_EQ(tail.FindPlace(1400), 700);
  EXPECT_EQ(tail.FindPlace(1401), std::nullopt);
  for (const int64_t i : {0, 511, 512, 699}) {
    EXPECT_EQ(before.vector(i), vector(i));
    EXPECT_EQ(before.row(i), 2 * i);
  }
  tail.SetEnd(10, 5000);
  EXPECT_TRUE(before.AliveAt(10, 4999));
  EXPECT_FALSE(tail.AliveAt(10, 5000));
}

}  // namespace
}  // namespace dime
