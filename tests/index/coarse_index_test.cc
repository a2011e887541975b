#include "index/coarse_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <thread>
#include <utility>

#include "tests/index/file_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int kDim = 16;

std::unique_ptr<CoarseIndex> Build(const std::vector<float>& vectors, const std::string& factory,
                                   int dim = kDim) {
  auto index = CoarseIndex::Build(vectors, dim, {.factory = factory});
  EXPECT_THAT(index, IsOk()) << factory;
  return *std::move(index);
}

std::vector<int64_t> Rows(const std::vector<Candidate>& candidates) {
  std::vector<int64_t> rows;
  for (const Candidate& candidate : candidates) rows.push_back(candidate.row);
  return rows;
}

// The rows in order of their inner products with the query, computed in doubles.
std::vector<int64_t> ExactRows(const std::vector<float>& vectors, const float* query, size_t k) {
  std::vector<std::pair<double, int64_t>> scored;
  for (size_t row = 0; row * kDim < vectors.size(); ++row) {
    double score = 0;
    for (size_t i = 0; i < kDim; ++i) {
      score += static_cast<double>(vectors[row * kDim + i]) * query[i];
    }
    scored.emplace_back(-score, static_cast<int64_t>(row));
  }
  std::sort(scored.begin(), scored.end());
  std::vector<int64_t> rows;
  for (size_t i = 0; i < k; ++i) rows.push_back(scored[i].second);
  return rows;
}

// Share of the exact `k` best that the index finds, over a hundred queries.
double Recall(const CoarseIndex& index, const std::vector<float>& vectors, size_t k, int effort) {
  const std::vector<float> queries = UnitVectors(100, kDim, 77);
  size_t found = 0;
  for (size_t q = 0; q < 100; ++q) {
    const absl::Span<const float> query(queries.data() + q * kDim, kDim);
    auto candidates = index.Search(query, static_cast<int64_t>(k), {.effort = effort});
    EXPECT_THAT(candidates, IsOk());
    const std::vector<int64_t> rows = Rows(*candidates);
    for (const int64_t row : ExactRows(vectors, query.data(), k)) {
      found += static_cast<size_t>(std::count(rows.begin(), rows.end(), row));
    }
  }
  return static_cast<double>(found) / static_cast<double>(100 * k);
}

TEST(CoarseIndexTest, FlatFindsExactlyTheBest) {
  const std::vector<float> vectors = UnitVectors(3000, kDim, 1);
  const auto index = Build(vectors, "auto");
  EXPECT_EQ(index->factory(), "Flat");
  EXPECT_EQ(index->size(), 3000);
  EXPECT_EQ(index->dim(), kDim);
  const std::vector<float> queries = UnitVectors(20, kDim, 2);
  for (int q = 0; q < 20; ++q) {
    const absl::Span<const float> query(queries.data() + q * kDim, kDim);
    for (const int64_t k : {1, 10, 150}) {  // FAISS keeps its best otherwise from 100 on
      ASSERT_OK_AND_ASSIGN(const auto candidates, index->Search(query, k, {}));
      EXPECT_EQ(Rows(candidates), ExactRows(vectors, query.data(), static_cast<size_t>(k)));
      for (size_t i = 1; i < candidates.size(); ++i) {
        EXPECT_LE(candidates[i].score, candidates[i - 1].score);
      }
    }
  }
}

TEST(CoarseIndexTest, ScoresAreInnerProducts) {
  const auto index = Build({1, 0, 0, 1, 0.6f, 0.8f}, "Flat", 2);
  ASSERT_OK_AND_ASSIGN(const auto candidates, index->Search({0, 1}, 3, {}));
  EXPECT_THAT(Rows(candidates), testing::ElementsAre(1, 2, 0));
  EXPECT_FLOAT_EQ(candidates[0].score, 1.0f);
  EXPECT_FLOAT_EQ(candidates[1].score, 0.8f);
  EXPECT_FLOAT_EQ(candidates[2].score, 0.0f);
}

TEST(CoarseIndexTest, TiesGoToTheSmallerRowAlsoAtTheEnd) {
  // Two hundred equal vectors among others, in two runs.
  std::vector<float> vectors = UnitVectors(1000, kDim, 3);
  const std::vector<float> repeated = UnitVectors(1, kDim, 4);
  for (size_t row = 300; row < 500; ++row) {
    std::copy(repeated.begin(), repeated.end(),
              vectors.begin() + static_cast<ptrdiff_t>((row < 400 ? row : row + 300) * kDim));
  }
  for (const char* factory : {"Flat", "IVF4,Flat", "SQ8"}) {
    const auto index = Build(vectors, factory);
    for (const size_t k : {1, 5, 99, 100, 101, 150, 200}) {
      ASSERT_OK_AND_ASSIGN(const auto candidates,
                           index->Search(repeated, static_cast<int64_t>(k), {.effort = 4}));
      ASSERT_EQ(candidates.size(), k) << factory;
      for (size_t i = 0; i < k; ++i) {
        ASSERT_EQ(candidates[i].row, static_cast<int64_t>(i < 100 ? 300 + i : 600 + i))
            << factory << " " << k;
      }
    }
  }
}

TEST(CoarseIndexTest, AnIndexOfEqualVectorsAnswersInOrder) {
  const auto index = Build(std::vector<float>(500, 1.0f), "Flat", 1);
  ASSERT_OK_AND_ASSIGN(const auto candidates, index->Search({1}, 3, {}));
  EXPECT_THAT(Rows(candidates), testing::ElementsAre(0, 1, 2));
}

TEST(CoarseIndexTest, GivesFewerThanAskedIfItHoldsFewer) {
  const auto index = Build(UnitVectors(3, kDim, 5), "Flat");
  const std::vector<float> query = UnitVectors(1, kDim, 6);
  EXPECT_EQ((*index->Search(query, 1'000'000'000'000, {})).size(), 3u);
  EXPECT_THAT(*index->Search(query, 0, {}), IsEmpty());
  const auto empty = Build({}, "IVF64,Flat");
  EXPECT_EQ(empty->factory(), "Flat");
  EXPECT_THAT(*empty->Search(query, 10, {}), IsEmpty());
}

TEST(CoarseIndexTest, ApproximateFormsFindMoreWithMoreEffort) {
  const std::vector<float> vectors = UnitVectors(6000, kDim, 7);
  for (const char* factory : {"IVF64,Flat", "HNSW16", "PCA12,IVF64,Flat"}) {
    const auto index = Build(vectors, factory);
    EXPECT_EQ(index->factory(), factory);
    const double low = Recall(*index, vectors, 10, 1);
    const double high = Recall(*index, vectors, 10, 64);
    EXPECT_LT(low, high) << factory;
    EXPECT_GT(Recall(*index, vectors, 10, 0), low) << factory;  // the default is above the least
    if (factory == std::string("IVF64,Flat")) {
      EXPECT_EQ(high, 1.0);
    }
    if (factory == std::string("HNSW16")) {
      EXPECT_GT(high, 0.9);
    }
  }
  // A knob that the form does not have changes nothing.
  const auto quantized = Build(vectors, "SQ8");
  EXPECT_EQ(Recall(*quantized, vectors, 10, 0), Recall(*quantized, vectors, 10, 64));
  EXPECT_GT(Recall(*quantized, vectors, 10, 0), 0.9);
}

TEST(CoarseIndexTest, EveryRecommendedFormBuildsSavesLoadsAndFinds) {
  const std::string path = FreshDirectory() + "/a.faiss";
  const std::vector<float> vectors = UnitVectors(3000, kDim, 16);
  const std::pair<const char*, bool> kForms[] = {
      {"Flat", true},        {"SQfp16", false},          {"SQ8", false},
      {"IVF32,Flat", true},  {"IVF32,SQfp16", false},    {"IVF32,SQ8", false},
      {"HNSW32", true},      {"HNSW32,Flat", true},      {"HNSW32,SQfp16", false},
      {"HNSW32,SQ8", false}, {"IVF32_HNSW16,Flat", true}};
  for (const auto& [factory, keeps_vectors] : kForms) {
    ASSERT_THAT(Build(vectors, factory)->Save(path), IsOk());
    ASSERT_OK_AND_ASSIGN(const auto index, CoarseIndex::Load(path));
    EXPECT_EQ(index->factory(), factory);
    EXPECT_EQ(index->keeps_vectors(), keeps_vectors) << factory;
    EXPECT_GT(Recall(*index, vectors, 10, SearchEfforts(factory).back()), 0.9) << factory;
    const absl::Span<const float> first(vectors.data(), kDim);
    ASSERT_OK_AND_ASSIGN(const auto found, index->Search(first, 1, {}));
    EXPECT_EQ(Rows(found), std::vector<int64_t>{0}) << factory;
    EXPECT_NEAR(found[0].score, 1, 0.02) << factory;
  }
}

TEST(CoarseIndexTest, FewListsAreWidenedUntilThereAreEnough) {
  const std::vector<float> vectors = UnitVectors(2000, kDim, 17);
  const std::vector<float> query = UnitVectors(1, kDim, 18);
  for (const char* factory : {"IVF64,Flat", "IVF64,SQfp16", "PCA12,IVF64,Flat"}) {
    const auto index = Build(vectors, factory);
    // A list holds about 31.
    for (const int64_t k : {1, 100, 500, 1999, 2000}) {
      ASSERT_OK_AND_ASSIGN(const auto candidates, index->Search(query, k, {.effort = 1}));
      ASSERT_EQ(candidates.size(), static_cast<size_t>(k)) << factory;
      for (size_t i = 1; i < candidates.size(); ++i) {
        EXPECT_LE(candidates[i].score, candidates[i - 1].score);
      }
    }
  }
  const auto index = Build(vectors, "IVF64,Flat");
  // Wide enough is not widened: what one list gives is not what all lists give.
  ASSERT_OK_AND_ASSIGN(const auto narrow, index->Search(query, 10, {.effort = 1}));
  ASSERT_OK_AND_ASSIGN(const auto wide, index->Search(query, 10, {.effort = 64}));
  EXPECT_NE(Rows(narrow), Rows(wide));
  EXPECT_EQ(Rows(wide), ExactRows(vectors, query.data(), 10));
  // All lists in the end: the exact order of everything.
  ASSERT_OK_AND_ASSIGN(const auto everything, index->Search(query, 2000, {.effort = 1}));
  EXPECT_EQ(Rows(everything), ExactRows(vectors, query.data(), 2000));
}

TEST(CoarseIndexTest, EffortOfAGraphCountsBeyondTheResultsAskedFor) {
  const std::vector<float> vectors = UnitVectors(6000, kDim, 19);
  const auto index = Build(vectors, "HNSW4");  // so thin that it needs the effort
  const double low = Recall(*index, vectors, 10, 32);
  const double high = Recall(*index, vectors, 10, 512);
  EXPECT_LT(low, 0.95);
  EXPECT_GT(high, low + 0.03);
}

TEST(CoarseIndexTest, TellsTheEffortsWorthTrying) {
  using testing::ElementsAre;
  EXPECT_THAT(SearchEfforts("Flat"), ElementsAre(0));
  EXPECT_THAT(SearchEfforts("SQ8"), ElementsAre(0));
  EXPECT_THAT(SearchEfforts("IVF8,Flat"), ElementsAre(1, 2, 4, 8));
  EXPECT_THAT(SearchEfforts("IVF10,SQ8"), ElementsAre(1, 2, 4, 8, 10));
  EXPECT_THAT(SearchEfforts("PCA64,IVF4_HNSW32,Flat"), ElementsAre(1, 2, 4));
  EXPECT_THAT(SearchEfforts("HNSW32,SQ8"), ElementsAre(16, 32, 64, 128, 256, 512, 1024));
  EXPECT_THAT(SearchEfforts("IVF"), ElementsAre(0));
  EXPECT_THAT(SearchEfforts("IVF1"), ElementsAre(1));
}

TEST(CoarseIndexTest, ReportsWhatItHasAdded) {
  for (const char* factory : {"Flat", "IVF16,Flat", "HNSW4"}) {
    int64_t sum = 0;
    ASSERT_THAT(CoarseIndex::Build(
                    UnitVectors(20'000, 4, 20), 4,
                    {.factory = factory, .on_added = [&sum](int64_t added) { sum += added; }}),
                IsOk());
    EXPECT_EQ(sum, 20'000) << factory;
  }
}

TEST(CoarseIndexTest, AutoTakesListsForManyVectors) {
  constexpr int kSmallDim = 4;
  EXPECT_EQ(Build(UnitVectors(50'000, kSmallDim, 8), "auto", kSmallDim)->factory(), "Flat");
  EXPECT_EQ(Build(UnitVectors(50'001, kSmallDim, 8), "auto", kSmallDim)->factory(),
            "IVF1024,SQfp16");
}

TEST(CoarseIndexTest, RefusesBadInput) {
  const std::vector<float> vectors = UnitVectors(100, kDim, 9);
  for (const char* factory : {"", "NoSuchForm", "IVF", "IVF200,Flat",
                              "IVF99999999999999999999,Flat", "PQ7", "IDMap,Flat", "LSH"}) {
    EXPECT_THAT(CoarseIndex::Build(vectors, kDim, {.factory = factory}),
                StatusIs(kInvalid, AllOf(HasSubstr("coarse index"), HasSubstr(factory))));
  }
  EXPECT_THAT(CoarseIndex::Build(vectors, 7, {}), StatusIs(kInvalid, HasSubstr("vectors of 7")));
  EXPECT_THAT(CoarseIndex::Build(vectors, 0, {}), StatusIs(kInvalid, HasSubstr("vectors of 0")));
  std::vector<float> broken = vectors;
  broken[2 * kDim] = std::numeric_limits<float>::infinity();
  EXPECT_THAT(CoarseIndex::Build(broken, kDim, {}), StatusIs(kInvalid, HasSubstr("vector 2 ")));

  const auto index = Build(vectors, "Flat");
  EXPECT_THAT(index->Search({1, 0}, 5, {}), StatusIs(kInvalid, HasSubstr("the index has 16")));
  EXPECT_THAT(index->Search(absl::MakeSpan(vectors).first(kDim), -1, {}),
              StatusIs(kInvalid, HasSubstr("k is -1")));
  EXPECT_THAT(index->Search(absl::MakeSpan(vectors).first(kDim), 1, {.effort = -1}),
              StatusIs(kInvalid, HasSubstr("effort -1")));
  EXPECT_THAT(
      index->Search(std::vector<float>(kDim, std::numeric_limits<float>::quiet_NaN()), 5, {}),
      StatusIs(kInvalid, HasSubstr("NaN")));
}

TEST(CoarseIndexTest, ALoadedIndexAnswersAsTheSavedOne) {
  const std::string path = FreshDirectory() + "/a.faiss";
  const std::vector<float> vectors = UnitVectors(2000, kDim, 10);
  const std::vector<float> query = UnitVectors(1, kDim, 11);
  for (const char* factory : {"Flat", "IVF32,Flat", "HNSW16", "SQ8", "PCA8,IVF16,SQ8"}) {
    const auto saved = Build(vectors, factory);
    ASSERT_THAT(saved->Save(path), IsOk());
    EXPECT_FALSE(Exists(path + ".part"));
    ASSERT_OK_AND_ASSIGN(const auto loaded, CoarseIndex::Load(path));
    EXPECT_EQ(loaded->factory(), factory);
    EXPECT_EQ(loaded->size(), 2000);
    ASSERT_OK_AND_ASSIGN(const auto expected, saved->Search(query, 50, {}));
    ASSERT_OK_AND_ASSIGN(const auto found, loaded->Search(query, 50, {}));
    ASSERT_EQ(Rows(found), Rows(expected)) << factory;
    for (size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i].score, expected[i].score);
  }
}

TEST(CoarseIndexTest, TheSameVectorsGiveTheSameFile) {
  const std::string directory = FreshDirectory();
  const std::vector<float> vectors = UnitVectors(3000, kDim, 12);
  for (const char* factory : {"Flat", "IVF32,Flat", "HNSW16"}) {
    for (const char* name : {"/a", "/b"}) {
      ASSERT_THAT(Build(vectors, factory)->Save(directory + name), IsOk());
    }
    EXPECT_TRUE(ReadFile(directory + "/a") == ReadFile(directory + "/b")) << factory;
  }
}

TEST(CoarseIndexTest, RefusesEveryDamagedFile) {
  const std::string path = FreshDirectory() + "/a.faiss";
  for (const char* factory : {"Flat", "IVF4,Flat"}) {
    ASSERT_THAT(Build(UnitVectors(20, 4, 13), factory, 4)->Save(path), IsOk());
    ForEachDamage(ReadFile(path), 100, [&](const std::string& damaged, const std::string& what) {
      WriteFile(path, damaged);
      EXPECT_THAT(CoarseIndex::Load(path), StatusIs(kInvalid, HasSubstr(path))) << what;
    });
  }
  EXPECT_THAT(CoarseIndex::Load(path + "x"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(path + "x")));
  EXPECT_THAT(Build({1}, "Flat", 1)->Save(path + "/x").message(), HasSubstr(path + "/x.part"));
}

TEST(CoarseIndexTest, ThreadsSearchOneIndex) {
  const std::vector<float> vectors = UnitVectors(2000, kDim, 14);
  const std::vector<float> queries = UnitVectors(50, kDim, 15);
  for (const char* factory : {"Flat", "IVF32,Flat", "HNSW16"}) {
    const auto index = Build(vectors, factory);
    std::vector<std::vector<int64_t>> expected;
    for (size_t q = 0; q < 50; ++q) {
      expected.push_back(Rows(*index->Search({queries.data() + q * kDim, kDim}, 10, {})));
    }
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (size_t q = 0; q < 50; ++q) {
          EXPECT_EQ(Rows(*index->Search({queries.data() + q * kDim, kDim}, 10, {})), expected[q]);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
}

}  // namespace
}  // namespace dime
