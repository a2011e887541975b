// precision_benchmark: what the rounding of the kernels changes against float32 on a split:
// scores, order, and recall, both ways. See --help.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <iterator>
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
  std::string model, data, split = "dev", scorer = "auto", against = "modules";
  int64_t fold = 0;
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
  if (n < 2) return 1;
  std::vector<int64_t> place(n), ranks(n), scratch(n);
  for (int64_t i = 0; i < n; ++i) place[a[i]] = i;
  for (int64_t i = 0; i < n; ++i) ranks[i] = place[b[i]];
  return 1 - 4.0 * static_cast<double>(CountInversions(ranks, scratch, 0, n)) /
                 (static_cast<double>(n) * static_cast<double>(n - 1));
}

// Sums over queries, whose items are ranked by the kernels and by the yardstick.
struct Agreement {
  double tau = 0, top_10 = 0, top_1 = 0;
  std::vector<int64_t> ranks, expected_ranks;  // of each query's best true item, from 0

  // The scores of some queries (queries, items); the `num_own` true items of query q begin at
  // q / queries_per_item * num_own.
  void Add(const torch::Tensor& kernels, const torch::Tensor& yardstick, int64_t queries_per_item,
           int64_t num_own) {
    const torch::Tensor first = kernels.contiguous(), second = yardstick.contiguous();
    const int64_t items = first.size(1), top = std::min<int64_t>(10, items);
    for (int64_t q = 0; q < first.size(0); ++q) {
      const auto row = [&](const torch::Tensor& scores) {
        return absl::MakeConstSpan(scores.data_ptr<float>() + q * items,
                                   static_cast<size_t>(items));
      };
      const std::vector<int64_t> x = Order(row(first)), y = Order(row(second));
      tau += Tau(x, y);
      top_1 += x[0] == y[0];
      double shared = 0;
      for (int64_t i = 0; i < top; ++i) {
        shared += std::find(y.begin(), y.begin() + top, x[i]) != y.begin() + top;
      }
      top_10 += shared / static_cast<double>(top);
      const int64_t first_own = q / queries_per_item * num_own;
      ranks.push_back(BestRank(row(first), first_own, num_own));
      expected_ranks.push_back(BestRank(row(second), first_own, num_own));
    }
  }

  int64_t queries() const { return static_cast<int64_t>(ranks.size()); }
  // How many queries find a true item in the first place by the kernels alone, or by the yardstick
  // alone: what tells a loss of recall from flips that even out.
  int64_t Gained() const { return CountAtOne(ranks, expected_ranks); }
  int64_t Lost() const { return CountAtOne(expected_ranks, ranks); }

 private:
  static int64_t CountAtOne(const std::vector<int64_t>& by, const std::vector<int64_t>& not_by) {
    int64_t count = 0;
    for (size_t i = 0; i < by.size(); ++i) count += by[i] == 0 && not_by[i] != 0;
    return count;
  }
};

struct ModeTotals {
  float largest = 0;
  double difference = 0;  // sum over the pairs
  Agreement texts, images;
};

void PrintRecalls(const char* name, const Agreement& agreement, absl::string_view yardstick) {
  const RankMetrics found = RankMetrics::FromRanks(agreement.ranks);
  const RankMetrics expected = RankMetrics::FromRanks(agreement.expected_ranks);
  std::cout << absl::StrFormat(
      "          %-14s R@1/5/10 %5.2f / %5.2f / %5.2f, against %s %+5.2f / %+5.2f / "
      "%+5.2f; first place gained by %d, lost by %d of %d\n",
      name, found.r1, found.r5, found.r10, yardstick, found.r1 - expected.r1,
      found.r5 - expected.r5, found.r10 - expected.r10, agreement.Gained(), agreement.Lost(),
      agreement.queries());
}

absl::Status Run(const Flags& flags) {
  ASSIGN_OR_RETURN(const auto model,
                   ModulesModel::Load(flags.model, {.device = "cpu", .scorer = flags.scorer}));
  ASSIGN_OR_RETURN(const auto yardstick,
                   ModulesModel::Load(flags.model, {.device = "cpu", .scorer = flags.against}));
  if (model->kernel_scorer() == nullptr) {
    return absl::FailedPreconditionError("this processor has none of the kernels' instructions");
  }
  ASSIGN_OR_RETURN(const auto dataset, PrecomputedDataset::Open(flags.data, flags.split));
  std::vector<Direction> directions;
  for (Direction direction : kDirections) {
    if (model->info().Has(direction)) directions.push_back(direction);
  }
  // Each scores what it has encoded itself.
  ProgressBar encoding("encoding", 2 * (dataset->num_images() + dataset->num_captions()));
  const auto encode = [&](const ModulesModel& by) {
    return EncodeDataset(by, *dataset, directions, [&](int64_t n) { encoding.Advance(n); });
  };
  ASSIGN_OR_RETURN(const EncodedDataset encoded, encode(*model));
  ASSIGN_OR_RETURN(const EncodedDataset reference_encoded, encode(*yardstick));
  encoding.Finish();
  const int64_t images = dataset->num_images();
  const int64_t fold = flags.fold == 0 ? images : std::min<int64_t>(flags.fold, images);
  const int64_t per_image = dataset->captions_per_image();
  int64_t pairs = 0;
  for (int64_t first = 0; first < images; first += fold) {
    const int64_t count = std::min(fold, images - first);
    pairs += count * count * per_image;
  }
  ProgressBar scoring("scoring both ways", 2 * pairs * static_cast<int64_t>(directions.size()));
  std::array<ModeTotals, std::size(kScoreModes)> totals;
  std::array<absl::Duration, kNumDirections> time{}, reference_time{};
  for (int64_t first = 0; first < images; first += fold) {
    const int64_t count = std::min(fold, images - first);
    const auto score = [&](const ModulesModel& by, const EncodedDataset& what) {
      return ScorePairs(by, what, RowRange(first, count),
                        RowRange(first * per_image, count * per_image),
                        [&](int64_t n) { scoring.Advance(n); });
    };
    const PairTable kernels = score(*model, encoded);
    const PairTable reference = score(*yardstick, reference_encoded);
    for (size_t m = 0; m < totals.size(); ++m) {
      if (!model->info().Serves(kScoreModes[m])) continue;
      const torch::Tensor a = kernels.OfImages(kScoreModes[m], 0, count);
      const torch::Tensor b = reference.OfImages(kScoreModes[m], 0, count);
      const torch::Tensor difference = (a - b).abs();
      totals[m].largest = std::max(totals[m].largest, difference.max().item<float>());
      totals[m].difference += difference.sum(torch::kFloat64).item<double>();
      totals[m].texts.Add(a.t(), b.t(), per_image, 1);
      totals[m].images.Add(a, b, 1, per_image);
    }
    for (size_t d = 0; d < time.size(); ++d) {
      time[d] += kernels.time[d];
      reference_time[d] += reference.time[d];
    }
  }
  scoring.Finish();

  std::cout << absl::StrFormat(
      "%s, split %s of %s: %d images and %d captions in folds of %d images; %s beside "
      "%s in float32\n\n"
      "          difference of scores   --- text to image ---    --- image to text ---\n"
      "           largest      mean         tau  top 10   top 1      tau  top 10   top 1\n",
      flags.model, flags.split, flags.data, images, dataset->num_captions(), fold,
      model->info().scorer, yardstick->info().scorer);
  for (size_t m = 0; m < totals.size(); ++m) {
    if (!model->info().Serves(kScoreModes[m])) continue;
    const Agreement &texts = totals[m].texts, &found = totals[m].images;
    const auto share = [](double sum, const Agreement& of) {
      return sum / static_cast<double>(of.queries());
    };
    std::cout << absl::StrFormat(
        "%-9s %8.5f  %8.5f   %7.5f  %5.1f%%  %5.1f%%  %7.5f  %5.1f%%  %5.1f%%\n",
        ScoreModeName(kScoreModes[m]), totals[m].largest,
        totals[m].difference / static_cast<double>(pairs), share(texts.tau, texts),
        share(100 * texts.top_10, texts), share(100 * texts.top_1, texts), share(found.tau, found),
        share(100 * found.top_10, found), share(100 * found.top_1, found));
    PrintRecalls("text to image", texts, yardstick->info().scorer);
    PrintRecalls("image to text", found, yardstick->info().scorer);
  }
  for (Direction direction : directions) {
    const int d = static_cast<int>(direction);
    std::cout << absl::StrFormat(
        "%s: %.0f pairs/s by %s, %.0f by %s\n", DirectionName(direction),
        static_cast<double>(pairs) / absl::ToDoubleSeconds(time[d]), model->info().scorer,
        static_cast<double>(pairs) / absl::ToDoubleSeconds(reference_time[d]),
        yardstick->info().scorer);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) {
  dime::KeepFreedMemory();
  dime::Flags flags;
  CLI::App app{
      "What encoding and scoring by the kernels change against the modules, on all pairs of a "
      "split "
      "or of each of its folds."};
  app.add_option("--model", flags.model, "Model folder")->required();
  app.add_option("--data", flags.data, "Folder with SPLIT_ims.npy and SPLIT_caps.txt")->required();
  app.add_option("--split", flags.split)->capture_default_str();
  app.add_option("--scorer", flags.scorer, dime::kScorerHelp)->capture_default_str();
  app.add_option(
         "--against", flags.against,
         "What it is held against: the modules, or a kernel in float32 (avx512, avx2), which "
         "agrees with them to 1e-5 and is several times as fast")
      ->check(CLI::IsMember({"modules", "avx512", "avx2"}))
      ->capture_default_str();
  app.add_option("--fold", flags.fold,
                 "Images in a fold, which with their captions are a gallery of their own; so "
                 "thousands can be compared (0: all are one)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = dime::Run(flags);
  if (!status.ok()) {
    std::cerr << "precision_benchmark: " << status.message() << "\n";
    return 1;
  }
  return 0;
}
