#include "benchmarks/micro_fixture.h"

#include <benchmark/benchmark.h>

#include <cmath>
#include <random>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace dime {
namespace {

std::vector<float> UnitRows(int64_t rows, int width, std::mt19937_64& random) {
  std::vector<float> values(static_cast<size_t>(rows * width));
  for (int64_t r = 0; r < rows; ++r) {
    float* const row = values.data() + r * width;
    float square = 0;
    for (int j = 0; j < width; ++j) {
      row[j] = static_cast<float>(random() >> 40) / static_cast<float>(1 << 23) - 1;
      square += row[j] * row[j];
    }
    for (int j = 0; j < width; ++j) row[j] /= std::sqrt(square);
  }
  return values;
}

}  // namespace

EncodedItems RandomItems(const ModelInfo& model, Modality modality, int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  EncodedItems items{
      .modality = modality,
      .count = count,
      .positions = modality == Modality::kImage ? model.num_regions : model.max_words,
      .coarse_dim = model.coarse_dim};
  items.lengths.assign(static_cast<size_t>(count), items.positions);
  items.coarse = UnitRows(count, model.coarse_dim, random);
  for (const Direction direction : kDirections) {
    if (!model.Has(direction)) continue;
    DirectionFeatures& features = items.directions[static_cast<size_t>(direction)];
    features.embed_size = model.directions[static_cast<size_t>(direction)].embed_size;
    features.local = UnitRows(count * items.positions, features.embed_size, random);
    features.global = UnitRows(count, features.embed_size, random);
  }
  return items;
}

std::string MicroCaption(int words, int64_t number) {
  static constexpr absl::string_view kWords[] = {"red",  "blue",   "star",  "circle", "two",
                                                 "left", "yellow", "heart", "of",     "large"};
  std::string caption = "a";
  for (int w = 1; w < words; ++w) {
    absl::StrAppend(&caption, " ", kWords[static_cast<size_t>(number * 7 + w * 3 + w / 4) % 10]);
  }
  return caption;
}

int RunMicroBenchmarks(int argc, char** argv, const char* description,
                       const std::function<void(const std::string& model)>& register_all) {
  benchmark::Initialize(&argc, argv);
  std::string model = "build/sample/model";
  CLI::App app(absl::StrCat(description,
                            " Takes the flags of Google Benchmark too (--benchmark_filter, "
                            "--benchmark_repetitions, ...)."));
  app.add_option("--model", model, "Model directory, where one is needed")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  register_all(model);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace dime
