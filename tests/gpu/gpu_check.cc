// dime_gpu_check: holds a CUDA device against the CPU on the same model and prints rates; run by
// scripts/gpu_check.sh. The modules on the device against those on the CPU; the device's kernels
// against the same ones on the emulator, which the tests hold against the modules. Exit code 0:
// everything agrees, or there is no device (it says so).
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "benchmarks/hardware_rates.h"
#include "index/status_macros.h"
#include "model/cuda/cuda_scorer.h"
#include "model/dime/device.h"
#include "model/dime/interaction_weights_reader.h"
#include "model/dime/modules_model.h"
#include "model/dime_model.h"

namespace dime {
namespace {

constexpr double kTolerance = 1e-4;  // float32 against float32, other order of summation
constexpr int kRuns = 5;

double MaxDifference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(double{a[i]} - b[i]);
    if (!(difference <= largest)) largest = difference;  // keeps a NaN
  }
  return largest;
}

// Median seconds of kRuns calls after one to warm up.
double MedianSeconds(const std::function<void()>& call) {
  call();
  std::vector<double> seconds;
  for (int i = 0; i < kRuns; ++i) {
    const auto start = std::chrono::steady_clock::now();
    call();
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[kRuns / 2];
}

// TFLOP/s of a plain matrix product in the same run: the ceiling beside which rates are read.
double MatmulTeraflops(torch::Device device, torch::ScalarType type) {
  return Measure(kRuns, [&] { return MatrixProduct(device, PlainProductSize(device), type); })
      .median;
}

struct Workload {
  std::vector<std::string> captions;
  std::vector<float> features;
  int64_t images = 0;
};

Workload MakeWorkload(const ModelInfo& info, int64_t images) {
  Workload work{.images = images};
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(0, 1);
  work.features.resize(images * info.num_regions * info.feature_dim);
  for (float& value : work.features) value = uniform(random);
  const char* words[] = {"a", "red", "blue", "cat", "dog", "on", "the", "left", "of", "two"};
  for (int i = 0; i < 16; ++i) {
    std::string caption;
    for (int k = 0; k < 3 + i; ++k) caption += std::string(words[random() % 10]) + " ";
    work.captions.push_back(caption);
  }
  return work;
}

struct Answers {
  EncodedItems captions, images;
  std::vector<PairScores> scores;  // of caption 0 to 3 against all images, with paths
  double pairs_per_second[kNumDirections] = {0, 0};
};

absl::StatusOr<Answers> Run(const DimeModel& model, const Workload& work, int64_t depth) {
  Answers answers;
  auto captions = model.caption_encoder().EncodeCaptions(work.captions);
  if (!captions.ok()) return captions.status();
  auto images =
      model.image_encoder().EncodeImages(work.images, model.info().num_regions, work.features);
  if (!images.ok()) return images.status();
  answers.captions = *std::move(captions);
  answers.images = *std::move(images);
  auto bank = model.pair_scorer().MakeBank(answers.images.view());
  if (!bank.ok()) return bank.status();
  std::vector<int64_t> rows(work.images);
  std::iota(rows.begin(), rows.end(), 0);
  std::vector<ScoringRequest> requests;
  for (int q = 0; q < 4; ++q) {
    requests.push_back({.query = answers.captions.view().Slice(q, 1),
                        .bank = bank->get(),
                        .rows = rows,
                        .mode = model.info().DefaultMode(),
                        .want_paths = true});
  }
  auto scores = model.pair_scorer().Score(requests);
  if (!scores.ok()) return scores.status();
  answers.scores = *std::move(scores);

  std::vector<int64_t> deep(depth);
  for (int64_t i = 0; i < depth; ++i) deep[i] = i % work.images;
  for (Direction direction : kDirections) {
    if (!model.info().Has(direction)) continue;
    const ScoringRequest request{
        .query = answers.captions.view().Slice(0, 1),
        .bank = bank->get(),
        .rows = deep,
        .mode = direction == Direction::kI2t ? ScoreMode::kI2t : ScoreMode::kT2i};
    const double seconds = MedianSeconds([&] { (void)model.pair_scorer().Score({&request, 1}); });
    answers.pairs_per_second[static_cast<int>(direction)] = static_cast<double>(depth) / seconds;
  }
  return answers;
}

// A scorer by make(shape, weights), which makes a direction's kernels.
template <class Make>
absl::StatusOr<std::unique_ptr<CudaScorer>> MakeScorer(const ModulesModel& model,
                                                       const Make& make) {
  CudaScorer::Kernels kernels;
  const ModelInfo& info = model.info();
  for (Direction direction : kDirections) {
    if (!info.Has(direction)) continue;
    const InteractionWeightsReader read(model.network().direction(direction), info.num_regions,
                                        info.max_words);
    ASSIGN_OR_RETURN(kernels[static_cast<int>(direction)], make(read.shape, read.weights));
  }
  return std::make_unique<CudaScorer>(std::move(kernels), info);
}

// Scores of some pairs by a scorer, by direction: captions' with each of six images, `depth` at a
// time.
absl::StatusOr<PairScores> ScoreSome(const PairScorer& scorer, const ModelInfo& info,
                                     const Answers& items, int64_t depth = 6) {
  ASSIGN_OR_RETURN(const std::unique_ptr<FeatureBank> bank,
                   scorer.MakeBank(items.images.view().Slice(0, 6)));
  PairScores all;
  for (int q = 0; q < 3; ++q) {
    std::vector<int64_t> rows(depth);
    for (int64_t i = 0; i < depth; ++i) rows[i] = i % 6;
    const ScoringRequest request{.query = items.captions.view().Slice(q, 1),
                                 .bank = bank.get(),
                                 .rows = rows,
                                 .mode = info.DefaultMode(),
                                 .want_paths = true};
    ASSIGN_OR_RETURN(const std::vector<PairScores> scores, scorer.Score({&request, 1}));
    for (int d = 0; d < kNumDirections; ++d) {
      const auto append = [](const std::vector<float>& from, std::vector<float>& to) {
        to.insert(to.end(), from.begin(), from.end());
      };
      append(scores[0].scores[d], all.scores[d]);
      append(scores[0].paths[d], all.paths[d]);
    }
  }
  return all;
}

double MeanDifference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::abs(double{a[i]} - b[i]);
  return a.empty() ? 0 : sum / static_cast<double>(a.size());
}

// The device's kernels of one kind against the emulator's, which is slow; how many comparisons
// failed.
absl::StatusOr<int> CheckKernels(const ModulesModel& reference, int device,
                                 cuda::TileProducts products, const Answers& items) {
  // Approximate exponentials and tangents, and sums in another order; a gate near its threshold
  // may turn a single pair's score further.
  constexpr double kMeanTolerance = 2e-3;
  const char* const kind = products == cuda::TileProducts::kWarps ? "warps" : "warpgroups";
  const auto made = MakeScorer(reference, [&](const auto& shape, const auto& weights) {
    return cuda::MakeCudaKernel(shape, weights, device, products);
  });
  if (absl::IsFailedPrecondition(made.status())) {
    std::printf("kernels by %s: skipped: %s\n", kind, std::string(made.status().message()).c_str());
    return 0;
  }
  RETURN_IF_ERROR(made.status());
  ASSIGN_OR_RETURN(const std::unique_ptr<CudaScorer> emulated,
                   MakeScorer(reference, [&](const auto& shape, const auto& weights) {
                     return cuda::MakeEmulatedKernel(shape, weights,
                                                     {.max_items = 8, .products = products});
                   }));
  const ModelInfo& info = reference.info();
  constexpr int64_t kDeep = 996;  // so many that tiles are large
  ASSIGN_OR_RETURN(const PairScores expected, ScoreSome(*emulated, info, items));
  ASSIGN_OR_RETURN(const PairScores actual, ScoreSome(**made, info, items));
  ASSIGN_OR_RETURN(const PairScores deep, ScoreSome(**made, info, items, kDeep));
  ASSIGN_OR_RETURN(const PairScores modules, ScoreSome(reference.modules_scorer(), info, items));
  int failures = 0;
  for (Direction direction : kDirections) {
    if (!info.Has(direction)) continue;
    const int d = static_cast<int>(direction);
    const std::string name = std::string(DirectionName(direction)) + " kernels by " + kind;
    const auto line = [&](const char* what, const std::vector<float>& a,
                          const std::vector<float>& b) {
      const double mean = MeanDifference(a, b);
      const bool agrees = mean <= kMeanTolerance;
      failures += !agrees;
      std::printf("%s, %-24s mean difference %.2e, largest %.2e  %s\n", name.c_str(), what, mean,
                  MaxDifference(a, b), agrees ? "agree" : "DIFFER");
    };
    line("scores to the emulator's", actual.scores[d], expected.scores[d]);
    line("paths to the emulator's", actual.paths[d], expected.paths[d]);
    size_t other = 0;
    for (size_t i = 0; i < deep.scores[d].size(); ++i) {
      // Row i % 6 of its caption.
      other += deep.scores[d][i] != actual.scores[d][i / kDeep * 6 + i % kDeep % 6];
    }
    failures += other > 0;
    std::printf("%s, %zu of %zu scores are other bits among %d  %s\n", name.c_str(), other,
                deep.scores[d].size(), static_cast<int>(kDeep), other == 0 ? "agree" : "DIFFER");
    std::printf("%s, %-24s mean difference %.2e, largest %.2e\n", name.c_str(),
                "scores to the modules'", MeanDifference(actual.scores[d], modules.scores[d]),
                MaxDifference(actual.scores[d], modules.scores[d]));
  }
  return failures;
}

// Both kinds.
absl::StatusOr<int> CheckKernels(const std::string& directory, int device, const Answers& items) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ModulesModel> reference,
                   ModulesModel::Load(directory, {.device = "cpu", .scorer = "modules"}));
  int failures = 0;
  for (const cuda::TileProducts products :
       {cuda::TileProducts::kWarps, cuda::TileProducts::kWarpgroups}) {
    ASSIGN_OR_RETURN(const int failed, CheckKernels(*reference, device, products, items));
    failures += failed;
  }
  return failures;
}

int Check(const std::string& directory, const std::string& device_name) {
  const auto device = ParseDevice(device_name);
  if (!device.ok() && absl::IsFailedPrecondition(device.status())) {
    std::printf("skipped: %s\n", std::string(device.status().message()).c_str());
    return 0;
  }
  auto reference = DimeModel::Load(directory, {.device = "cpu", .scorer = "modules"});
  auto model = DimeModel::Load(directory, {.device = device_name});
  for (const auto* loaded : {&reference, &model}) {
    if (!loaded->ok()) {
      std::fprintf(stderr, "%s\n", std::string(loaded->status().message()).c_str());
      return 1;
    }
  }
  const Workload work = MakeWorkload((*model)->info(), 64);
  const auto expected = Run(**reference, work, 512);
  const auto actual = Run(**model, work, (*model)->info().device == "cpu" ? 512 : 16384);
  for (const auto* answers : {&expected, &actual}) {
    if (!answers->ok()) {
      std::fprintf(stderr, "%s\n", std::string(answers->status().message()).c_str());
      return 1;
    }
  }
  int failures = 0;
  const auto compare = [&](const std::string& what, const std::vector<float>& a,
                           const std::vector<float>& b) {
    if (a.empty() && b.empty()) return;
    const double difference = MaxDifference(a, b);
    const bool agrees = difference <= kTolerance;
    failures += !agrees;
    std::printf("%-24s largest difference %.2e  %s\n", what.c_str(), difference,
                agrees ? "agrees" : "DIFFERS");
  };
  std::printf("model %s, %s against cpu\n", directory.c_str(), (*model)->info().device.c_str());
  for (Direction direction : kDirections) {
    const int d = static_cast<int>(direction);
    const std::string name(DirectionName(direction));
    compare(name + " words", actual->captions.directions[d].local,
            expected->captions.directions[d].local);
    compare(name + " sentence", actual->captions.directions[d].global,
            expected->captions.directions[d].global);
    compare(name + " regions", actual->images.directions[d].local,
            expected->images.directions[d].local);
    compare(name + " image", actual->images.directions[d].global,
            expected->images.directions[d].global);
    for (int q = 0; q < 4; ++q) {
      compare(name + " scores, query " + std::to_string(q), actual->scores[q].scores[d],
              expected->scores[q].scores[d]);
      compare(name + " paths, query " + std::to_string(q), actual->scores[q].paths[d],
              expected->scores[q].paths[d]);
    }
  }
  if ((*model)->info().device != "cpu") {
    const absl::StatusOr<int> kernels = CheckKernels(directory, device->index(), *expected);
    if (!kernels.ok()) {
      std::fprintf(stderr, "kernels: %s\n", std::string(kernels.status().message()).c_str());
      return 1;
    }
    failures += *kernels;
  }
  std::printf("\n%-28s %14s %14s\n", "median of 5", "cpu", (*model)->info().device.c_str());
  for (Direction direction : kDirections) {
    const int d = static_cast<int>(direction);
    std::printf("%-28s %14.0f %14.0f\n",
                (std::string(DirectionName(direction)) + ", pairs/s (modules)").c_str(),
                expected->pairs_per_second[d], actual->pairs_per_second[d]);
  }
  std::printf("%-28s %14.2f %14.2f\n", "matmul float32, TFLOP/s",
              MatmulTeraflops(torch::kCPU, torch::kFloat32),
              MatmulTeraflops(*device, torch::kFloat32));
  std::printf("%-28s %14.2f %14.2f\n", "matmul bfloat16, TFLOP/s",
              MatmulTeraflops(torch::kCPU, torch::kBFloat16),
              MatmulTeraflops(*device, torch::kBFloat16));
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: dime_gpu_check MODEL_DIR [DEVICE, default cuda]\n");
    return 2;
  }
  return dime::Check(argv[1], argc == 3 ? argv[2] : "cuda");
}
