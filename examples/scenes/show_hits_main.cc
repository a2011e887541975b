// scenes_show_hits --query "a red cross" --data DIR --split test --ids ID,ID,... --out hits.png
//
// Draws scenes in the order of a search's hits, with their ranks and the query above them.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "examples/scenes/scene_painter.h"
#include "examples/scenes/sheet.h"
#include "examples/scenes/split_reader.h"
#include "index/status_macros.h"

namespace dime::scenes {
namespace {

struct Options {
  std::string query;
  std::string data;
  std::string split = "test";
  std::vector<std::string> ids;
  std::string out;
  int columns = 5;
};

absl::Status Run(const Options& options) {
  ASSIGN_OR_RETURN(const std::vector<SplitEntry> entries,
                   ReadSplitEntries(options.data, options.split));
  Sheet sheet;
  sheet.title = options.query;
  sheet.columns = options.columns;
  sheet.beneath = true;
  const ScenePainter painter;
  for (const std::string& id : options.ids) {
    const auto found = std::find_if(entries.begin(), entries.end(),
                                    [&](const SplitEntry& entry) { return entry.id == id; });
    if (found == entries.end()) {
      return absl::NotFoundError(absl::StrCat("the ", options.split, " split of ", options.data,
                                              " has no scene \"", id, "\""));
    }
    sheet.tiles.push_back(
        {painter.Paint(found->scene), absl::StrCat(sheet.tiles.size() + 1, "  ", id), {}});
  }
  return WriteSheet(sheet, options.out);
}

}  // namespace
}  // namespace dime::scenes

int main(int argc, char** argv) {
  dime::scenes::Options options;
  CLI::App app{"Draws the hits of a search in the sample world."};
  app.add_option("--query", options.query, "The text to stand above the hits")->required();
  app.add_option("--data", options.data, "A world made by scenes_generate")->required();
  app.add_option("--split", options.split, "The split that the ids are of")->capture_default_str();
  app.add_option("--ids", options.ids, "Ids of the hits, best first, separated by commas")
      ->required()
      ->delimiter(',');
  app.add_option("--columns", options.columns, "Pictures in a row")
      ->capture_default_str()
      ->check(CLI::Range(1, 50));
  app.add_option("--out", options.out, "The PNG file to write")->required();
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = dime::scenes::Run(options); !status.ok()) {
    std::fprintf(stderr, "scenes_show_hits: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  return 0;
}
