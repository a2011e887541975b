// precision_benchmark: what the kernels' bfloat16 changes against the modules' float32 on a split:
// scores, order, and recall, all pairs both ways. See --help.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "index/precomputed_dataset.h"
#include "index/progress_bar.h"
#include "index/status_macros.h"
#include "model/dime/device.h"
#include "model/dime/modules_model.h"
#include "model/dime/split_scores.h"
#include "model/retrieval_metrics.h"

namespace dime {
namespace {

struct Flags {
  std::string model, data, split = "dev", scorer = "auto";
};

// The places of `count` scores, best first, ties by place.
std::vector<int64_t> Order(absl::Span<const float> scores) {
  std::vector<int64_t> order(scores.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return scores[a] > scores[b]; });
  return order;
}

// Kendall's tau-a of two orders of one set: 1 - 4 inversions / (n (n - 1)), the inversions counted
// while merging.
int64_t CountInversions(std::vector<int64_t>& values, std::vector<int64_t>& scratch, int64_t begin,
                        int64_t end) {
  if (end - begin < 2) return 0;
  const int64_t middle = (begin + end) / 2;
  int64_t count = CountInversions(values, scratch, begin, middle) +
                  CountInversions(values, scratch, middle, end);
  int64_t left = begin, right = middle;
  for (int64_t i = begin; i < end; ++i) {
    if (right == end || (left < middle && values[left] <= values[right])) {
      scratch[i] = values[left++];
    } else {
      count += middle - left;
      scratch[i] = values[right++];
    }
  }
  std::copy(scratch.begin() + begin, scratch.begin() + end, values.begin() + begin);
  return count;
}
double Tau(const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  const auto n = static_cast<int64_t>(a.size());
  std::vector<int64_t> place(n), ranks(n), scratch(n);
  for (int64_t i = 0; i < n; ++i) place[a[i]] = i;
  for (int64_t i = 0; i < n; ++i) ranks[i] = place[b[i]];
  return 1 - 4.0 * static_cast<double>(CountInversions(ranks, scratch, 0, n)) /
                 (static_cast<double>(n) * static_cast<double>(n - 1));
}

struct Agreement {
  double tau = 0, top_10 = 0, top_1 = 0;  // means over the queries
};
// Of the rows of two matrices.
Agreement Compare(const torch::Tensor& a, const torch::Tensor& b) {
  const torch::Tensor first = a.contiguous(), second = b.contiguous();
  const int64_t queries = a.size(0), items = a.size(1), top = std::min<int64_t>(10, items);
  Agreement mean;
  for (int64_t q = 0; q < queries; ++q) {
    const auto row = [&](const torch::Tensor& x) {
      return Order({x.data_ptr<float>() + q * items, static_cast<size_t>(items)});
    };
    const std::vector<int64_t> x = row(first), y = row(second);
    mean.tau += Tau(x, y);
    mean.top_1 += x[0] == y[0];
    double shared = 0;
    for (int64_t i = 0; i < top; ++i) {
      shared += std::find(y.begin(), y.begin() + top, x[i]) != y.begin() + top;
    }
    mean.top_10 += shared / static_cast<double>(top);
  }
  mean.tau /= static_cast<double>(queries);
  mean.top_10 *= 100 / static_cast<double>(queries);
  mean.top_1 *= 100 / static_cast<double>(queries);
  return mean;
}

RetrievalMetrics Metrics(const torch::Tensor& similarity, int captions_per_image) {
  const torch::Tensor x = similarity.contiguous();
  return ComputeMetrics({x.data_ptr<float>(), static_cast<size_t>(x.numel())}, x.size(0), x.size(1),
                        captions_per_image);
}

absl::Status Run(const Flags& flags) {
  ASSIGN_OR_RETURN(const auto model,
                   ModulesModel::Load(flags.model, {.device = "cpu", .scorer = flags.scorer}));
  ASSIGN_OR_RETURN(const auto modules,
                   ModulesModel::Load(flags.model, {.device = "cpu", .scorer = "modules"}));
  if (model->kernel_scorer() == nullptr) {
    return absl::FailedPreconditionError("this processor has none of the kernels' instructions");
  }
  ASSIGN_OR_RETURN(const auto dataset, PrecomputedDataset::Open(flags.data, flags.split));
  std::vector<Direction> directions;
  for (Direction direction : kDirections) {
    if (model->info().Has(direction)) directions.push_back(direction);
  }
  ProgressBar encoding("encoding", dataset->num_images() + dataset->num_captions());
  ASSIGN_OR_RETURN(
      const EncodedDataset encoded,
      EncodeDataset(*model, *dataset, directions, [&](int64_t n) { encoding.Advance(n); }));
  encoding.Finish();
  const int64_t pairs = dataset->num_images() * dataset->num_captions();
  ProgressBar scoring("scoring both ways", 2 * pairs * static_cast<int64_t>(directions.size()));
  const auto score = [&](const ModulesModel& by) {
    return ScorePairs(by, encoded, RowRange(0, dataset->num_images()),
                      RowRange(0, dataset->num_captions()), [&](int64_t n) { scoring.Advance(n); });
  };
  const PairTable kernels = score(*model), reference = score(*modules);
  scoring.Finish();

  std::cout << absl::StrFormat(
      "%s, split %s of %s: %d images x %d captions; %s beside the modules in float32\n\n"
      "          difference of scores   --- text to image ---    --- image to text ---\n"
      "           largest      mean         tau  top 10   top 1      tau  top 10   top 1\n",
      flags.model, flags.split, flags.data, dataset->num_images(), dataset->num_captions(),
      model->info().scorer);
  for (ScoreMode mode : kScoreModes) {
    if (!model->info().Serves(mode)) continue;
    const torch::Tensor a = kernels.OfImages(mode, 0, dataset->num_images());
    const torch::Tensor b = reference.OfImages(mode, 0, dataset->num_images());
    const torch::Tensor difference = (a - b).abs();
    const Agreement texts = Compare(a.t(), b.t()), images = Compare(a, b);
    const RetrievalMetrics found = Metrics(a, dataset->captions_per_image());
    const RetrievalMetrics expected = Metrics(b, dataset->captions_per_image());
    std::cout << absl::StrFormat(
        "%-9s %8.5f  %8.5f   %7.5f  %5.1f%%  %5.1f%%  %7.5f  %5.1f%%  %5.1f%%\n",
        ScoreModeName(mode), difference.max().item<float>(), difference.mean().item<float>(),
        texts.tau, texts.top_10, texts.top_1, images.tau, images.top_10, images.top_1);
    const auto recalls = [](const char* name, const RankMetrics& x, const RankMetrics& y) {
      std::cout << absl::StrFormat(
          "          %-14s R@1/5/10 %5.2f / %5.2f / %5.2f, against the modules' %+5.2f / %+5.2f / "
          "%+5.2f\n",
          name, x.r1, x.r5, x.r10, x.r1 - y.r1, x.r5 - y.r5, x.r10 - y.r10);
    };
    recalls("text to image", found.text_to_image, expected.text_to_image);
    recalls("image to text", found.image_to_text, expected.image_to_text);
  }
  for (Direction direction : directions) {
    const int d = static_cast<int>(direction);
    std::cout << absl::StrFormat(
        "%s: %.0f pairs/s by %s, %.0f by the modules\n", DirectionName(direction),
        static_cast<double>(pairs) / absl::ToDoubleSeconds(kernels.time[d]), model->info().scorer,
        static_cast<double>(pairs) / absl::ToDoubleSeconds(reference.time[d]));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) {
  dime::KeepFreedMemory();
  dime::Flags flags;
  CLI::App app{"What scoring by the kernels changes against the modules, on all pairs of a split."};
  app.add_option("--model", flags.model, "Model folder")->required();
  app.add_option("--data", flags.data, "Folder with SPLIT_ims.npy and SPLIT_caps.txt")->required();
  app.add_option("--split", flags.split)->capture_default_str();
  app.add_option("--scorer", flags.scorer, dime::kScorerHelp)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = dime::Run(flags);
  if (!status.ok()) {
    std::cerr << "precision_benchmark: " << status.message() << "\n";
    return 1;
  }
  return 0;
}
