// scenes_twins --data DIR --split test --similarity S.npy [--json]
//
// Reads a similarity matrix over a split of the sample world, as dime_evaluate --similarity-out
// writes it, and tells how well twins are told apart, by what they differ in and by kind of
// caption, and the recall beside the ceiling that the captions' ambiguity sets.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "examples/scenes/twin_report.h"
#include "index/npy_file.h"
#include "index/status_macros.h"

namespace dime::scenes {
namespace {

using nlohmann::ordered_json;

struct Options {
  std::string data;
  std::string split = "test";
  std::string similarity;
  bool json = false;
};

absl::StatusOr<std::vector<float>> ReadSimilarity(const std::string& path, int64_t images) {
  ASSIGN_OR_RETURN(const std::unique_ptr<NpyFile> file, NpyFile::Open(path));
  const int64_t captions = images * kCaptionKinds;
  if (file->shape() != std::vector<int64_t>{images, captions}) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is no array of ", images, " images x ", captions,
                     " captions; was it made with this --data and --split?"));
  }
  std::vector<float> similarity(static_cast<size_t>(images) * captions);
  RETURN_IF_ERROR(file->ReadRows(0, images, absl::MakeSpan(similarity)));
  return similarity;
}

ordered_json ToJson(const RankMetrics& metrics) {
  return {{"r1", metrics.r1},
          {"r5", metrics.r5},
          {"r10", metrics.r10},
          {"median_rank", metrics.median_rank},
          {"mean_rank", metrics.mean_rank}};
}

ordered_json ToJson(const std::array<double, kRecallDepths.size()>& ceiling) {
  ordered_json json;
  for (size_t d = 0; d < kRecallDepths.size(); ++d) {
    json[absl::StrCat("r", kRecallDepths[d])] = ceiling[d];
  }
  return json;
}

ordered_json ToJson(const TwinShare& share) {
  return {{"percent", share.percent()}, {"right", share.right}, {"total", share.total}};
}

ordered_json ToJson(const TwinTable& table) {
  ordered_json json;
  for (int t = 0; t < kTwinKinds; ++t) {
    const TwinKind kind = static_cast<TwinKind>(t);
    ordered_json& row = json[std::string(NameOf(kind))];
    row["all"] = ToJson(SumOverCaptionKinds(table, kind));
    for (int k = 0; k < kCaptionKinds; ++k) {
      row[std::string(NameOf(static_cast<CaptionKind>(k)))] = ToJson(table[t][k]);
    }
  }
  return json;
}

void PrintJson(const TwinReport& report) {
  ordered_json json;
  json["images"] = report.images;
  json["captions"] = report.captions;
  json["recall"] = {{"text_to_image", ToJson(report.recall.text_to_image)},
                    {"image_to_text", ToJson(report.recall.image_to_text)},
                    {"rsum", report.recall.rsum()}};
  json["ambiguity_ceiling"] = {{"text_to_image", ToJson(report.ceiling.text_to_image)},
                               {"image_to_text", ToJson(report.ceiling.image_to_text)}};
  json["top_hit_true"] = {{"text_to_image", report.top_image_true},
                          {"image_to_text", report.top_caption_true}};
  json["twins_told_apart"] = {{"from_text", ToJson(report.from_text)},
                              {"from_image", ToJson(report.from_image)}};
  std::cout << json.dump(2) << "\n";
}

void PrintRecall(const char* name, const RankMetrics& recall,
                 const std::array<double, kRecallDepths.size()>& ceiling, double top_true) {
  std::printf("%-14s %6.1f %6.1f %6.1f    %6.1f %6.1f %6.1f    %6.1f\n", name, recall.r1, recall.r5,
              recall.r10, ceiling[0], ceiling[1], ceiling[2], top_true);
}

void PrintTable(const char* title, const TwinTable& table) {
  std::printf("\n%s\n%-12s %14s", title, "", "all");
  for (int k = 0; k < kCaptionKinds; ++k) {
    std::printf(" %14s", std::string(NameOf(static_cast<CaptionKind>(k))).c_str());
  }
  std::printf("\n");
  for (int t = 0; t < kTwinKinds; ++t) {
    const TwinKind kind = static_cast<TwinKind>(t);
    std::printf("%-12s", std::string(NameOf(kind)).c_str());
    const auto print = [](const TwinShare& share) {
      const std::string text =
          share.total == 0
              ? "-"
              : absl::StrCat(static_cast<int>(share.percent() + 0.5), "% of ", share.total);
      std::printf(" %14s", text.c_str());
    };
    print(SumOverCaptionKinds(table, kind));
    for (const TwinShare& share : table[t]) print(share);
    std::printf("\n");
  }
}

void PrintText(const TwinReport& report) {
  std::printf("%lld images, %lld captions; percent\n", static_cast<long long>(report.images),
              static_cast<long long>(report.captions));
  std::printf("%-14s %20s    %20s    %s\n", "", "recall R@1   5   10", "ceiling R@1   5   10",
              "top hit true");
  PrintRecall("text to image", report.recall.text_to_image, report.ceiling.text_to_image,
              report.top_image_true);
  PrintRecall("image to text", report.recall.image_to_text, report.ceiling.image_to_text,
              report.top_caption_true);
  PrintTable("Twins told apart from a caption (its own image scores higher; chance is 50%)",
             report.from_text);
  PrintTable("Twins told apart from an image (its own caption scores higher; chance is 50%)",
             report.from_image);
}

absl::Status Run(const Options& options) {
  ASSIGN_OR_RETURN(const std::vector<SplitEntry> entries,
                   ReadSplitEntries(options.data, options.split));
  ASSIGN_OR_RETURN(const auto truth,
                   ReadTruth(options.data, options.split, static_cast<int>(entries.size())));
  ASSIGN_OR_RETURN(const std::vector<float> similarity,
                   ReadSimilarity(options.similarity, static_cast<int64_t>(entries.size())));
  ASSIGN_OR_RETURN(const TwinReport report, ReportTwins(entries, truth, similarity));
  if (options.json) {
    PrintJson(report);
  } else {
    PrintText(report);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace dime::scenes

int main(int argc, char** argv) {
  dime::scenes::Options options;
  CLI::App app{"Tells how well a model tells the sample world's twins apart."};
  app.add_option("--data", options.data, "A world made by scenes_generate")->required();
  app.add_option("--split", options.split, "The split that was evaluated")->capture_default_str();
  app.add_option("--similarity", options.similarity,
                 "(images, captions) .npy, made by dime_evaluate --similarity-out")
      ->required();
  app.add_flag("--json", options.json, "Print JSON");
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = dime::scenes::Run(options); !status.ok()) {
    std::fprintf(stderr, "scenes_twins: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  return 0;
}
