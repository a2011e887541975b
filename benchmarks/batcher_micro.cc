// batcher_micro: what BatchingScorer costs by itself, with a scorer that costs nothing and 1 to 16
// callers of 100 pairs, in Google Benchmark's words. See --help.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "benchmarks/micro_fixture.h"
#include "model/batching_scorer.h"

namespace dime {
namespace {

constexpr int64_t kPairs = 100;

class EmptyBank : public FeatureBank {
 public:
  Modality modality() const override { return Modality::kImage; }
  int64_t count() const override { return kPairs; }
};

// Gives every pair a zero.
class IdleScorer : public PairScorer {
 public:
  absl::StatusOr<std::unique_ptr<FeatureBank>> MakeBank(const EncodedItemsView&) const override {
    return std::make_unique<EmptyBank>();
  }
  absl::StatusOr<std::vector<PairScores>> Score(
      absl::Span<const ScoringRequest> requests) const override {
    std::vector<PairScores> answers(requests.size());
    for (size_t r = 0; r < requests.size(); ++r) {
      for (std::vector<float>& scores : answers[r].scores) {
        scores.resize(requests[r].rows.size());
      }
    }
    return answers;
  }
};

void Batch(benchmark::State& state, BatchingScorer* batcher, const FeatureBank* bank) {
  std::vector<int64_t> rows(kPairs);
  for (int64_t i = 0; i < kPairs; ++i) rows[static_cast<size_t>(i)] = i;
  const ScoringRequest request{.bank = bank, .rows = rows};
  const CallContext context;
  for (auto _ : state) {
    const auto scores = batcher->Score(request, context);
    if (!scores.ok()) state.SkipWithError(scores.status().ToString().c_str());
    benchmark::DoNotOptimize(scores);
  }
  state.SetItemsProcessed(state.iterations());
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) {
  const dime::IdleScorer scorer;
  const dime::EmptyBank bank;
  dime::BatchingScorer batcher(&scorer, dime::BatchingScorer::Options());
  return dime::RunMicroBenchmarks(
      argc, argv, "The batching scorer's own cost (needs no model).",
      [&](const std::string& /*model*/) {
        benchmark::RegisterBenchmark(
            "Batch", [&](benchmark::State& state) { dime::Batch(state, &batcher, &bank); })
            ->ThreadRange(1, 16)
            ->UseRealTime()
            ->MeasureProcessCPUTime()
            ->Unit(benchmark::kMicrosecond);
      });
}
