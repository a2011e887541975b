// adaptive_depth_benchmark: what adaptive depth saves, and what it loses. See --help.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "index/file_gallery.h"
#include "index/progress_bar.h"
#include "index/status_macros.h"
#include "model/batching_scorer.h"
#include "model/dime_model.h"
#include "model/query_sample.h"
#include "server/pipeline/loaded_gallery.h"
#include "server/pipeline/search_pipeline.h"
#include "server/pipeline/stopwatch.h"
#include "server/pipeline/wave_planner.h"
#include "server/program_error.h"

namespace dime {
namespace {

constexpr char kProgram[] = "adaptive_depth_benchmark";

struct Flags {
  std::string model;
  std::string gallery;
  std::string device = "cpu";
  std::string mode;
  int64_t queries = 100;
  int top_k = 10;
  std::vector<int> depths = {50, 100, 200};
  float fusion_weight = -1;  // the model's
};

void DefineFlags(CLI::App& app, Flags& flags) {
  app.footer(
      "Each query is searched twice by the real pipeline, at full depth and adaptively, one search "
      "at a time.\nThe model needs a calibrated bound: dime_evaluate --tune-fusion makes one.");
  app.add_option("--model", flags.model, "Model directory")->required();
  app.add_option("--gallery", flags.gallery, "Gallery directory, made by dime_build_gallery")
      ->required();
  app.add_option("--queries", flags.queries,
                 "Queries of each kind, spread over the gallery: its captions search the images, "
                 "its images the captions")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--top-k", flags.top_k, "Hits of a search")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  app.add_option("--rerank-depth", flags.depths, "Full depths to try, separated by commas")
      ->delimiter(',')
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--mode", flags.mode, "i2t, t2i or ensemble (default: the model's)")
      ->check(CLI::IsMember({"i2t", "t2i", "ensemble"}));
  app.add_option("--fusion-weight", flags.fusion_weight,
                 "Share of the coarse score (default: the model's)")
      ->check(CLI::Range(0.0f, 1.0f));
  app.add_option("--device", flags.device, "cpu, cuda, cuda:N or auto")->capture_default_str();
}

std::vector<Query> SampleQueries(const FileGallery& gallery, Modality target, int64_t count) {
  const int64_t images = gallery.size(Modality::kImage);
  const int64_t captions = gallery.size(Modality::kCaption);
  std::vector<Query> queries;
  if (target == Modality::kCaption) {
    for (int64_t row : SampleRows(images, count)) queries.push_back(GalleryImageQuery{.row = row});
    return queries;
  }
  const bool groups = images > 0 && captions % images == 0;
  for (int64_t row : groups ? SampleCaptions(images, static_cast<int>(captions / images), count)
                            : SampleRows(captions, count)) {
    queries.push_back(TextQuery{gallery.caption(row).text});
  }
  return queries;
}

// Sums over the queries of one kind at one depth.
struct Comparison {
  int64_t full_pairs = 0;
  int64_t adaptive_pairs = 0;
  int64_t hits = 0;       // of the full depth
  int64_t lost_hits = 0;  // of those, missing from the adaptive answer
  int64_t lost_first = 0;
  std::vector<double> full_ms;
  std::vector<double> adaptive_ms;
};

double Median(std::vector<double> values) {
  const auto middle = values.begin() + values.size() / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

absl::StatusOr<SearchResult> TimedSearch(const GalleryView& view, const SearchPipeline& pipeline,
                                         const Query& query, const SearchOptions& options,
                                         std::vector<double>& milliseconds) {
  const Stopwatch stopwatch;
  ASSIGN_OR_RETURN(SearchResult result, pipeline.Run(view, query, options, CallContext()));
  milliseconds.push_back(absl::ToDoubleMilliseconds(stopwatch.Elapsed()));
  return result;
}

absl::StatusOr<Comparison> Compare(const GalleryView& view, const SearchPipeline& pipeline,
                                   const std::vector<Query>& queries, const SearchOptions& adaptive,
                                   absl::string_view label) {
  SearchOptions full = adaptive;
  full.score_bound.reset();
  Comparison sums;
  ProgressBar progress(std::string(label), static_cast<int64_t>(queries.size()), stderr);
  // The first search pays for what is allocated once.
  RETURN_IF_ERROR(pipeline.Run(view, queries[0], full, CallContext()).status());
  for (const Query& query : queries) {
    ASSIGN_OR_RETURN(const SearchResult all,
                     TimedSearch(view, pipeline, query, full, sums.full_ms));
    ASSIGN_OR_RETURN(const SearchResult some,
                     TimedSearch(view, pipeline, query, adaptive, sums.adaptive_ms));
    sums.full_pairs += all.reranked_count;
    sums.adaptive_pairs += some.reranked_count;
    std::set<int64_t> found;
    for (const Hit& hit : some.hits) found.insert(hit.row);
    for (const Hit& hit : all.hits) {
      ++sums.hits;
      if (!found.contains(hit.row)) ++sums.lost_hits;
    }
    if (all.hits[0].row != some.hits[0].row) ++sums.lost_first;
    progress.Advance();
  }
  progress.Finish();
  return sums;
}

absl::Status Run(const Flags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<DimeModel> model,
                   DimeModel::Load(flags.model, {.device = flags.device}));
  const ModelInfo& info = model->info();
  ASSIGN_OR_RETURN(
      std::unique_ptr<FileGallery> files,
      FileGallery::Open(flags.gallery, {.expected_model_fingerprint = info.fingerprint}));
  const FileGallery& gallery = *files;
  ASSIGN_OR_RETURN(const std::unique_ptr<LoadedGallery> loaded,
                   LoadedGallery::Create(std::move(files), info, model->pair_scorer()));
  BatchingScorer scorer(&model->pair_scorer(), {});
  const SearchPipeline pipeline(loaded.get(), &model->caption_encoder(), &model->image_encoder(),
                                &scorer);
  SearchOptions options = {.top_k = flags.top_k, .mode = info.DefaultMode()};
  for (ScoreMode mode : kScoreModes) {
    if (ScoreModeName(mode) == flags.mode) options.mode = mode;
  }
  if (!info.Serves(options.mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--mode ", flags.mode, ": ", flags.model, " lacks a direction for it"));
  }

  std::printf("%s on %s, gallery of %lld images and %lld captions, mode %s, top %d\n",
              info.name.c_str(), info.device.c_str(),
              static_cast<long long>(gallery.size(Modality::kImage)),
              static_cast<long long>(gallery.size(Modality::kCaption)),
              std::string(ScoreModeName(options.mode)).c_str(), flags.top_k);
  std::printf(
      "| searched | weight | bound | queries | depth | pairs | adaptive | saved | hits lost | "
      "first "
      "hits lost | median ms | adaptive |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n");
  for (Modality target : {Modality::kImage, Modality::kCaption}) {
    const std::vector<Query> queries = SampleQueries(gallery, target, flags.queries);
    if (queries.empty() || gallery.size(target) == 0) continue;
    options.fusion_weight = flags.fusion_weight >= 0
                                ? flags.fusion_weight
                                : info.ranking.FusionWeight(target, options.mode);
    options.score_bound = BoundAt(info.ranking.of(target, options.mode), options.fusion_weight);
    if (!options.score_bound.has_value()) {
      return absl::FailedPreconditionError(absl::StrCat(
          flags.model, "/", kRankingSettingsName, " gives no bound for ", ModalityName(target),
          "s, mode ", ScoreModeName(options.mode), ", fusion weight ", options.fusion_weight,
          "; dime_evaluate --tune-fusion makes one"));
    }
    for (int depth : flags.depths) {
      options.rerank_depth = std::max(depth, options.top_k);
      const std::string label = absl::StrCat(ModalityName(target), "s, depth ", depth);
      ASSIGN_OR_RETURN(const Comparison sums, Compare(gallery, pipeline, queries, options, label));
      const auto count = static_cast<double>(queries.size());
      std::printf(
          "| %ss | %.3g | %.3g c %+.3g | %zu | %d | %.1f | %.1f | %.1f%% | %lld of %lld | %lld | "
          "%.1f | %.1f |\n",
          std::string(ModalityName(target)).c_str(), options.fusion_weight,
          options.score_bound->slope, options.score_bound->intercept, queries.size(),
          options.rerank_depth, static_cast<double>(sums.full_pairs) / count,
          static_cast<double>(sums.adaptive_pairs) / count,
          100 - 100 * static_cast<double>(sums.adaptive_pairs) /
                    static_cast<double>(std::max<int64_t>(sums.full_pairs, 1)),
          static_cast<long long>(sums.lost_hits), static_cast<long long>(sums.hits),
          static_cast<long long>(sums.lost_first), Median(sums.full_ms), Median(sums.adaptive_ms));
      std::fflush(stdout);
    }
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Measures what adaptive depth saves and loses against full depth.", kProgram);
  DefineFlags(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? static_cast<int>(ProgramExit::kOk)
                                : static_cast<int>(ProgramExit::kUsage);
  }
  const absl::Status status = Run(flags);
  return status.ok() ? static_cast<int>(ProgramExit::kOk) : ReportError(kProgram, status);
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) { return dime::Main(argc, argv); }
