// dime_evaluate: recall of a model on a split (dime-model.md, 7).
#include <cstdio>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "index/npy_file.h"
#include "index/precomputed_dataset.h"
#include "index/progress_bar.h"
#include "index/status_macros.h"
#include "model/dime/device.h"
#include "model/dime/network.h"
#include "model/dime/similarity.h"
#include "model/retrieval_metrics.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

struct Flags {
  std::string model, data, split = "test", device = "auto", direction, similarity_out;
  int folds = 1;
  bool json = false;
};

ScoreMode ModeOf(const Network& network, const std::string& name) {
  if (name == "i2t") return ScoreMode::kI2t;
  if (name == "t2i") return ScoreMode::kT2i;
  if (name == "ensemble") return ScoreMode::kEnsemble;
  if (!network.Has(Direction::kT2i)) return ScoreMode::kI2t;
  return network.Has(Direction::kI2t) ? ScoreMode::kEnsemble : ScoreMode::kT2i;
}

nlohmann::json ToJson(const RankMetrics& metrics) {
  return {{"r1", metrics.r1},
          {"r5", metrics.r5},
          {"r10", metrics.r10},
          {"median_rank", metrics.median_rank},
          {"mean_rank", metrics.mean_rank}};
}

void Print(const Flags& flags, ScoreMode mode, int64_t images, int64_t captions,
           const RetrievalMetrics& metrics) {
  if (flags.json) {
    const nlohmann::json json = {{"model", flags.model},
                                 {"data", flags.data},
                                 {"split", flags.split},
                                 {"direction", ScoreModeName(mode)},
                                 {"images", images},
                                 {"captions", captions},
                                 {"folds", flags.folds},
                                 {"image_to_text", ToJson(metrics.image_to_text)},
                                 {"text_to_image", ToJson(metrics.text_to_image)},
                                 {"rsum", metrics.rsum()}};
    std::cout << json.dump(2) << "\n";
    return;
  }
  std::cout << absl::StrFormat("%s, %s: %d images, %d captions%s\n\n", flags.model,
                               ScoreModeName(mode), images, captions,
                               flags.folds > 1
                                   ? absl::StrFormat(", mean of %d folds", flags.folds)
                                   : std::string());
  std::cout << "                   R@1    R@5   R@10   median     mean rank\n";
  const auto row = [](const char* name, const RankMetrics& m) {
    std::cout << absl::StrFormat("%-15s %6.1f %6.1f %6.1f %8.1f %13.2f\n", name, m.r1, m.r5, m.r10,
                                 m.median_rank, m.mean_rank);
  };
  row("image to text", metrics.image_to_text);
  row("text to image", metrics.text_to_image);
  std::cout << absl::StrFormat("%-15s %6.1f\n", "rsum", metrics.rsum());
}

absl::Status Evaluate(const Flags& flags) {
  c10::InferenceMode inference;
  ASSIGN_OR_RETURN(const torch::Device device, ParseDevice(flags.device));
  ASSIGN_OR_RETURN(const auto network, Network::Load(flags.model, device));
  ASSIGN_OR_RETURN(const auto dataset, PrecomputedDataset::Open(flags.data, flags.split));
  if (dataset->feature_dim() != network->feature_dim()) {
    return absl::InvalidArgumentError(
        absl::StrCat(flags.data, ": features of split ", flags.split, " are ",
                     dataset->feature_dim(), " wide, the model takes ", network->feature_dim()));
  }
  if (dataset->num_captions() == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(flags.data, ": split ", flags.split, " has no captions"));
  }
  const ScoreMode mode = ModeOf(*network, flags.direction);
  std::vector<Direction> directions;
  for (Direction direction : kDirections) {
    if (!Uses(mode, direction)) continue;
    if (!network->Has(direction)) {
      return absl::InvalidArgumentError(absl::StrCat("--direction ", ScoreModeName(mode), ": ",
                                                     flags.model, " has no ",
                                                     DirectionName(direction), " model"));
    }
    directions.push_back(direction);
  }
  const int64_t per_fold = dataset->num_images() / flags.folds;
  if (per_fold == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--folds ", flags.folds, ": the split has only ", dataset->num_images(),
                     " images"));
  }
  const int64_t captions_per_fold = per_fold * dataset->captions_per_image();

  // One direction at a time: only one's features are held. A fold is scored within itself.
  std::vector<torch::Tensor> similarity(flags.folds);
  for (Direction direction : directions) {
    DirectionModelImpl& model = network->direction(direction);
    ProgressBar encoding(absl::StrCat("encoding for ", DirectionName(direction)),
                         dataset->num_images() + dataset->num_captions());
    ASSIGN_OR_RETURN(
        const EncodedSplit split,
        EncodeSplit(model, network->backbone(direction), network->config().max_words, device,
                    *dataset, std::nullopt, [&](int64_t n) { encoding.Advance(n); }));
    encoding.Finish();
    ProgressBar scoring(absl::StrCat("scoring pairs, ", DirectionName(direction)),
                        flags.folds * per_fold * captions_per_fold);
    for (int fold = 0; fold < flags.folds; ++fold) {
      const torch::Tensor scores =
          Similarity(model, split, fold * per_fold, per_fold, fold * captions_per_fold,
                     captions_per_fold, [&](int64_t n) { scoring.Advance(n); });
      if (similarity[fold].defined()) {
        similarity[fold].add_(scores).div_(2);
      } else {
        similarity[fold] = scores;
      }
    }
    scoring.Finish();
  }

  std::vector<RetrievalMetrics> folds;
  for (const torch::Tensor& scores : similarity) {
    folds.push_back(
        ComputeMetrics({scores.data_ptr<float>(), static_cast<size_t>(scores.numel())}, per_fold,
                       captions_per_fold, dataset->captions_per_image()));
  }
  if (!flags.similarity_out.empty()) {
    ASSIGN_OR_RETURN(const auto writer,
                     NpyWriter::Create(flags.similarity_out, {captions_per_fold}));
    RETURN_IF_ERROR(writer->Append({similarity[0].data_ptr<float>(),
                                    static_cast<size_t>(similarity[0].numel())}));
    RETURN_IF_ERROR(writer->Finish());
  }
  Print(flags, mode, flags.folds * per_fold, flags.folds * captions_per_fold,
        RetrievalMetrics::Mean(folds));
  return absl::OkStatus();
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) {
  dime::KeepFreedMemory();
  dime::Flags flags;
  CLI::App app{"Recall at 1, 5 and 10 of a model on a split, both search directions."};
  app.get_formatter()->column_width(36);
  app.add_option("--model", flags.model, "Model folder")->required();
  app.add_option("--data", flags.data, "Folder with SPLIT_ims.npy and SPLIT_caps.txt")->required();
  app.add_option("--split", flags.split)->capture_default_str();
  app.add_option("--direction", flags.direction,
                 "Which scores: the ensemble where the model has both, unless given")
      ->check(CLI::IsMember({"i2t", "t2i", "ensemble"}));
  app.add_option("--folds", flags.folds, "Mean over so many folds of the split; MS-COCO 1K: 5")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--device", flags.device, "cpu, cuda, cuda:N or auto")->capture_default_str();
  app.add_flag("--json", flags.json, "Print JSON");
  app.add_option("--similarity-out", flags.similarity_out,
                 "Write the similarity matrix (images, captions) as float32 .npy; one fold only");
  CLI11_PARSE(app, argc, argv);
  if (flags.folds > 1 && !flags.similarity_out.empty()) {
    std::cerr << "dime_evaluate: --similarity-out needs --folds 1\n";
    return 2;
  }
  absl::Status status;
  try {
    status = dime::Evaluate(flags);
  } catch (const c10::Error& error) {
    status = absl::InternalError(absl::StrCat("LibTorch: ", error.what_without_backtrace()));
  }
  if (!status.ok()) {
    std::cerr << "dime_evaluate: " << status.message() << "\n";
    return 1;
  }
  return 0;
}
