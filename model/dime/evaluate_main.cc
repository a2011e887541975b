// dime_evaluate: recall of a model on a split (dime-model.md, 7), of its two stages together, and
// the tuning of how they go together. See --help.
#include <algorithm>
#include <array>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "index/coarse_index.h"
#include "index/durable_file.h"
#include "index/npy_file.h"
#include "index/precomputed_dataset.h"
#include "index/progress_bar.h"
#include "index/status_macros.h"
#include "model/bound_calibrator.h"
#include "model/dime/device.h"
#include "model/dime/modules_model.h"
#include "model/dime/split_scores.h"
#include "model/fusion_tuner.h"
#include "model/query_sample.h"
#include "model/ranking_settings.h"
#include "model/rerank_gate.h"
#include "model/retrieval_metrics.h"
#include "model/two_stage_output.h"
#include "model/two_stage_report.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

// Depths told where none are asked for, those beyond the larger kind left out.
constexpr int64_t kDefaultDepths[] = {10, 20, 50, 100, 200, 500, 1000, 2000};
constexpr int64_t kTimedSearches = 50;  // of the coarse index, at each depth
constexpr int64_t kWrittenRows = 64;    // of the similarity matrix at once
constexpr std::array<Modality, 2> kTargets = {Modality::kCaption, Modality::kImage};

struct Flags {
  std::string model, data, split = "test", device = "auto", scorer = "auto", direction,
                           similarity_out, plot;
  int folds = 1;
  bool json = false, two_stage = false, tune_fusion = false;
  std::vector<int64_t> rerank_depths;
  int64_t queries = 0;  // 0 = all
  std::optional<float> fusion_weight;
};

// The model and the split, which fit each other.
struct Subject {
  std::unique_ptr<ModulesModel> model;
  std::unique_ptr<PrecomputedDataset> dataset;
};

absl::StatusOr<Subject> Open(const Flags& flags) {
  Subject subject;
  ASSIGN_OR_RETURN(subject.model, ModulesModel::Load(flags.model, {.device = flags.device,
                                                                   .scorer = flags.scorer}));
  ASSIGN_OR_RETURN(subject.dataset, PrecomputedDataset::Open(flags.data, flags.split));
  const int feature_dim = subject.model->info().feature_dim;
  if (subject.dataset->feature_dim() != feature_dim) {
    return absl::InvalidArgumentError(absl::StrCat(flags.data, ": features of split ", flags.split,
                                                   " are ", subject.dataset->feature_dim(),
                                                   " wide, the model takes ", feature_dim));
  }
  if (subject.dataset->num_captions() == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(flags.data, ": split ", flags.split, " has no captions"));
  }
  return subject;
}

// Unlike ModelInfo::DefaultMode, not swayed by ranking settings: a model is measured by one score
// before and after they are tuned.
ScoreMode ModeOf(const ModelInfo& model, const std::string& name) {
  for (ScoreMode mode : kScoreModes) {
    if (ScoreModeName(mode) == name) return mode;
  }
  if (!model.Has(Direction::kT2i)) return ScoreMode::kI2t;
  return model.Has(Direction::kI2t) ? ScoreMode::kEnsemble : ScoreMode::kT2i;
}

absl::StatusOr<std::vector<Direction>> DirectionsOf(const Flags& flags, const ModelInfo& model,
                                                    ScoreMode mode) {
  std::vector<Direction> directions;
  for (Direction direction : kDirections) {
    if (!Uses(mode, direction)) continue;
    if (!model.Has(direction)) {
      return absl::InvalidArgumentError(absl::StrCat("--direction ", ScoreModeName(mode), ": ",
                                                     flags.model, " has no ",
                                                     DirectionName(direction), " model"));
    }
    directions.push_back(direction);
  }
  return directions;
}

absl::StatusOr<EncodedDataset> Encode(const Subject& subject,
                                      const std::vector<Direction>& directions) {
  ProgressBar encoding("encoding", subject.dataset->num_images() + subject.dataset->num_captions());
  ASSIGN_OR_RETURN(EncodedDataset encoded,
                   EncodeDataset(*subject.model, *subject.dataset, directions,
                                 [&](int64_t n) { encoding.Advance(n); }));
  encoding.Finish();
  return encoded;
}

// The coarse score's share in the fused one: as asked for, else as tuned.
float FusionWeight(const Flags& flags, const ModelInfo& model, Modality target, ScoreMode mode) {
  return flags.fusion_weight.value_or(model.ranking.FusionWeight(target, mode));
}

void WarnIfRerankLoses(const Flags& flags, ScoreMode mode, double coarse, double rerank) {
  if (rerank >= coarse) return;
  std::cerr << "dime_evaluate: "
            << RerankLosesWarning(mode, coarse, rerank,
                                  absl::StrCat("measured on ", flags.split, " of ", flags.data))
            << std::endl;
}

// --- Recall of the exhaustive order ------------------------------------------------------------

// By each order of the items.
struct Orders {
  RetrievalMetrics rerank, coarse, fused;
  std::array<float, 2> fusion_weight = {};  // by the kind searched
};

nlohmann::json ToJson(const RankMetrics& metrics) {
  return {{"r1", metrics.r1},
          {"r5", metrics.r5},
          {"r10", metrics.r10},
          {"median_rank", metrics.median_rank},
          {"mean_rank", metrics.mean_rank}};
}

nlohmann::json ToJson(const RetrievalMetrics& metrics) {
  return {{"image_to_text", ToJson(metrics.image_to_text)},
          {"text_to_image", ToJson(metrics.text_to_image)},
          {"rsum", metrics.rsum()}};
}

void PrintRows(const RetrievalMetrics& metrics) {
  const auto row = [](const char* name, const RankMetrics& m) {
    std::cout << absl::StrFormat("%-15s %6.1f %6.1f %6.1f %8.1f %13.2f\n", name, m.r1, m.r5, m.r10,
                                 m.median_rank, m.mean_rank);
  };
  row("image to text", metrics.image_to_text);
  row("text to image", metrics.text_to_image);
  std::cout << absl::StrFormat("%-15s %6.1f\n", "rsum", metrics.rsum());
}

void Print(const Flags& flags, ScoreMode mode, int64_t images, int64_t captions,
           const Orders& orders) {
  const float for_images = orders.fusion_weight[static_cast<int>(Modality::kImage)];
  const float for_captions = orders.fusion_weight[static_cast<int>(Modality::kCaption)];
  if (flags.json) {
    nlohmann::json json = {{"model", flags.model}, {"data", flags.data},
                           {"split", flags.split}, {"direction", ScoreModeName(mode)},
                           {"images", images},     {"captions", captions},
                           {"folds", flags.folds}};
    json.update(ToJson(orders.rerank));
    json["coarse"] = ToJson(orders.coarse);
    json["fused"] = ToJson(orders.fused);
    json["fused"]["fusion_weight"] = {{"images", for_images}, {"captions", for_captions}};
    std::cout << json.dump(2) << "\n";
    return;
  }
  std::cout << absl::StrFormat(
      "%s, %s: %d images, %d captions%s\n\n", flags.model, ScoreModeName(mode), images, captions,
      flags.folds > 1 ? absl::StrFormat(", mean of %d folds", flags.folds) : std::string());
  std::cout << "                   R@1    R@5   R@10   median     mean rank\n";
  PrintRows(orders.rerank);
  std::cout << "\ncoarse only: the first stage's order, nothing reranked\n";
  PrintRows(orders.coarse);
  if (for_images == 0 && for_captions == 0) {
    std::cout << "\nfused: the same as the first, as no fusion weight is tuned or asked for\n";
    return;
  }
  std::cout << absl::StrFormat(
      "\nfused: the coarse score has %.0f%% where images are searched, %.0f%% where captions are\n",
      100 * for_images, 100 * for_captions);
  PrintRows(orders.fused);
}

absl::Status Evaluate(const Flags& flags) {
  ASSIGN_OR_RETURN(const Subject subject, Open(flags));
  const ModelInfo& info = subject.model->info();
  const ScoreMode mode = ModeOf(info, flags.direction);
  ASSIGN_OR_RETURN(const std::vector<Direction> directions, DirectionsOf(flags, info, mode));
  const int64_t per_fold = subject.dataset->num_images() / flags.folds;
  if (per_fold == 0) {
    return absl::InvalidArgumentError(absl::StrCat("--folds ", flags.folds, ": the split has only ",
                                                   subject.dataset->num_images(), " images"));
  }
  const int64_t captions_per_fold = per_fold * subject.dataset->captions_per_image();
  ASSIGN_OR_RETURN(const EncodedDataset encoded, Encode(subject, directions));

  Orders orders;
  for (Modality target : kTargets) {
    orders.fusion_weight[static_cast<int>(target)] = FusionWeight(flags, info, target, mode);
  }
  std::vector<RetrievalMetrics> rerank, coarse, fused;
  std::optional<PairTable> first_fold;
  ProgressBar scoring("scoring pairs", flags.folds * per_fold * captions_per_fold *
                                           static_cast<int64_t>(directions.size()));
  // A fold is scored within itself.
  for (int fold = 0; fold < flags.folds; ++fold) {
    PairTable table = ScorePairs(*subject.model, encoded, RowRange(fold * per_fold, per_fold),
                                 RowRange(fold * captions_per_fold, captions_per_fold),
                                 [&](int64_t n) { scoring.Advance(n); });
    RetrievalMetrics& by_rerank = rerank.emplace_back();
    RetrievalMetrics& by_coarse = coarse.emplace_back();
    RetrievalMetrics& by_fused = fused.emplace_back();
    for (Modality target : kTargets) {
      const bool images = target == Modality::kImage;
      TwoStageReport report(images ? per_fold : captions_per_fold,
                            {.fusion_weight = orders.fusion_weight[static_cast<int>(target)]});
      ForEachQuery(encoded, table, target, mode,
                   [&](const QueryScores& query) { report.Add(query); });
      const TwoStageReport::Summary summary = report.Summarise();
      RankMetrics RetrievalMetrics::*const direction =
          images ? &RetrievalMetrics::text_to_image : &RetrievalMetrics::image_to_text;
      by_rerank.*direction = summary.rerank;
      by_coarse.*direction = summary.coarse;
      by_fused.*direction = summary.fused;
    }
    if (fold == 0) first_fold = std::move(table);
  }
  scoring.Finish();
  orders.rerank = RetrievalMetrics::Mean(rerank);
  orders.coarse = RetrievalMetrics::Mean(coarse);
  orders.fused = RetrievalMetrics::Mean(fused);

  if (!flags.similarity_out.empty()) {
    ASSIGN_OR_RETURN(const auto writer,
                     NpyWriter::Create(flags.similarity_out, {captions_per_fold}));
    for (int64_t first = 0; first < per_fold; first += kWrittenRows) {
      const torch::Tensor rows =
          first_fold->OfImages(mode, first, std::min(kWrittenRows, per_fold - first));
      RETURN_IF_ERROR(writer->Append({rows.data_ptr<float>(), static_cast<size_t>(rows.numel())}));
    }
    RETURN_IF_ERROR(writer->Finish());
  }
  Print(flags, mode, flags.folds * per_fold, flags.folds * captions_per_fold, orders);
  WarnIfRerankLoses(flags, mode, orders.coarse.rsum(), orders.rerank.rsum());
  return absl::OkStatus();
}

// --- Two stages --------------------------------------------------------------------------------

// The pairs that searches for a kind need: all, or a sample of queries against everything.
struct Tables {
  std::vector<PairTable> tables;

  const PairTable& For(Modality target) const {
    return tables[tables.size() == 1 ? 0 : static_cast<int>(target)];
  }
  // Of scoring one pair in a mode.
  absl::Duration PerPair(ScoreMode mode) const {
    absl::Duration time;
    int64_t pairs = 0;
    for (const PairTable& table : tables) {
      pairs += table.pairs();
      for (Direction direction : kDirections) {
        if (Uses(mode, direction)) time += table.time[static_cast<int>(direction)];
      }
    }
    return time / static_cast<double>(std::max<int64_t>(pairs, 1));
  }
};

Tables Score(const Flags& flags, const Subject& subject, const EncodedDataset& encoded,
             const std::vector<Direction>& directions) {
  const PrecomputedDataset& data = *subject.dataset;
  const std::vector<int64_t> all_images = RowRange(0, data.num_images());
  const std::vector<int64_t> all_captions = RowRange(0, data.num_captions());
  std::vector<std::pair<std::vector<int64_t>, std::vector<int64_t>>> wanted;
  if (flags.queries == 0 || flags.queries >= std::max(data.num_images(), data.num_captions())) {
    wanted = {{all_images, all_captions}};
  } else {
    wanted = {
        {all_images, SampleCaptions(data.num_images(), data.captions_per_image(), flags.queries)},
        {SampleRows(data.num_images(), flags.queries), all_captions}};
  }
  int64_t pairs = 0;
  for (const auto& [images, captions] : wanted) {
    pairs += static_cast<int64_t>(images.size()) * static_cast<int64_t>(captions.size());
  }
  ProgressBar scoring("scoring pairs", pairs * static_cast<int64_t>(directions.size()));
  Tables tables;
  for (auto& [images, captions] : wanted) {
    tables.tables.push_back(ScorePairs(*subject.model, encoded, std::move(images),
                                       std::move(captions),
                                       [&](int64_t n) { scoring.Advance(n); }));
  }
  scoring.Finish();
  return tables;
}

// Mean time of a search of the flat index at each depth.
absl::StatusOr<std::vector<absl::Duration>> TimeCoarseSearch(const EncodedDataset& encoded,
                                                             Modality target,
                                                             const std::vector<int64_t>& depths) {
  const auto floats = [](const torch::Tensor& x) {
    return absl::Span<const float>(x.data_ptr<float>(), static_cast<size_t>(x.numel()));
  };
  const torch::Tensor& items = encoded.coarse(target);
  const torch::Tensor& queries = encoded.coarse(OtherModality(target));
  ASSIGN_OR_RETURN(
      const auto index,
      CoarseIndex::Build(floats(items), static_cast<int>(items.size(1)), {.factory = "Flat"}));
  const std::vector<int64_t> rows = SampleRows(queries.size(0), kTimedSearches);
  std::vector<absl::Duration> times;
  for (int64_t depth : depths) {
    RETURN_IF_ERROR(index->Search(floats(queries[0]), depth, {}).status());  // memory is touched
    const absl::Time start = absl::Now();
    for (int64_t row : rows) {
      RETURN_IF_ERROR(index->Search(floats(queries[row]), depth, {}).status());
    }
    times.push_back((absl::Now() - start) / static_cast<double>(rows.size()));
  }
  return times;
}

std::vector<int64_t> DepthsOf(const Flags& flags, const PrecomputedDataset& data) {
  std::vector<int64_t> depths = flags.rerank_depths;
  if (depths.empty()) {
    const int64_t items = std::max(data.num_images(), data.num_captions());
    for (int64_t depth : kDefaultDepths) {
      if (depths.empty() || depth < items) depths.push_back(depth);
    }
  }
  std::sort(depths.begin(), depths.end());
  depths.erase(std::unique(depths.begin(), depths.end()), depths.end());
  return depths;
}

absl::Status EvaluateTwoStages(const Flags& flags) {
  ASSIGN_OR_RETURN(const Subject subject, Open(flags));
  const ModelInfo& info = subject.model->info();
  const PrecomputedDataset& data = *subject.dataset;
  const ScoreMode mode = ModeOf(info, flags.direction);
  ASSIGN_OR_RETURN(const std::vector<Direction> directions, DirectionsOf(flags, info, mode));
  const std::vector<int64_t> depths = DepthsOf(flags, data);
  ASSIGN_OR_RETURN(const EncodedDataset encoded, Encode(subject, directions));
  const Tables tables = Score(flags, subject, encoded, directions);

  TwoStageOutput output{.model = flags.model,
                        .data = flags.data,
                        .split = flags.split,
                        .device = absl::StrCat(info.device, " (", info.scorer, ")"),
                        .mode = mode,
                        .coarse_heads = info.coarse_heads};
  double coarse = 0, rerank = 0;
  for (Modality target : kTargets) {
    TwoStageOutput::Kind& kind = output.of(target);
    kind.fusion_weight = FusionWeight(flags, info, target, mode);
    TwoStageReport report(target == Modality::kImage ? data.num_images() : data.num_captions(),
                          {.depths = depths, .fusion_weight = kind.fusion_weight});
    std::map<std::string, std::vector<int64_t>> queries_by_kind;
    int64_t number = 0;
    ForEachQuery(encoded, tables.For(target), target, mode, [&](const QueryScores& query) {
      report.Add(query);
      if (target == Modality::kImage && !data.caption_kinds().empty()) {
        queries_by_kind[data.caption_kinds()[query.row]].push_back(number);
      }
      ++number;
    });
    kind.summary = report.Summarise();
    for (const auto& [name, queries] : queries_by_kind) {
      kind.by_caption_kind.emplace_back(name, report.Summarise(queries));
    }
    ASSIGN_OR_RETURN(kind.coarse_search, TimeCoarseSearch(encoded, target, depths));
    kind.rerank_per_pair = tables.PerPair(mode);
    coarse += kind.summary.coarse.recall_sum();
    rerank += kind.summary.rerank.recall_sum();
  }
  if (!flags.plot.empty()) RETURN_IF_ERROR(WriteFileDurably(flags.plot, output.Plot()));
  std::cout << (flags.json ? output.Json() : output.Table());
  WarnIfRerankLoses(flags, mode, coarse, rerank);
  return absl::OkStatus();
}

// --- Fusion ------------------------------------------------------------------------------------

absl::Status TuneFusion(const Flags& flags) {
  ASSIGN_OR_RETURN(const Subject subject, Open(flags));
  const PrecomputedDataset& data = *subject.dataset;
  ModelInfo info = subject.model->info();
  std::vector<Direction> directions;
  for (Direction direction : kDirections) {
    if (info.Has(direction)) directions.push_back(direction);
  }
  ASSIGN_OR_RETURN(const EncodedDataset encoded, Encode(subject, directions));
  // One pass for each direction serves all modes.
  const Tables tables = Score(flags, subject, encoded, directions);

  const std::filesystem::path path = std::filesystem::absolute(flags.data).lexically_normal();
  const std::string data_name =
      path.has_filename() ? path.filename() : path.parent_path().filename();
  RankingSettings settings;
  settings.tuned_on = absl::StrCat(flags.split, " of ", data_name, ", ", data.num_images(),
                                   " images, ", data.num_captions(), " captions");
  if (tables.tables.size() > 1) {
    absl::StrAppend(&settings.tuned_on, ", ", tables.For(Modality::kImage).captions.size(),
                    " captions and ", tables.For(Modality::kCaption).images.size(),
                    " images of them as queries");
  }
  std::string rows;
  nlohmann::json modes = nlohmann::json::array();
  for (ScoreMode mode : kScoreModes) {
    if (!info.Serves(mode)) continue;
    for (Modality target : kTargets) {
      const bool images = target == Modality::kImage;
      FusionTuner tuner;
      ForEachQuery(encoded, tables.For(target), target, mode, [&](const QueryScores& query) {
        // Halves of the split as it stands, so that an image's captions, and neighbours that were
        // made alike, stay together.
        const int64_t image = images ? data.ImageOfCaption(query.row) : query.row;
        tuner.Add(query, 2 * image < data.num_images() ? 0 : 1);
      });
      const FusionTuner::Result tuned = tuner.Tune();
      BoundCalibrator calibrator(tuned.weight);
      ForEachQuery(encoded, tables.For(target), target, mode,
                   [&](const QueryScores& query) { calibrator.Add(query); });
      RankingSettings::Entry& entry = settings.of(target, mode).emplace();
      entry = {.fusion_weight = tuned.weight,
               .coarse_recall = tuned.coarse_recall,
               .rerank_recall = tuned.rerank_recall,
               .fused_recall = tuned.fused_recall,
               .bound = calibrator.Calibrate()};
      const RankingSettings::Entry::Bound bound =
          entry.bound.value_or(RankingSettings::Entry::Bound{});
      absl::StrAppendFormat(
          &rows, "%-9s %-9s %7.1f %7.1f %7.1f   %6.2f %6.2f %+8.1f %+6.1f   %.3g x coarse %+.3f\n",
          images ? "images" : "captions", ScoreModeName(mode), tuned.coarse_recall,
          tuned.rerank_recall, tuned.fused_recall, tuned.weight, tuned.best_weight,
          tuned.cross_gain[0], tuned.cross_gain[1], bound.slope, bound.intercept);
      modes.push_back({{"searched", images ? "images" : "captions"},
                       {"direction", ScoreModeName(mode)},
                       {"fusion_weight", tuned.weight},
                       {"best_weight", tuned.best_weight},
                       {"coarse_recall", tuned.coarse_recall},
                       {"rerank_recall", tuned.rerank_recall},
                       {"fused_recall", tuned.fused_recall},
                       {"cross_gain", tuned.cross_gain},
                       {"bound_slope", bound.slope},
                       {"bound_intercept", bound.intercept}});
    }
  }
  RETURN_IF_ERROR(settings.Save(flags.model));

  const std::string file = absl::StrCat(flags.model, "/", kRankingSettingsName);
  if (flags.json) {
    const nlohmann::json json = {{"model", flags.model},
                                 {"tuned_on", settings.tuned_on},
                                 {"written", file},
                                 {"modes", std::move(modes)}};
    std::cout << json.dump(2) << "\n";
  } else {
    std::cout << absl::StrFormat(
        "%s, tuned on %s\n\n"
        "                    R@1 + R@5 + R@10            weight    gain of a half's best\n"
        "searched  mode       coarse  rerank   fused    taken   best  on the other half   "
        "final score at most\n%s\n"
        "A weight is taken if its gain stands out on the half that did not choose it, both ways; "
        "else it is 0.\nWritten to %s.\n",
        flags.model, settings.tuned_on, rows, file);
  }
  info.ranking = std::move(settings);
  for (const std::string& warning : RerankWarnings(info)) {
    std::cerr << "dime_evaluate: " << warning << std::endl;
  }
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags) {
  c10::InferenceMode inference;
  if (flags.tune_fusion) return TuneFusion(flags);
  return flags.two_stage ? EvaluateTwoStages(flags) : Evaluate(flags);
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) {
  dime::KeepFreedMemory();
  dime::Flags flags;
  CLI::App app{
      "Recall at 1, 5 and 10 of a model on a split, both search directions: of DIME's scores over "
      "all pairs, of the first stage alone and of both fused; with --two-stage, against the depth "
      "of reranking; with --tune-fusion, of the weight by which both are best fused."};
  app.get_formatter()->column_width(36);
  app.add_option("--model", flags.model, "Model folder")->required();
  app.add_option("--data", flags.data, "Folder with SPLIT_ims.npy and SPLIT_caps.txt")->required();
  app.add_option("--split", flags.split)->capture_default_str();
  CLI::Option* const direction =
      app.add_option("--direction", flags.direction,
                     "Which scores: the ensemble where the model has both, unless given")
          ->check(CLI::IsMember({"i2t", "t2i", "ensemble"}));
  CLI::Option* const folds =
      app.add_option("--folds", flags.folds, "Mean over so many folds of the split; MS-COCO 1K: 5")
          ->check(CLI::Range(1, 1000000))
          ->capture_default_str();
  app.add_option("--device", flags.device, "cpu, cuda, cuda:N or auto")->capture_default_str();
  app.add_option("--scorer", flags.scorer, dime::kScorerHelp)->capture_default_str();
  app.add_flag("--json", flags.json, "Print JSON");
  CLI::Option* const similarity_out = app.add_option(
      "--similarity-out", flags.similarity_out,
      "Write the similarity matrix (images, captions) as float32 .npy; one fold only");
  CLI::Option* const fusion_weight =
      app.add_option("--fusion-weight", flags.fusion_weight,
                     "Share of the coarse score in the fused one, 0 to 1; as ranking.json says, "
                     "unless given")
          ->check(CLI::Range(0.0, 1.0));
  CLI::Option* const two_stage =
      app.add_flag("--two-stage", flags.two_stage,
                   "What reranking only the first stage's best loses, by depth")
          ->excludes(folds)
          ->excludes(similarity_out);
  app.add_option("--rerank-depth", flags.rerank_depths,
                 "Depths to tell, such as 10,20,50,100 (default: those and up to 2000)")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->needs(two_stage);
  app.add_option("--plot", flags.plot, "Write quality against depth as an SVG file")
      ->needs(two_stage);
  CLI::Option* const tune_fusion =
      app.add_flag("--tune-fusion", flags.tune_fusion,
                   "Find the weights of fusion and the bound of adaptive depth for every mode, and "
                   "write ranking.json into the model folder; on held-out data, such as dev")
          ->excludes(two_stage)
          ->excludes(folds)
          ->excludes(similarity_out)
          ->excludes(direction)
          ->excludes(fusion_weight);
  CLI::Option* const queries =
      app.add_option("--queries", flags.queries,
                     "With --two-stage or --tune-fusion: only so many captions and images as "
                     "queries, spread evenly, each against all of the split")
          ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  CLI11_PARSE(app, argc, argv);
  if (flags.folds > 1 && !flags.similarity_out.empty()) {
    std::cerr << "dime_evaluate: --similarity-out needs --folds 1\n";
    return 2;
  }
  if (queries->count() > 0 && two_stage->count() + tune_fusion->count() == 0) {
    std::cerr << "dime_evaluate: --queries needs --two-stage or --tune-fusion\n";
    return 2;
  }
  absl::Status status;
  try {
    status = dime::Run(flags);
  } catch (const c10::Error& error) {
    status = absl::InternalError(absl::StrCat("LibTorch: ", error.what_without_backtrace()));
  }
  if (!status.ok()) {
    std::cerr << "dime_evaluate: " << status.message() << "\n";
    return 1;
  }
  return 0;
}
