// training_benchmark: the trainer's batched step beside the modules' and beside loops over them,
// forward and backward. It checks that all of them give the same gradients. See --help.
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iostream>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "benchmarks/hardware_rates.h"
#include "model/dime/device.h"
#include "model/dime/direction_model.h"
#include "model/dime/losses.h"
#include "model/dime/tensor_ops.h"
#include "model/dime/training_step.h"

namespace dime {
namespace {

// A model's and a batch's sizes.
struct Case {
  std::string name;
  int64_t embed_size, heads, feed_forward, router, feature_dim, bert_size, words;
  int64_t pairs, group_size;  // group_size 0: all pairs of the batch
  bool pair_loop;             // whether the loop over single pairs is measured too
};

// As examples/scenes/train_sample.sh has them, and as published.
const std::vector<Case>& Cases() {
  static const std::vector<Case>* const cases = new std::vector<Case>{
      {"sample", 64, 4, 128, 32, 288, 384, 24, 24, 0, true},
      {"sample-twins", 64, 4, 128, 32, 288, 384, 24, 192, 2, false},
      {"paper", 256, 16, 512, 512, 2048, 768, 32, 32, 0, false},
  };
  return *cases;
}

constexpr int64_t kRegions = 36;

DirectionModel MakeModel(Direction direction, const Case& sizes, const torch::Device& device) {
  torch::manual_seed(1);
  DirectionConfig config;
  config.embed_size = static_cast<int>(sizes.embed_size);
  config.feature_dim = static_cast<int>(sizes.feature_dim);
  config.num_heads = static_cast<int>(sizes.heads);
  config.feed_forward_size = static_cast<int>(sizes.feed_forward);
  config.router_size = static_cast<int>(sizes.router);
  config.lambda_softmax = direction == Direction::kI2t ? 4 : 9;
  DirectionModel model(direction, config, static_cast<int>(sizes.bert_size));
  model->to(device);
  return model;
}

TrainingBatch MakeBatch(const Case& sizes, const torch::Device& device) {
  torch::manual_seed(2);
  TrainingBatch batch;
  batch.features = torch::randn({sizes.pairs, kRegions, sizes.feature_dim});
  batch.states = torch::randn({sizes.pairs, sizes.words, sizes.bert_size});
  batch.lengths = torch::randint(6, sizes.words + 1, {sizes.pairs}, torch::kLong);
  batch.pairs = sizes.pairs;
  batch.group_size = sizes.group_size;
  if (sizes.group_size != 0) {
    const int64_t n = sizes.group_size;
    batch.not_negative =
        torch::eye(n, torch::kBool).unsqueeze(0).expand({sizes.pairs / n, n, n}).contiguous();
  } else {
    batch.not_negative = torch::eye(sizes.pairs, torch::kBool);
  }
  for (torch::Tensor* tensor :
       {&batch.features, &batch.states, &batch.lengths, &batch.not_negative}) {
    *tensor = tensor->to(device);
  }
  return batch;
}

// The loss of ComputeStepLoss(), with the scores computed in calls of their own: each caption
// against the images that it is scored with, or, with `single_pairs`, each pair.
torch::Tensor LoopLoss(DirectionModelImpl& model, const TrainingBatch& batch,
                       const LossOptions& options, bool single_pairs) {
  const ImageHeadsImpl::Output images = model.image->forward(batch.features);
  const TextHeadsImpl::Output texts = model.text->forward(batch.states);
  const torch::Tensor mask =
      torch::arange(batch.states.size(1), batch.lengths.options()).unsqueeze(0) <
      batch.lengths.unsqueeze(1);
  const int64_t captions = batch.states.size(0);
  const int64_t group = batch.group_size != 0 ? batch.group_size : batch.features.size(0);
  std::vector<torch::Tensor> scores, paths;  // of each caption: (group), (group, 36)
  for (int64_t c = 0; c < captions; ++c) {
    const int64_t first = batch.group_size != 0 ? c / group * group : 0;
    const auto score = [&](int64_t begin, int64_t count) {
      return model.Score(images.regions.narrow(0, begin, count),
                         images.image.narrow(0, begin, count), texts.words.narrow(0, c, 1),
                         texts.sentence.narrow(0, c, 1), mask.narrow(0, c, 1));
    };
    if (!single_pairs) {
      const InteractionImpl::Output output = score(first, group);
      scores.push_back(output.scores);
      paths.push_back(output.path_weights);
      continue;
    }
    std::vector<torch::Tensor> own_scores, own_paths;
    for (int64_t i = first; i < first + group; ++i) {
      const InteractionImpl::Output output = score(i, 1);
      own_scores.push_back(output.scores);
      own_paths.push_back(output.path_weights);
    }
    scores.push_back(torch::cat(own_scores));
    paths.push_back(torch::cat(own_paths));
  }
  if (batch.group_size != 0) {
    const torch::Tensor blocks =
        torch::stack(scores).view({captions / group, group, group}).transpose(1, 2);
    return GroupContrastiveLoss(blocks, options.temperature, batch.not_negative);
  }
  const torch::Tensor all = torch::stack(scores, 1);       // (images, captions)
  const torch::Tensor all_paths = torch::stack(paths, 1);  // (images, captions, 36)
  const torch::Tensor rank =
      RankingLoss(all, options.margin, options.hardest_negatives, batch.not_negative);
  const torch::Tensor states = NormalizeL2(batch.states.mean(1), -1);
  const torch::Tensor mean_paths = all_paths.mean(model.direction() == Direction::kI2t ? 1 : 0);
  return rank + options.path_weight *
                    PathRegularization(model.interaction->EmbedPaths(mean_paths), states);
}

// One way to compute a step's loss.
struct Way {
  std::string name;
  bool exact;  // up to float32's rounding
  std::function<torch::Tensor(DirectionModelImpl&, const TrainingBatch&)> loss;
};

// The modules' comes first and is what gradients are held against; then the trainer's own.
std::vector<Way> Ways(const Case& sizes, const torch::Device& device, bool loops) {
  const LossOptions options;
  LossOptions by_modules;
  by_modules.fused = false;
  std::vector<Way> ways = {{"batched, by the modules", true,
                            [by_modules](DirectionModelImpl& model, const TrainingBatch& batch) {
                              return ComputeStepLoss(model, batch, by_modules).total;
                            }}};
  if (!device.is_cuda()) {
    ways.push_back({"batched, as the trainer", true,
                    [options](DirectionModelImpl& model, const TrainingBatch& batch) {
                      return ComputeStepLoss(model, batch, options).total;
                    }});
  }
  LossOptions mixed;  // the trainer's own on a GPU
  mixed.mixed_precision = true;
  ways.push_back({"batched, mixed precision", false,
                  [mixed](DirectionModelImpl& model, const TrainingBatch& batch) {
                    return ComputeStepLoss(model, batch, mixed).total;
                  }});
  if (!loops) return ways;
  ways.push_back({"caption by caption", true,
                  [options](DirectionModelImpl& model, const TrainingBatch& batch) {
                    return LoopLoss(model, batch, options, /*single_pairs=*/false);
                  }});
  if (sizes.pair_loop) {
    ways.push_back(
        {"pair by pair", true, [options](DirectionModelImpl& model, const TrainingBatch& batch) {
           return LoopLoss(model, batch, options, /*single_pairs=*/true);
         }});
  }
  return ways;
}

// A forward and a backward pass. Gives the loss.
double Step(DirectionModelImpl& model, const TrainingBatch& batch, const Way& way) {
  model.zero_grad();
  const torch::Tensor loss = way.loss(model, batch);
  loss.backward();
  return loss.item<double>();
}

std::map<std::string, torch::Tensor> Gradients(DirectionModelImpl& model) {
  std::map<std::string, torch::Tensor> gradients;
  for (const auto& parameter : model.named_parameters()) {
    if (parameter.value().grad().defined()) {
      gradients[parameter.key()] = parameter.value().grad().cpu().clone();
    }
  }
  return gradients;
}

// The largest difference over all parameters, as a share of the largest gradient of all; infinite
// if one has a gradient that the other lacks.
double Difference(const std::map<std::string, torch::Tensor>& a,
                  const std::map<std::string, torch::Tensor>& b) {
  double largest = 0, difference = 0;
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  for (const auto& [name, gradient] : a) {
    const auto other = b.find(name);
    if (other == b.end()) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, gradient.abs().max().item<double>());
    const double own = (gradient - other->second).abs().max().item<double>();
    if (!(own <= difference)) difference = own;  // NaN as well
  }
  if (!std::isfinite(largest)) return std::numeric_limits<double>::infinity();
  return largest == 0 ? difference : difference / largest;
}

// False if the ways do not agree.
bool Run(const Case& sizes, Direction direction, const torch::Device& device, int runs,
         double tolerance, bool loops) {
  DirectionModel model = MakeModel(direction, sizes, device);
  model->train();
  // By the running statistics of batch normalisation: with those of a call, a loop's scores would
  // depend on how many pairs a call has.
  for (const auto& module : model->modules()) {
    if (module->as<torch::nn::BatchNorm1d>() != nullptr) module->eval();
  }
  const TrainingBatch batch = MakeBatch(sizes, device);
  const int64_t scored =
      sizes.group_size != 0 ? sizes.pairs * sizes.group_size : sizes.pairs * sizes.pairs;

  struct Row {
    std::string name;
    std::vector<double> seconds;  // sorted
    double loss, difference;
    double median() const { return seconds[seconds.size() / 2]; }
  };
  std::vector<Row> rows;
  std::map<std::string, torch::Tensor> expected;
  for (const Way& way : Ways(sizes, device, loops)) {
    Row row{.name = way.name, .loss = Step(*model, batch, way)};  // to warm up as well
    const std::map<std::string, torch::Tensor> gradients = Gradients(*model);
    if (expected.empty()) expected = gradients;
    row.difference = Difference(expected, gradients);
    if (way.exact && !(row.difference <= tolerance)) {
      std::cerr << "training_benchmark: the gradients of '" << way.name << "' differ by "
                << row.difference << " from the modules'\n";
      return false;
    }
    for (int i = 0; i < runs; ++i) {
      const absl::Time start = absl::Now();
      Step(*model, batch, way);
      if (device.is_cuda()) torch::cuda::synchronize();
      row.seconds.push_back(absl::ToDoubleSeconds(absl::Now() - start));
    }
    std::sort(row.seconds.begin(), row.seconds.end());
    rows.push_back(std::move(row));
  }
  for (const Row& row : rows) {
    std::cout << absl::StrFormat(
                     "| %s, %s: %s | %d | %.3f | %.3f | %.3f | %.0f | %.2f | %.5f | %.1e |\n",
                     sizes.name, DirectionName(direction), row.name, scored, row.median(),
                     row.seconds.front(), row.seconds.back(),
                     static_cast<double>(scored) / row.median(), row.median() / rows[1].median(),
                     row.loss, row.difference)
              << std::flush;
  }
  return true;
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) {
  dime::KeepFreedMemory();  // as dime_train does
  int runs = 5;
  double tolerance = 1e-3;
  bool loops = true;
  std::vector<std::string> names;
  std::string device_name = "cpu";
  CLI::App app{
      "Seconds of a training step, forward and backward, of a model with random weights: the "
      "trainer's batched step, the same by the modules alone, and loops over the modules. Fails if "
      "their gradients differ."};
  app.add_option("--device", device_name, "cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--runs", runs, "Steps measured; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--tolerance", tolerance,
                 "Largest difference of gradients, as a share of the largest one")
      ->capture_default_str();
  app.add_option("--cases", names, "sample, sample-twins, paper (default: all)")->delimiter(',');
  app.add_flag("--loops,!--no-loops", loops, "Measure the loops too (default)");
  CLI11_PARSE(app, argc, argv);
  const absl::StatusOr<torch::Device> device = dime::ParseDevice(device_name);
  if (!device.ok()) {
    std::cerr << "training_benchmark: " << device.status().message() << "\n";
    return 1;
  }
  if (device->is_cpu()) dime::UseAvailableCores();
  std::cout << "One step to warm up, median of " << runs << ", "
            << (device->is_cpu() ? absl::StrCat(torch::get_num_threads(), " threads")
                                 : device->str())
            << "\n\n| step | pairs | median s | lowest | highest | pairs/s | times the trainer's "
               "step | loss | gradients differ by |\n|---|---|---|---|---|---|---|---|---|\n";
  bool agree = true;
  for (const dime::Case& sizes : dime::Cases()) {
    if (!names.empty() && std::find(names.begin(), names.end(), sizes.name) == names.end()) {
      continue;
    }
    for (const dime::Direction direction : dime::kDirections) {
      agree = dime::Run(sizes, direction, *device, runs, tolerance, loops) && agree;
    }
  }
  const int64_t size = dime::PlainProductSize(*device);
  for (const auto& [type, name] :
       {std::pair{torch::kFloat32, "float32"}, std::pair{torch::kBFloat16, "bfloat16"}}) {
    if (type == torch::kBFloat16 && device->is_cpu()) continue;
    const dime::Measured rate =
        dime::Measure(runs, [&, type = type] { return dime::MatrixProduct(*device, size, type); });
    std::cout << absl::StrFormat("\nplain product %d^3, %s: %.2f TFLOP/s (%.2f to %.2f)\n", size,
                                 name, rate.median, rate.low, rate.high);
  }
  return agree ? 0 : 1;
}
