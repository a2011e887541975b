// dime_tune: finds the cheapest search settings that keep the exhaustive answer. See --help.
#include <algorithm>
#include <array>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "index/build_info.h"
#include "index/open_gallery.h"
#include "index/search_settings.h"
#include "index/status_macros.h"
#include "model/batching_scorer.h"
#include "model/dime_model.h"
#include "model/random_stream.h"
#include "server/pipeline/loaded_gallery.h"
#include "server/program_error.h"
#include "server/search_tuner.h"

namespace dime {
namespace {

constexpr char kProgram[] = "dime_tune";
constexpr std::array<Modality, 2> kTargets = {Modality::kImage, Modality::kCaption};

struct Flags {
  std::string model;
  std::string gallery;
  std::string device = "auto";
  std::string scorer = "auto";
  std::string kind = "both";
  std::string texts;
  std::string mode;
  double target_recall = 0.99;
  double p99_ms = 0;  // 0 = no limit
  int64_t queries = 100;
  bool json = false;
  bool best_effort = false;
  SearchTuner::Options tuner;
};

void DefineFlags(CLI::App& app, Flags& flags) {
  app.set_version_flag("--version", VersionText("dime_tune"));
  app.footer(absl::StrCat(kExitCodesHelp, " 10 no setting meets the target."));
  app.add_option("--model", flags.model, "Model directory")->required();
  app.add_option("--gallery", flags.gallery, "Gallery directory, made by dime_build_gallery")
      ->required();
  app.add_option("--target-recall", flags.target_recall,
                 "Share of the exhaustive top k that a search must keep")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--p99", flags.p99_ms, "Longest p99 of a search, one at a time, in ms")
      ->check(CLI::PositiveNumber);
  app.add_option("--k", flags.tuner.k, "Hits that are compared with the exhaustive ones")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  app.add_option("--kind", flags.kind, "What is searched: images, captions or both")
      ->check(CLI::IsMember({"images", "captions", "both"}))
      ->capture_default_str();
  app.add_option(
         "--queries", flags.queries,
         "Queries of each kind, spread over the gallery: its captions search the images, its "
         "images the captions. Each is scored against the whole gallery once")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--texts", flags.texts,
                 "File of queries, a text a line, to search the images with instead of captions");
  app.add_option("--depths", flags.tuner.depths,
                 "Rerank depths to try, separated by commas (default: k, 1.4 k, 2 k, ... up to "
                 "the whole gallery or 2000)")
      ->delimiter(',')
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("--efforts", flags.tuner.efforts,
                 "Efforts of the coarse index to try, separated by commas (default: powers of two)")
      ->delimiter(',')
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("--mode", flags.mode,
                 "Score mode to tune for: i2t, t2i or ensemble (default: the model's). "
                 "dime_server takes the settings while this is the model's default")
      ->check(CLI::IsMember({"i2t", "t2i", "ensemble"}));
  app.add_option("--device", flags.device, "cpu, cuda, cuda:N or auto")->capture_default_str();
  app.add_option("--scorer", flags.scorer, kScorerHelp)->capture_default_str();
  app.add_flag("--json", flags.json, "Print JSON instead of tables");
  app.add_flag("--best-effort", flags.best_effort,
               "Where no setting meets the target, keep the one that comes nearest");
}

// One row of each of `count` equal stretches, at a place that is random but always the same: at a
// fixed place, captions that come in kinds by their order would be judged by one kind.
std::vector<int64_t> SpreadRows(int64_t size, int64_t count) {
  count = std::min(count, size);
  std::mt19937_64 stream = MakeStream(/*seed=*/1, /*purpose=*/0, /*number=*/0);
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t first = i * size / count;
    rows.push_back(first + Below(stream, (i + 1) * size / count - first));
  }
  return rows;
}

absl::StatusOr<std::vector<Query>> ReadTexts(const std::string& path, int64_t count) {
  std::ifstream stream(path);
  if (!stream) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  std::vector<Query> queries;
  for (std::string line; static_cast<int64_t>(queries.size()) < count && getline(stream, line);) {
    const absl::string_view text = absl::StripAsciiWhitespace(line);
    if (!text.empty()) queries.push_back(TextQuery{std::string(text)});
  }
  if (queries.empty()) return absl::InvalidArgumentError(absl::StrCat(path, " holds no text"));
  return queries;
}

// Queries for items of `target`; none if there is nothing to search or nothing to ask with.
absl::StatusOr<std::vector<Query>> SampleQueries(const Flags& flags, const GalleryView& gallery,
                                                 Modality target) {
  std::vector<Query> queries;
  if (gallery.size(target) == 0) return queries;
  if (target == Modality::kImage && !flags.texts.empty()) {
    return ReadTexts(flags.texts, flags.queries);
  }
  const std::vector<int64_t> rows = gallery.ListRows(OtherModality(target));
  for (const int64_t place : SpreadRows(gallery.size(OtherModality(target)), flags.queries)) {
    const int64_t row = rows[place];
    if (target == Modality::kImage) {
      ASSIGN_OR_RETURN(CaptionRecord caption, gallery.ReadCaption(row));
      queries.push_back(TextQuery{std::move(caption.text)});
    } else {
      queries.push_back(GalleryImageQuery{.row = row});
    }
  }
  return queries;
}

// What was found for one kind searched.
struct Result {
  SearchTuner::Tuning tuning;
  size_t chosen = 0;  // place in the front
  bool meets = false;

  const TuningPoint& point() const { return tuning.front[chosen]; }
};

absl::Duration P99Limit(const Flags& flags) {
  return flags.p99_ms > 0 ? absl::Milliseconds(flags.p99_ms) : absl::InfiniteDuration();
}

Result Choose(const Flags& flags, SearchTuner::Tuning tuning) {
  Result result{.tuning = std::move(tuning)};
  const std::optional<size_t> found =
      ChoosePoint(result.tuning.front, flags.target_recall, P99Limit(flags));
  result.meets = found.has_value();
  result.chosen = result.meets ? *found : ChooseBestEffort(result.tuning.front, P99Limit(flags));
  return result;
}

double Ms(absl::Duration duration) { return absl::ToDoubleMilliseconds(duration); }

std::string EffortText(const TuningPoint& point) {
  return point.search_effort > 0 ? absl::StrCat(point.search_effort) : "-";
}

std::string Target(const Flags& flags) {
  return absl::StrFormat(
      "%g%% of the exhaustive top %d%s", 100 * flags.target_recall, flags.tuner.k,
      flags.p99_ms > 0 ? absl::StrFormat(" within a p99 of %g ms", flags.p99_ms) : "");
}

void PrintTable(const Flags& flags, const GalleryView& gallery, const Result& result) {
  const SearchTuner::Tuning& tuning = result.tuning;
  const std::string kind(ModalityName(tuning.target));
  std::cout << absl::StrFormat(
      "%ss: %d queries against %d (index %s); score mode %s, fusion weight %g; exhaustive search "
      "%.1f ms\n",
      kind, tuning.queries, gallery.size(tuning.target),
      tuning.target == Modality::kImage ? gallery.info().image_index : gallery.info().caption_index,
      std::string(ScoreModeName(flags.tuner.mode)), tuning.fusion_weight,
      Ms(tuning.exhaustive_time));
  std::cout << absl::StrFormat("  %8s %8s %8s %8s %8s %10s %10s %10s\n", "depth", "effort",
                               "recall", "+-", "pairs", "index ms", "median ms", "p99 ms");
  for (size_t i = 0; i < tuning.front.size(); ++i) {
    const TuningPoint& point = tuning.front[i];
    const bool chosen = i == result.chosen && (result.meets || flags.best_effort);
    std::cout << absl::StrFormat("%s %8d %8s %8.4f %8.4f %8.1f %10.3f %10.2f %10.2f\n",
                                 chosen ? "*" : " ", point.rerank_depth, EffortText(point),
                                 point.recall, point.recall_error, point.pairs,
                                 Ms(point.recall_time), Ms(point.median), Ms(point.p99));
  }
  const TuningPoint& point = result.point();
  if (result.meets) {
    std::cout << absl::StrFormat(
        "  * is the cheapest of %d settings that keeps %s: rerank depth %d%s\n\n", tuning.settings,
        Target(flags), point.rerank_depth,
        point.search_effort > 0 ? absl::StrCat(", search effort ", point.search_effort) : "");
  } else {
    std::cout << absl::StrFormat(
        "  none of %d settings keeps %s; nearest is depth %d, effort %s with recall %.4f and a p99 "
        "of %.2f ms\n\n",
        tuning.settings, Target(flags), point.rerank_depth, EffortText(point), point.recall,
        Ms(point.p99));
  }
}

nlohmann::ordered_json ToJson(const Flags& flags, const Result& result) {
  const auto point_json = [](const TuningPoint& point) {
    return nlohmann::ordered_json{{"rerank_depth", point.rerank_depth},
                                  {"search_effort", point.search_effort},
                                  {"recall", point.recall},
                                  {"recall_error", point.recall_error},
                                  {"pairs", point.pairs},
                                  {"index_median_ms", Ms(point.recall_time)},
                                  {"median_ms", Ms(point.median)},
                                  {"p99_ms", Ms(point.p99)}};
  };
  nlohmann::ordered_json json = {{"queries", result.tuning.queries},
                                 {"k", flags.tuner.k},
                                 {"score_mode", std::string(ScoreModeName(flags.tuner.mode))},
                                 {"fusion_weight", result.tuning.fusion_weight},
                                 {"settings_tried", result.tuning.settings},
                                 {"exhaustive_median_ms", Ms(result.tuning.exhaustive_time)},
                                 {"meets_target", result.meets},
                                 {"chosen", point_json(result.point())}};
  json["front"] = nlohmann::ordered_json::array();
  for (const TuningPoint& point : result.tuning.front) json["front"].push_back(point_json(point));
  return json;
}

SearchSettings::Entry ToEntry(const Flags& flags, const Result& result) {
  const TuningPoint& point = result.point();
  return {.rerank_depth = point.rerank_depth,
          .search_effort = point.search_effort,
          .k = flags.tuner.k,
          .recall = point.recall,
          .median_ms = Ms(point.median),
          .p99_ms = Ms(point.p99),
          .queries = result.tuning.queries,
          .mode = flags.tuner.mode,
          .fusion_weight = result.tuning.fusion_weight};
}

// Puts what was found beside what holds still of the other kind.
absl::Status Save(const Flags& flags, const GalleryView& gallery, const ModelInfo& model,
                  const std::vector<Result>& results) {
  SearchSettings settings;
  const absl::StatusOr<SearchSettings> before = SearchSettings::Load(flags.gallery);
  if (before.ok() && before->CheckFits(gallery.info().lineage, model.fingerprint).ok()) {
    settings = *before;
  }
  settings.gallery_version = gallery.info().lineage;
  settings.model_fingerprint = model.fingerprint;
  settings.measured_on = absl::StrCat(model.device, " (", model.scorer, ")");
  for (const Result& result : results) {
    settings.of(result.tuning.target) = ToEntry(flags, result);
  }
  RETURN_IF_ERROR(settings.Save(flags.gallery));
  std::cerr << "wrote " << flags.gallery << "/" << kSearchSettingsName
            << ", which dime_server takes as its defaults" << std::endl;
  return absl::OkStatus();
}

absl::StatusOr<ProgramExit> Tune(Flags flags) {
  std::cerr << "loading model " << flags.model << " ..." << std::endl;
  ASSIGN_OR_RETURN(const std::unique_ptr<DimeModel> model,
                   DimeModel::Load(flags.model, {.device = flags.device, .scorer = flags.scorer}));
  const ModelInfo& info = model->info();
  flags.tuner.mode = info.DefaultMode();
  for (const ScoreMode mode : kScoreModes) {
    if (!flags.mode.empty() && ScoreModeName(mode) == flags.mode) flags.tuner.mode = mode;
  }
  if (!info.Serves(flags.tuner.mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--mode ", flags.mode, ": model ", info.name, " lacks a direction for it"));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Gallery> opened, OpenGallery(flags.gallery, info.fingerprint));
  ASSIGN_OR_RETURN(const std::unique_ptr<LoadedGallery> loaded,
                   LoadedGallery::Create(std::move(opened), info, model->pair_scorer()));
  const std::shared_ptr<const GalleryView> view = loaded->gallery().Pin();
  const GalleryView& gallery = *view;
  BatchingScorer scorer(&model->pair_scorer(), {});
  const EncodeStage encode(&model->caption_encoder(), &model->image_encoder());
  const SearchPipeline pipeline(loaded.get(), &model->caption_encoder(), &model->image_encoder(),
                                &scorer);
  const SearchTuner tuner(&gallery, &encode, &pipeline, info, flags.tuner);

  std::vector<Result> results;
  for (const Modality target : kTargets) {
    if (flags.kind != "both" && flags.kind != absl::StrCat(ModalityName(target), "s")) continue;
    ASSIGN_OR_RETURN(const std::vector<Query> queries, SampleQueries(flags, gallery, target));
    if (queries.empty()) {
      std::cerr << "searches for " << ModalityName(target) << "s are not tuned: the gallery has "
                << (gallery.size(target) == 0
                        ? absl::StrCat("no ", ModalityName(target), "s")
                        : absl::StrCat("no ", ModalityName(OtherModality(target)),
                                       "s to search with",
                                       target == Modality::kImage ? "; give --texts" : ""))
                << std::endl;
      continue;
    }
    ASSIGN_OR_RETURN(SearchTuner::Tuning tuning, tuner.Tune(queries));
    results.push_back(Choose(flags, std::move(tuning)));
  }
  if (results.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("gallery ", flags.gallery, " gives nothing to tune with"));
  }

  nlohmann::ordered_json json = {{"target_recall", flags.target_recall}};
  if (flags.p99_ms > 0) json["p99_limit_ms"] = flags.p99_ms;
  bool all_meet = true;
  for (const Result& result : results) {
    all_meet = all_meet && result.meets;
    if (flags.json) {
      json[absl::StrCat(ModalityName(result.tuning.target), "s")] = ToJson(flags, result);
    } else {
      PrintTable(flags, gallery, result);
    }
  }
  if (flags.json) std::cout << json.dump(2) << std::endl;
  if (!all_meet && !flags.best_effort) {
    std::cerr << kProgram << ": not every kind has a setting that keeps " << Target(flags)
              << "; nothing was written. Give more --depths, a lower --target-recall, a longer "
                 "--p99, or --best-effort"
              << std::endl;
    return ProgramExit::kTargetNotMet;
  }
  if (!all_meet) {
    std::cerr << "warning: the settings kept do not all keep " << Target(flags) << std::endl;
  }
  RETURN_IF_ERROR(Save(flags, gallery, info, results));
  return ProgramExit::kOk;
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "Measures how much of the exhaustive answer two-stage search keeps at which rerank depth and "
      "effort of the coarse index, and keeps the cheapest setting that meets a target in the "
      "gallery's search_settings.json, which dime_server takes as its defaults.",
      kProgram);
  DefineFlags(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? static_cast<int>(ProgramExit::kOk)
                                : static_cast<int>(ProgramExit::kUsage);
  }
  const absl::StatusOr<ProgramExit> exit = Tune(std::move(flags));
  return exit.ok() ? static_cast<int>(*exit) : ReportError(kProgram, exit.status());
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) { return dime::Main(argc, argv); }
