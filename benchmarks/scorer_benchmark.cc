// scorer_benchmark: pairs a second of the kernels beside the modules' and beside plain matrix
// products, all in one run on all cores or on a CUDA device. A model of the published size with
// random weights, gates all open, and once more with half of the gates shut. See --help.
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "benchmarks/hardware_rates.h"
#include "index/status_macros.h"
#include "model/cuda/cuda_scorer.h"
#include "model/dime/device.h"
#include "model/dime/direction_model.h"
#include "model/dime/interaction_weights_reader.h"
#include "model/kernel_scorer.h"

namespace dime {
namespace {

using kernels::Instructions;

struct Flags {
  int regions = 36, words = 32, caption_words = 0;
  int embed_size = 256, heads = 16, feed_forward = 512, router = 512;
  int64_t pairs = 512;
  int runs = 5;
  std::string device = "cpu";
};

constexpr int64_t kModulePairs = 64;  // that the modules score in one pass, as the server has them

EncodedItems RandomItems(Modality modality, Direction direction, int64_t count, int positions,
                         int valid, int size) {
  EncodedItems items{.modality = modality, .count = count, .positions = positions};
  items.lengths.assign(count, valid);
  DirectionFeatures& part = items.directions[static_cast<int>(direction)];
  part.embed_size = size;
  const auto unit = [size](int64_t rows) {
    const torch::Tensor x = torch::randn({rows, size});
    const torch::Tensor y = (x / x.norm(2, -1, true)).contiguous();
    return std::vector<float>(y.data_ptr<float>(), y.data_ptr<float>() + y.numel());
  };
  part.local = unit(count * positions);
  part.global = unit(count);
  return items;
}

// One direction's model, a query and a gallery, and the ways to score one against the other.
class Bench {
 public:
  Bench(Direction direction, const Flags& flags, const torch::Device& device, bool shut_gates)
      : direction_(direction), flags_(flags), device_(device), caption_words_(flags.caption_words) {
    torch::manual_seed(1);
    if (caption_words_ == 0) caption_words_ = flags.words;
    DirectionConfig config;
    config.embed_size = flags.embed_size;
    config.feature_dim = 8;
    config.num_heads = flags.heads;
    config.feed_forward_size = flags.feed_forward;
    config.router_size = flags.router;
    config.lambda_softmax = direction == Direction::kI2t ? 4 : 9;
    model_ = DirectionModel(direction, config, 8);
    model_->eval();
    torch::NoGradGuard no_grad;
    if (shut_gates) {
      // Gates that differ from pair to pair, about half of them below zero.
      for (auto& parameter : model_->named_parameters()) {
        if (parameter.key().find("router.mlp.2.bias") != std::string::npos) {
          parameter.value().zero_();
        }
        if (parameter.key().find("router.mlp.2.weight") != std::string::npos) {
          parameter.value().mul_(20);
        }
      }
    }
    info_.num_regions = flags.regions;
    info_.max_words = flags.words;
    info_.directions[static_cast<int>(direction)].embed_size = flags.embed_size;
    caption_ = RandomItems(Modality::kCaption, direction, 1, flags.words, caption_words_,
                           flags.embed_size);
    images_ = RandomItems(Modality::kImage, direction, flags.pairs, flags.regions, flags.regions,
                          flags.embed_size);
    for (int64_t i = 0; i < flags.pairs; ++i) rows_.push_back(i);
    model_->to(device);
    const int64_t e = flags.embed_size;
    const auto of = [this](const EncodedItems& items) { return items.view().of(direction_); };
    const auto tensor = [&device](absl::Span<const float> values, std::vector<int64_t> shape) {
      return torch::from_blob(const_cast<float*>(values.data()), shape).to(device);
    };
    regions_ = tensor(of(images_).local, {flags.pairs, flags.regions, e});
    global_ = tensor(of(images_).global, {flags.pairs, e});
    words_ = tensor(of(caption_).local, {1, flags.words, e});
    sentence_ = tensor(of(caption_).global, {1, e});
    mask_ = (torch::arange(flags.words) < caption_words_).unsqueeze(0).to(device);
  }

  // Pairs a second of the modules, one caption against the images.
  double Modules() {
    const absl::Time start = absl::Now();
    module_scores_ = ScoreByModules();
    return flags_.pairs / absl::ToDoubleSeconds(absl::Now() - start);
  }

  void Use(Instructions instructions) {
    const InteractionWeightsReader read = ReadWeights();
    KernelScorer::Kernels kernels;
    kernels[static_cast<int>(direction_)] =
        kernels::InteractionKernel::Create(read.shape, read.weights, instructions);
    bank_ = nullptr;
    scorer_ = std::make_unique<KernelScorer>(std::move(kernels), info_, KernelScorer::Options());
    bank_ = *scorer_->MakeBank(images_.view());
  }
  absl::Status UseCuda(cuda::TileProducts products) {
    const InteractionWeightsReader read = ReadWeights();
    CudaScorer::Kernels kernels;
    ASSIGN_OR_RETURN(kernels[static_cast<int>(direction_)],
                     cuda::MakeCudaKernel(read.shape, read.weights, device_.index(), products));
    bank_ = nullptr;
    scorer_ = std::make_unique<CudaScorer>(std::move(kernels), info_);
    ASSIGN_OR_RETURN(bank_, scorer_->MakeBank(images_.view()));
    return absl::OkStatus();
  }
  // Pairs a second of the kernels, the query's preparation included.
  double Kernels() {
    const ScoringRequest request{
        .query = caption_.view(),
        .bank = bank_.get(),
        .rows = rows_,
        .mode = direction_ == Direction::kI2t ? ScoreMode::kI2t : ScoreMode::kT2i};
    const absl::Time start = absl::Now();
    const auto scores = scorer_->Score({&request, 1});
    const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
    if (!scores.ok()) {
      std::cerr << "scorer_benchmark: " << scores.status() << std::endl;
      std::exit(1);
    }
    scores_ = (*scores)[0].scores[static_cast<int>(direction_)];
    return static_cast<double>(flags_.pairs) / seconds;
  }
  // Of the last runs of both: the mean of the scores' absolute differences.
  double Difference() const {
    double sum = 0;
    for (size_t i = 0; i < scores_.size(); ++i) sum += std::abs(scores_[i] - module_scores_[i]);
    return sum / static_cast<double>(scores_.size());
  }
  double ShareSkipped() const {
    const RoutingCounts counts = scorer_->routing_counts();
    return static_cast<double>(counts.skipped) /
           static_cast<double>(std::max<int64_t>(1, counts.run + counts.skipped));
  }

 private:
  InteractionWeightsReader ReadWeights() const {
    return InteractionWeightsReader(*model_, flags_.regions, flags_.words);
  }
  std::vector<float> ScoreByModules() {
    c10::InferenceMode inference;
    std::vector<torch::Tensor> scores;
    for (int64_t first = 0; first < flags_.pairs; first += kModulePairs) {
      const int64_t size = std::min(kModulePairs, flags_.pairs - first);
      scores.push_back(model_
                           ->Score(regions_.narrow(0, first, size), global_.narrow(0, first, size),
                                   words_, sentence_, mask_)
                           .scores);
    }
    // Waits for the device.
    const torch::Tensor whole = torch::cat(scores).flatten().cpu().contiguous();
    return std::vector<float>(whole.data_ptr<float>(), whole.data_ptr<float>() + whole.numel());
  }

  const Direction direction_;
  const Flags flags_;
  const torch::Device device_;
  int caption_words_;
  DirectionModel model_{nullptr};
  ModelInfo info_;
  EncodedItems caption_, images_;
  torch::Tensor regions_, global_, words_, sentence_, mask_;  // on the device
  std::vector<int64_t> rows_;
  std::vector<float> module_scores_, scores_;
  std::unique_ptr<PairScorer> scorer_;
  std::unique_ptr<FeatureBank> bank_;
};

absl::Status Run(const Flags& flags) {
  ASSIGN_OR_RETURN(const torch::Device device, ParseDevice(flags.device));
  std::cout << absl::StrFormat(
      "E %d, %d heads, R %d, L %d, one caption against %d images, %s, median of %d runs; scores: "
      "mean "
      "difference from the modules'\n\n%-34s %10s %10s %10s %12s %9s %9s\n",
      flags.embed_size, flags.heads, flags.regions, flags.words, flags.pairs,
      device.is_cpu() ? absl::StrCat(torch::get_num_threads(), " threads") : device.str(),
      flags.runs, "", "median", "lowest", "highest", "of modules'", "skipped", "scores");
  const auto row = [](const std::string& name, const Measured& rate, double modules,
                      const std::string& skipped, const std::string& difference) {
    std::cout << absl::StrFormat("%-34s %10.0f %10.0f %10.0f %11.1fx %9s %9s\n", name, rate.median,
                                 rate.low, rate.high, rate.median / modules, skipped, difference)
              << std::flush;
  };
  for (Direction direction : kDirections) {
    for (const bool shut : {false, true}) {
      Bench bench(direction, flags, device, shut);
      const std::string name =
          absl::StrCat(DirectionName(direction), shut ? ", half of the gates shut" : "");
      const Measured modules = Measure(flags.runs, [&] { return bench.Modules(); });
      row(absl::StrCat(name, ": modules"), modules, modules.median, "-", "-");
      const auto measure = [&](const std::string& kernels_name) {
        const Measured rate = Measure(flags.runs, [&] { return bench.Kernels(); });
        row(absl::StrCat("  ", kernels_name), rate, modules.median,
            absl::StrFormat("%.1f%%", 100 * bench.ShareSkipped()),
            absl::StrFormat("%.1e", bench.Difference()));
      };
      if (device.is_cuda()) {
        for (const auto& [products, kind] : {std::pair{cuda::TileProducts::kWarps, "by warps"},
                                             {cuda::TileProducts::kWarpgroups, "by warpgroups"}}) {
          const absl::Status status = bench.UseCuda(products);
          if (absl::IsFailedPrecondition(status)) continue;  // the device has none
          RETURN_IF_ERROR(status);
          measure(kind);
        }
        continue;
      }
      for (const Instructions instructions : kernels::kAllInstructions) {
        if (!kernels::IsSupported(instructions)) continue;
        bench.Use(instructions);
        measure(kernels::InstructionsName(instructions));
      }
    }
  }
  std::cout << "\n";
  for (const auto& [type, name] :
       {std::pair{torch::kFloat32, "float32"}, std::pair{torch::kBFloat16, "bfloat16"}}) {
    // A processor without bfloat16 takes a minute for what says nothing.
    if (type == torch::kBFloat16 && device.is_cpu() &&
        !kernels::IsSupported(Instructions::kAvx512Bf16)) {
      continue;
    }
    const int64_t size = PlainProductSize(device);
    const Measured rate =
        Measure(flags.runs, [&, type = type] { return MatrixProduct(device, size, type); });
    std::cout << absl::StrFormat("plain product %d^3 %-13s %10.2f %10.2f %10.2f TFLOP/s\n", size,
                                 name, rate.median, rate.low, rate.high);
  }
  if (device.is_cuda()) {
    const Measured rate = Measure(flags.runs, [&] { return CopyGigabytes(device); });
    std::cout << absl::StrFormat("plain copy of 4 GB, read and written %9.0f %10.0f %10.0f GB/s\n",
                                 rate.median, rate.low, rate.high);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) {
  dime::Flags flags;
  CLI::App app{"Pairs a second of the kernels, of the modules, and of plain matrix products."};
  app.add_option("--device", flags.device, "cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--regions", flags.regions, "R")->capture_default_str();
  app.add_option("--words", flags.words, "L")->capture_default_str();
  app.add_option("--caption-words", flags.caption_words,
                 "Valid words of the caption (default: all L)");
  app.add_option("--embed-size", flags.embed_size, "E")->capture_default_str();
  app.add_option("--heads", flags.heads)->capture_default_str();
  app.add_option("--feed-forward", flags.feed_forward)->capture_default_str();
  app.add_option("--router", flags.router)->capture_default_str();
  app.add_option("--pairs", flags.pairs, "Images that the caption is scored against")
      ->capture_default_str();
  app.add_option("--runs", flags.runs)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = dime::Run(flags);
  if (status.ok()) return 0;
  std::cerr << "scorer_benchmark: " << status << std::endl;
  return 1;
}
