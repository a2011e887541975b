// scenes_generate --out DIR [--seed N] [--train N] [--dev N] [--test N]
//
// Makes the sample world: drawn scenes in twins, five captions each, region features, and the
// truth of every caption on every scene; see README.md in this folder.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "examples/scenes/scene_painter.h"
#include "examples/scenes/sheet.h"
#include "examples/scenes/world.h"
#include "examples/scenes/world_writer.h"
#include "index/progress_bar.h"
#include "index/status_macros.h"

namespace dime::scenes {
namespace {

struct Options {
  std::string out;
  uint64_t seed = 7;
  int train = 10000;
  int dev = 500;
  int test = 1000;
  std::string png_split = "test";  // or "all", "none"
  std::string contact_sheet;       // a file; empty = none
  bool relations = false;
  int max_objects = kMaxObjects;
  bool progress = false;
};

void PrintSummary(const SplitSummary& split) {
  const auto& t2i = split.ceiling.text_to_image;
  const auto& i2t = split.ceiling.image_to_text;
  std::printf("%-5s  %6d scenes  %6d captions of %.1f words, each true of %.1f scenes\n",
              split.name.c_str(), split.scenes, split.captions, split.mean_words,
              split.mean_true_scenes);
  std::printf(
      "       ceiling R@1/5/10: text to image %.1f / %.1f / %.1f,"
      " image to text %.1f / %.1f / %.1f\n",
      t2i[0], t2i[1], t2i[2], i2t[0], i2t[1], i2t[2]);
}

// The first twins of each kind, side by side with what is said of them.
absl::Status WriteContactSheet(const std::vector<WorldEntry>& entries, const std::string& path) {
  Sheet sheet;
  sheet.columns = 2;
  const ScenePainter painter;
  for (int k = 0; k < kTwinKinds; ++k) {
    for (size_t row = 0; row + 1 < entries.size(); row += 2) {
      if (entries[row].twin_kind != static_cast<TwinKind>(k)) continue;
      for (const WorldEntry* entry : {&entries[row], &entries[row + 1]}) {
        std::vector<std::string> lines;
        for (const Caption& caption : entry->captions) lines.push_back(caption.text);
        sheet.tiles.push_back(
            {painter.Paint(entry->scene),
             entry->id + "  (twins: " + std::string(NameOf(entry->twin_kind)) + ")",
             std::move(lines)});
      }
      break;
    }
  }
  return WriteSheet(sheet, path);
}

absl::Status Run(const Options& options) {
  World::Options world_options;
  world_options.scenes.max_objects = options.max_objects;
  if (options.relations) {
    world_options.scenes.twins = TwinKind::kMirrored;
    world_options.captions.fill(CaptionKind::kRelation);
    world_options.one_caption = true;
  }
  World world(options.seed, world_options);
  ASSIGN_OR_RETURN(WorldWriter writer, WorldWriter::Create(options.out));
  std::vector<SplitSummary> summaries;
  // The test split first, so that it depends on the seed alone; see World.
  const std::pair<Split, int> splits[] = {
      {Split::kTest, options.test}, {Split::kDev, options.dev}, {Split::kTrain, options.train}};
  for (const auto& [split, scenes] : splits) {
    if (scenes == 0) continue;
    ASSIGN_OR_RETURN(const std::vector<WorldEntry> entries, world.MakeSplit(split, scenes));
    const bool with_png = options.png_split == "all" || options.png_split == NameOf(split);
    std::unique_ptr<ProgressBar> bar;
    if (options.progress) {
      bar = std::make_unique<ProgressBar>("drawing " + std::string(NameOf(split)), scenes);
    }
    ASSIGN_OR_RETURN(SplitSummary summary,
                     writer.WriteSplit(split, entries, with_png, [&](int done) {
                       if (bar != nullptr) bar->AdvanceTo(done);
                     }));
    if (bar != nullptr) bar->Finish();
    PrintSummary(summary);
    summaries.push_back(std::move(summary));
    if (!options.contact_sheet.empty() && summaries.size() == 1) {
      RETURN_IF_ERROR(WriteContactSheet(entries, options.contact_sheet));
    }
  }
  return writer.WriteSummary(options.seed, summaries);
}

}  // namespace
}  // namespace dime::scenes

int main(int argc, char** argv) {
  dime::scenes::Options options;
  CLI::App app{"Makes the sample world of drawn scenes, with captions and region features."};
  app.add_option("--out", options.out, "Directory to write to; made if it is missing")->required();
  app.add_option("--seed", options.seed, "Equal seeds and sizes give equal bytes")
      ->capture_default_str();
  app.add_option("--train", options.train, "Scenes for training; even, 0 for none")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000000));
  app.add_option("--dev", options.dev, "Scenes for validation; even, 0 for none")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000000));
  app.add_option("--test", options.test, "Scenes for the gallery and tests; even, 0 for none")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000000));
  app.add_option("--png-split", options.png_split, "The split whose pictures are written as PNG")
      ->capture_default_str()
      ->check(CLI::IsMember({"train", "dev", "test", "all", "none"}));
  app.add_option("--contact-sheet", options.contact_sheet,
                 "A PNG file for twins of each kind with their captions");
  app.add_flag(
      "--relations", options.relations,
      "A lesson in relations: mirrored twins alone, one caption a scene, of kind relation");
  app.add_option("--max-objects", options.max_objects, "Of a scene")
      ->capture_default_str()
      ->check(CLI::Range(dime::scenes::kMinObjects, dime::scenes::kMaxObjects));
  app.add_flag("--progress", options.progress, "Show a progress bar");
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = dime::scenes::Run(options); !status.ok()) {
    std::fprintf(stderr, "scenes_generate: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  return 0;
}
