// start_benchmark: how long a server takes to be ready and what it holds, by the size of its
// gallery, file and living. See --help.
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "benchmarks/child_server.h"
#include "benchmarks/load_driver.h"
#include "benchmarks/process_usage.h"
#include "benchmarks/search_load.h"
#include "benchmarks/synthetic_gallery.h"
#include "index/status_macros.h"
#include "model/dime_model.h"

namespace dime {
namespace {

struct Flags {
  std::string server, model, directory;
  std::vector<int64_t> images = {1'000, 100'000};
  int starts = 3;
  int searches = 200;
};

constexpr double kMiB = 1024.0 * 1024.0;

int64_t BytesOnDisk(const std::string& directory) {
  int64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) bytes += static_cast<int64_t>(entry.file_size());
  }
  return bytes;
}

// Searches one after the other; the searches must succeed.
absl::Status Search(const Flags& flags, const ChildServer& server) {
  const std::shared_ptr<grpc::Channel> channel = MakeLoadChannel(server.address());
  ASSIGN_OR_RETURN(SearchQueries queries, ListTexts(channel, 100));
  v1::SearchOptions options;
  options.set_rerank_depth(100);
  const SearchLoad load(channel, std::move(queries), options);
  LoadDriver driver(
      [&load](int64_t number, absl::Time deadline, LoadDriver::Done done) {
        load.Call(number, deadline, std::move(done));
      },
      absl::Seconds(60));
  const std::vector<absl::Duration> at_once(1);
  for (int i = 0; i < flags.searches; ++i) {
    const std::vector<CallOutcome> records = driver.RunOpen(at_once);
    if (records[0].code != absl::StatusCode::kOk) {
      return absl::InternalError(
          absl::StrCat("a search failed: ", absl::StatusCodeToString(records[0].code)));
    }
  }
  return absl::OkStatus();
}

absl::Status Measure(const Flags& flags, const ModelInfo& model, bool living, int64_t images) {
  const std::string directory = absl::StrCat(flags.directory, "/start-gallery");
  std::filesystem::remove_all(directory);
  // A hundred captions, to search with.
  const SyntheticGallery contents{.images = images, .captions = 100, .living = living};
  RETURN_IF_ERROR(contents.Write(directory, model));
  std::vector<double> seconds;
  ProcessMemory ready, searched;
  for (int i = 0; i < flags.starts; ++i) {
    ASSIGN_OR_RETURN(const std::unique_ptr<ChildServer> server,
                     ChildServer::Start({flags.server, "--model", flags.model, "--gallery",
                                         directory, "--address", "127.0.0.1:0", "--metrics-address",
                                         "127.0.0.1:0", "--device", "cpu"}));
    seconds.push_back(absl::ToDoubleSeconds(server->start_time()));
    ASSIGN_OR_RETURN(ready, ReadProcessMemory(server->pid()));
    RETURN_IF_ERROR(Search(flags, *server));
    ASSIGN_OR_RETURN(searched, ReadProcessMemory(server->pid()));
  }
  const Spread spread = SpreadOf(seconds);
  std::cout << absl::StrFormat(
                   "| %s | %d | %.0f | %.2f (%.2f to %.2f) | %.0f | %.0f | %.0f | %.0f |\n",
                   living ? "living" : "file", images,
                   static_cast<double>(BytesOnDisk(directory)) / kMiB, spread.median, spread.low,
                   spread.high, static_cast<double>(ready.anonymous_bytes) / kMiB,
                   static_cast<double>(ready.file_bytes) / kMiB,
                   static_cast<double>(searched.anonymous_bytes) / kMiB,
                   static_cast<double>(searched.file_bytes) / kMiB)
            << std::flush;
  std::filesystem::remove_all(directory);
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags) {
  ModelInfo info;
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<DimeModel> model,
                     DimeModel::Load(flags.model, {.device = "cpu"}));
    info = model->info();
  }
  std::cout << absl::StrFormat(
      "%d starts each, files in the page cache; memory in MiB when ready and after %d searches of "
      "100 candidates\n\n| gallery | images | MiB on disk | s to ready (lowest to highest) | own, "
      "ready | mapped files, ready | own, searched | mapped files, searched |\n"
      "|---|---|---|---|---|---|---|---|\n",
      flags.starts, flags.searches);
  for (const bool living : {false, true}) {
    for (const int64_t images : flags.images) {
      RETURN_IF_ERROR(Measure(flags, info, living, images));
    }
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "Time to ready and memory of dime_server by the number of made-up images in its gallery.",
      "start_benchmark");
  app.add_option("--server", flags.server, "The program dime_server")->required();
  app.add_option("--model", flags.model, "Model directory")->required();
  app.add_option("--directory", flags.directory, "Where to make galleries, which are removed")
      ->required();
  app.add_option("--images", flags.images, "Sizes of galleries")
      ->delimiter(',')
      ->check(CLI::Range(1, 1'000'000'000))
      ->capture_default_str();
  app.add_option("--starts", flags.starts, "Starts of each; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--searches", flags.searches, "Searches after each start")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = Run(flags);
  if (status.ok()) return 0;
  std::cerr << "start_benchmark: " << status << std::endl;
  return 1;
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) { return dime::Main(argc, argv); }
