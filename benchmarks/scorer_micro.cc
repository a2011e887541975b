// scorer_micro: one caption against 100 images by a model's scorers, in Google Benchmark's words.
// See --help; scorer_benchmark has the published size and the machine's own rate.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmarks/micro_fixture.h"
#include "model/dime_model.h"

namespace dime {
namespace {

constexpr int64_t kPairs = 100;
constexpr int64_t kImages = 2000;  // of which each search takes others

void Score(benchmark::State& state, const DimeModel& model, ScoreMode mode) {
  const EncodedItems caption = RandomItems(model.info(), Modality::kCaption, 1, 1);
  const EncodedItems images = RandomItems(model.info(), Modality::kImage, kImages, 2);
  const auto bank = model.pair_scorer().MakeBank(images.view());
  if (!bank.ok()) {
    state.SkipWithError(bank.status().ToString().c_str());
    return;
  }
  std::vector<int64_t> rows(kPairs);
  int64_t search = 0;
  for (auto _ : state) {
    // A stride that meets every image in turn, as candidates are scattered.
    for (int64_t& row : rows) row = search++ * 37 % kImages;
    const ScoringRequest request{
        .query = caption.view(), .bank = bank->get(), .rows = rows, .mode = mode};
    const auto scores = model.pair_scorer().Score({&request, 1});
    if (!scores.ok()) state.SkipWithError(scores.status().ToString().c_str());
    benchmark::DoNotOptimize(scores);
  }
  state.SetItemsProcessed(state.iterations() * kPairs);
  state.SetLabel(model.info().scorer);
}

void Register(const std::string& directory) {
  for (const char* scorer : {"modules", "auto"}) {
    auto loaded = DimeModel::Load(directory, {.device = "cpu", .scorer = scorer});
    if (!loaded.ok()) {
      std::cerr << "scorer_micro: " << loaded.status() << std::endl;
      std::exit(1);
    }
    // Lives as long as the benchmarks, which is to the end.
    const DimeModel* const model = loaded->release();
    for (const ScoreMode mode : kScoreModes) {
      if (!model->info().Serves(mode)) continue;
      benchmark::RegisterBenchmark(
          absl::StrCat("Score100/", ScoreModeName(mode), "/", model->info().scorer).c_str(),
          [model, mode](benchmark::State& state) { Score(state, *model, mode); })
          ->UseRealTime()
          ->Unit(benchmark::kMicrosecond);
    }
    if (model->info().scorer == "modules" && std::string(scorer) == "auto") break;
  }
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) {
  return dime::RunMicroBenchmarks(argc, argv, "One caption against 100 images.", dime::Register);
}
