// recall_micro: one search of the coarse index for 100 candidates, in Google Benchmark's words. See
// --help; index_benchmark compares the forms of index.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "benchmarks/clustered_vectors.h"
#include "benchmarks/micro_fixture.h"
#include "index/coarse_index.h"

namespace dime {
namespace {

constexpr int kDim = 128;  // the sample model's
constexpr int kQueries = 256;
constexpr int64_t kCandidates = 100;

struct Searched {
  ClusteredVectors vectors;
  absl::StatusOr<std::unique_ptr<CoarseIndex>> index;
};

// Made once, for the library calls a benchmark over and over.
const Searched& SearchedOf(int64_t rows) {
  static std::map<int64_t, Searched>* const made = new std::map<int64_t, Searched>;
  const auto found = made->find(rows);
  if (found != made->end()) return found->second;
  ClusteredVectors vectors = ClusteredVectors::Make(rows, kDim, kQueries, /*seed=*/1);
  auto index = CoarseIndex::Build(vectors.items, kDim, CoarseIndex::Options());
  return made->emplace(rows, Searched{std::move(vectors), std::move(index)}).first->second;
}

void Recall(benchmark::State& state) {
  const auto& [vectors, index] = SearchedOf(state.range(0));
  if (!index.ok()) {
    state.SkipWithError(index.status().ToString().c_str());
    return;
  }
  size_t query = 0;
  for (auto _ : state) {
    const auto found = (*index)->Search(
        absl::MakeConstSpan(vectors.queries).subspan(query++ % kQueries * kDim, kDim), kCandidates,
        CoarseIndex::SearchOptions());
    benchmark::DoNotOptimize(found);
  }
  state.SetItemsProcessed(state.iterations());
  state.SetLabel((*index)->factory());
}

void Register(const std::string& /*model*/) {
  benchmark::RegisterBenchmark("Recall", Recall)
      ->ArgName("rows")
      ->Arg(2'000)
      ->Arg(10'000)
      ->Arg(100'000)
      ->UseRealTime()
      ->Unit(benchmark::kMicrosecond);
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) {
  return dime::RunMicroBenchmarks(argc, argv, "Searches of the coarse index (needs no model).",
                                  dime::Register);
}
