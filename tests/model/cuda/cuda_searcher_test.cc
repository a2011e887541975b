// Search on the device, on the emulator, against comparing one by one.
#include "model/cuda/cuda_searcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <thread>
#include <vector>

namespace dime {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class EveryNth : public RowSelection {
 public:
  explicit EveryNth(int64_t n) : n_(n) {}
  bool Contains(int64_t row) const override { return row % n_ == n_ - 1; }

 private:
  const int64_t n_;
};

class Vectors {
 public:
  Vectors(int64_t rows, int dim) : rows_(rows), dim_(dim) {
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    values_.resize(static_cast<size_t>(rows * dim));
    for (float& value : values_) value = normal(random);
  }
  // Multiples of a quarter, so that sums are exact and many scores the same.
  void Coarsen() {
    for (float& value : values_) value = std::round(value) / 4;
  }
  std::unique_ptr<VectorSearcher> MakeSearcher(bool descending = false) const {
    const CudaSearcherFactory factory(
        [descending](absl::Span<const float> vectors, int dim) {
          return cuda::MakeEmulatedSearch(vectors, dim, descending);
        },
        "emulator");
    auto searcher = factory.Make(values_, dim_);
    EXPECT_TRUE(searcher.ok()) << searcher.status();
    return *std::move(searcher);
  }
  std::vector<float> Query(int seed) const {
    const auto first = values_.begin() + static_cast<ptrdiff_t>(seed) * dim_;
    return {first, first + dim_};
  }
  // In the order of the device's sums.
  std::vector<Candidate> Expected(const std::vector<float>& query, int64_t k,
                                  const RowSelection* selection) const {
    std::vector<Candidate> all;
    for (int64_t row = 0; row < rows_; ++row) {
      if (selection != nullptr && !selection->Contains(row)) continue;
      float sum = 0;
      for (int d = 0; d < dim_; ++d) sum += values_[static_cast<size_t>(row * dim_ + d)] * query[d];
      all.push_back({row, sum});
    }
    std::sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
      return a.score != b.score ? a.score > b.score : a.row < b.row;
    });
    if (static_cast<int64_t>(all.size()) > k) all.resize(static_cast<size_t>(k));
    return all;
  }
  void ExpectAgreement(const VectorSearcher& searcher, int seed, int64_t k,
                       const RowSelection* selection = nullptr) const {
    const std::vector<float> query = Query(seed);
    const auto found = searcher.Search(query, k, selection);
    ASSERT_TRUE(found.ok()) << found.status();
    const std::vector<Candidate> expected = Expected(query, k, selection);
    ASSERT_EQ(found->size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ((*found)[i].row, expected[i].row) << i;
      EXPECT_NEAR((*found)[i].score, expected[i].score, 1e-5) << i;
    }
  }

 private:
  const int64_t rows_;
  const int dim_;
  std::vector<float> values_;
};

// Under ThreadSanitizer each block takes its time, and no order of threads hides a race.
#if defined(DIME_THREAD_SANITIZER)
constexpr bool kOrders[] = {false};
constexpr int kRows = 300, kCallers = 8;
#else
constexpr bool kOrders[] = {false, true};
constexpr int kRows = 2500, kCallers = 20;
#endif

TEST(CudaSearcherTest, FindsTheBest) {
  // Neither whole groups nor whole words of channels.
  for (const auto& [rows, dim] : {std::pair{1, 1}, {33, 3}, {250, 16}, {kRows, 7}}) {
    const Vectors vectors(rows, dim);
    for (const bool descending : kOrders) {
      const auto searcher = vectors.MakeSearcher(descending);
      for (const int64_t k : {int64_t{1}, int64_t{10}, int64_t{rows}, int64_t{rows} + 5}) {
        vectors.ExpectAgreement(*searcher, 0, k);
      }
    }
  }
}

TEST(CudaSearcherTest, AmongEqualScoresTheSmallerRowsAreFound) {
  Vectors vectors(2500, 2);
  vectors.Coarsen();
  const auto searcher = vectors.MakeSearcher();
  for (const int64_t k : {1, 7, 100, 2499}) vectors.ExpectAgreement(*searcher, 4, k);
}

TEST(CudaSearcherTest, RowsAreLeftOut) {
  const Vectors vectors(kRows, 8);
  const auto searcher = vectors.MakeSearcher();
  for (const int64_t n : {1, 2, 90, kRows + 1}) {  // the last finds nothing
    const EveryNth selection(n);
    for (const int64_t k : {1, 5, kRows}) vectors.ExpectAgreement(*searcher, 1, k, &selection);
  }
  EXPECT_THAT(*searcher->Search(vectors.Query(0), 0, nullptr), IsEmpty());
}

TEST(CudaSearcherTest, ConcurrentQueriesGetTheirOwnResults) {
  const Vectors vectors(300, 8);
  const auto searcher = vectors.MakeSearcher();
  std::vector<std::thread> callers;
  for (int c = 0; c < kCallers; ++c) {
    callers.emplace_back([&, c] {
      const EveryNth selection(3);
      vectors.ExpectAgreement(*searcher, c, 5 + c, c % 3 == 0 ? &selection : nullptr);
    });
  }
  for (std::thread& caller : callers) caller.join();
}

TEST(CudaSearcherTest, SaysWhyThereIsNone) {
  EXPECT_EQ(*SearchersOn("cpu"), nullptr);
  EXPECT_EQ((*SearchersOn("cuda"))->place(), "cuda:0");
  EXPECT_EQ((*SearchersOn("cuda:7"))->place(), "cuda:7");
  for (const char* wrong : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda7"}) {
    EXPECT_THAT(SearchersOn(wrong).status().message(), HasSubstr("use cpu, cuda or cuda:N"));
  }
  const absl::Status status = CudaSearcherFactory(200).Make({1.0f, 2.0f}, 2).status();
  EXPECT_THAT(status.message(), testing::AnyOf(HasSubstr("no nvcc"), HasSubstr("device 200")));
}

}  // namespace
}  // namespace dime
