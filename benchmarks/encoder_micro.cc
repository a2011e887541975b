// encoder_micro: what encoding captions and images costs, in Google Benchmark's words. See --help.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmarks/micro_fixture.h"
#include "model/dime_model.h"
#include "model/kernels/instructions.h"

namespace dime {
namespace {

void EncodeCaptions(benchmark::State& state, const DimeModel& model, int words) {
  const int64_t batch = state.range(0);
  int64_t number = 0;
  for (auto _ : state) {
    std::vector<std::string> captions;
    for (int64_t i = 0; i < batch; ++i) captions.push_back(MicroCaption(words, number++));
    const auto items = model.caption_encoder().EncodeCaptions(captions);
    if (!items.ok()) state.SkipWithError(items.status().ToString().c_str());
    benchmark::DoNotOptimize(items);
  }
  state.SetItemsProcessed(state.iterations() * batch);
}

void EncodeImages(benchmark::State& state, const DimeModel& model) {
  const int64_t batch = state.range(0);
  const ModelInfo& info = model.info();
  std::vector<float> features(static_cast<size_t>(batch * info.num_regions * info.feature_dim));
  for (size_t i = 0; i < features.size(); ++i) {
    features[i] = static_cast<float>(i * 2654435761u % 2001) / 1000 - 1;
  }
  for (auto _ : state) {
    const auto items = model.image_encoder().EncodeImages(batch, info.num_regions, features);
    if (!items.ok()) state.SkipWithError(items.status().ToString().c_str());
    benchmark::DoNotOptimize(items);
  }
  state.SetItemsProcessed(state.iterations() * batch);
}

// By what `scorer` asks for.
void RegisterBy(const std::string& directory, const std::string& scorer) {
  auto loaded = DimeModel::Load(directory, {.device = "cpu", .scorer = scorer});
  if (!loaded.ok()) {
    std::cerr << "encoder_micro: " << loaded.status() << std::endl;
    std::exit(1);
  }
  // Lives as long as the benchmarks, which is to the end.
  const DimeModel* const model = loaded->release();
  const std::string by = model->info().scorer;
  for (const int words : {8, 20}) {
    benchmark::RegisterBenchmark(
        absl::StrCat("EncodeCaptions/", by, "/words:", words).c_str(),
        [model, words](benchmark::State& state) { EncodeCaptions(state, *model, words); })
        ->ArgName("batch")
        ->Arg(1)
        ->Arg(8)
        ->Arg(32)
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  }
  benchmark::RegisterBenchmark(absl::StrCat("EncodeImages/", by).c_str(),
                               [model](benchmark::State& state) { EncodeImages(state, *model); })
      ->ArgName("batch")
      ->Arg(1)
      ->Arg(32)
      ->UseRealTime()
      ->Unit(benchmark::kMicrosecond);
}

void Register(const std::string& directory) {
  // By the best kernels that round, by those in float32, and by the modules.
  for (const kernels::Instructions instructions : kernels::PreferredInstructions()) {
    if (kernels::OperandsOf(instructions) == kernels::Operands::kFloat32 ||
        !kernels::IsSupported(instructions)) {
      continue;
    }
    RegisterBy(directory, kernels::InstructionsName(instructions));
    break;
  }
  if (const auto instructions = kernels::SupportedFloat32(); instructions.has_value()) {
    RegisterBy(directory, kernels::InstructionsName(*instructions));
  }
  RegisterBy(directory, "modules");
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) {
  return dime::RunMicroBenchmarks(argc, argv, "Encoding of captions and images.", dime::Register);
}
