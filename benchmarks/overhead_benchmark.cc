// overhead_benchmark: CPU time of a search that is neither encoding nor recall nor scoring: gRPC,
// parsing, conversion, records and payloads, the answer, copies. A server over a model that
// computes nothing runs as a process of its own, so that the client's cost is not its; what recall
// costs there is measured apart and taken off. See --help.
#include <time.h>

#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "benchmarks/child_server.h"
#include "benchmarks/idle_model.h"
#include "benchmarks/load_driver.h"
#include "benchmarks/process_usage.h"
#include "benchmarks/search_load.h"
#include "benchmarks/synthetic_gallery.h"
#include "index/open_gallery.h"
#include "index/status_macros.h"
#include "server/process_signals.h"
#include "server/server.h"

namespace dime {
namespace {

constexpr int kCoarseDim = 16;
constexpr int64_t kDepth = 100;
constexpr int kQueries = 500;  // that calls take in turn

struct Flags {
  std::string serve;  // a gallery; this process is the server then
  std::string directory;
  int64_t images = 2000;
  std::vector<int> callers = {4};
  double seconds = 2;
  int runs = 5;
  std::vector<int> top_k = {10, 100};
  std::vector<std::string> galleries = {"file", "living"};
  std::vector<std::string> views = {"basic", "full", "explain"};
};

absl::Status Serve(const std::string& directory) {
  auto model = std::make_unique<IdleModel>(kCoarseDim);
  ASSIGN_OR_RETURN(std::unique_ptr<Gallery> gallery,
                   OpenGallery(directory, model->info().fingerprint));
  Server::Options options;
  options.address = "127.0.0.1:0";
  options.metrics_address = "127.0.0.1:0";
  ASSIGN_OR_RETURN(const std::unique_ptr<Server> server,
                   Server::Create(options, {.model = std::move(model),
                                            .gallery = std::move(gallery),
                                            .limits = options.limits}));
  RETURN_IF_ERROR(server->Start());
  RETURN_IF_ERROR(InstallSignals());
  std::cout << "overhead_benchmark ready: gRPC on " << server->address() << std::endl;
  (void)AwaitSignal();
  server->Shutdown(absl::Seconds(5));
  return absl::OkStatus();
}

absl::Duration ThreadCpuTime() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return absl::DurationFromTimespec(time);
}

// Microseconds of CPU of the queries' recall, in this process: by the model's one caption, whatever
// its text, with its encoding, or by as many stored images as the searches ask with.
absl::StatusOr<double> MeasureStages(const std::string& directory, int64_t images,
                                     Modality searched) {
  const IdleModel model(kCoarseDim);
  ASSIGN_OR_RETURN(const std::unique_ptr<Gallery> gallery,
                   OpenGallery(directory, model.info().fingerprint));
  const std::shared_ptr<const GalleryView> view = gallery->Pin();
  std::vector<std::vector<float>> stored;
  if (searched == Modality::kCaption) {
    for (int64_t i = 0; i < kQueries; ++i) {
      ASSIGN_OR_RETURN(const int64_t row,
                       view->FindRow(Modality::kImage, absl::StrCat("image-", i % images)));
      ASSIGN_OR_RETURN(const EncodedItems item, view->ReadFeatures(Modality::kImage, {row}));
      stored.push_back(item.coarse);
    }
  }
  constexpr int kTimes = 4 * kQueries;
  absl::Duration start = ThreadCpuTime();
  for (int i = 0; i < 2 * kTimes; ++i) {
    if (i == kTimes) start = ThreadCpuTime();  // after as many to warm up
    if (!stored.empty()) {
      RETURN_IF_ERROR(
          view->Recall(searched, stored[i % kQueries], kDepth, RecallOptions()).status());
      continue;
    }
    ASSIGN_OR_RETURN(const EncodedItems query, model.caption_encoder().EncodeCaptions({"a word"}));
    RETURN_IF_ERROR(view->Recall(searched, query.coarse, kDepth, RecallOptions()).status());
  }
  return absl::ToDoubleMicroseconds(ThreadCpuTime() - start) / kTimes;
}

struct CallCost {
  Spread micros;     // of CPU
  double waits = 0;  // of the server's threads; of all runs together
};

absl::StatusOr<CallCost> MeasureCalls(const Flags& flags, int callers, const ChildServer& server,
                                      const SearchLoad& load) {
  LoadDriver driver(
      [&load](int64_t number, absl::Time deadline, LoadDriver::Done done) {
        load.Call(number, deadline, std::move(done));
      },
      absl::Seconds(30));
  driver.RunClosed(callers, absl::Seconds(flags.seconds));
  std::vector<double> micros;
  int64_t calls = 0;
  ASSIGN_OR_RETURN(const int64_t waits_before, ProcessWaits(server.pid()));
  for (int run = 0; run < flags.runs; ++run) {
    ASSIGN_OR_RETURN(const absl::Duration before, ProcessCpuTime(server.pid()));
    const std::vector<CallOutcome> records =
        driver.RunClosed(callers, absl::Seconds(flags.seconds));
    ASSIGN_OR_RETURN(const absl::Duration after, ProcessCpuTime(server.pid()));
    for (const CallOutcome& record : records) {
      if (record.code != absl::StatusCode::kOk) {
        return absl::InternalError(
            absl::StrCat("a search failed: ", absl::StatusCodeToString(record.code)));
      }
    }
    micros.push_back(absl::ToDoubleMicroseconds(after - before) /
                     static_cast<double>(records.size()));
    calls += static_cast<int64_t>(records.size());
  }
  ASSIGN_OR_RETURN(const int64_t waits_after, ProcessWaits(server.pid()));
  return CallCost{
      .micros = SpreadOf(std::move(micros)),
      .waits = static_cast<double>(waits_after - waits_before) / static_cast<double>(calls)};
}

absl::Status Run(const Flags& flags) {
  std::cout << absl::StrFormat(
      "%d images, as many captions, %d candidates; %d runs of %.1f s after %.1f s to warm up\n\n"
      "| gallery, search | view | payloads | hits | callers | server CPU us a call | lowest | "
      "highest | encode and recall | the rest | threads woken a call |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|\n",
      flags.images, kDepth, flags.runs, flags.seconds, flags.seconds);
  for (const std::string& kind : flags.galleries) {
    const bool living = kind == "living";
    const std::string directory =
        absl::StrCat(flags.directory, living ? "/overhead-living" : "/overhead-file");
    std::filesystem::remove_all(directory);
    const SyntheticGallery contents{
        .images = flags.images, .captions = flags.images, .living = living, .payloads = true};
    RETURN_IF_ERROR(contents.Write(directory, IdleModel(kCoarseDim).info()));
    ASSIGN_OR_RETURN(const double images_stages,
                     MeasureStages(directory, flags.images, Modality::kImage));
    ASSIGN_OR_RETURN(const double captions_stages,
                     MeasureStages(directory, flags.images, Modality::kCaption));
    ASSIGN_OR_RETURN(const std::unique_ptr<ChildServer> server,
                     ChildServer::Start({"/proc/self/exe", "--serve", directory}));
    const std::shared_ptr<grpc::Channel> channel = MakeLoadChannel(server->address());
    for (const bool images : {true, false}) {
      ASSIGN_OR_RETURN(const SearchQueries queries,
                       images ? ListTexts(channel, kQueries) : ListImageIds(channel, kQueries));
      const double stages = images ? images_stages : captions_stages;
      for (const int top_k : flags.top_k) {
        for (const std::string& view : flags.views) {
          for (const bool payload : {false, true}) {
            v1::SearchOptions options;
            options.set_rerank_depth(kDepth);
            options.set_top_k(top_k);
            options.set_view(view == "basic"  ? v1::RESULT_VIEW_BASIC
                             : view == "full" ? v1::RESULT_VIEW_FULL
                                              : v1::RESULT_VIEW_EXPLAIN);
            options.set_with_payload(payload);
            const SearchLoad load(channel, queries, options);
            for (const int callers : flags.callers) {
              ASSIGN_OR_RETURN(const CallCost cost, MeasureCalls(flags, callers, *server, load));
              const Spread& micros = cost.micros;
              std::cout << absl::StrFormat(
                               "| %s, %s | %s | %s | %d | %d | %.0f | %.0f | %.0f | %.0f "
                               "| %.0f | %.1f |\n",
                               kind, images ? "images" : "captions", view,
                               payload ? "with" : "without", top_k, callers, micros.median,
                               micros.low, micros.high, stages, micros.median - stages, cost.waits)
                        << std::flush;
            }
          }
        }
      }
    }
    std::filesystem::remove_all(directory);
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "CPU microseconds of a search of 100 candidates beside encoding, recall and scoring: of a "
      "server in a process of its own, over a model that computes nothing, asked over loopback.",
      "overhead_benchmark");
  app.add_option("--serve", flags.serve, "Be the server of that gallery (for the program itself)");
  app.add_option("--directory", flags.directory, "Where to make galleries, which are removed");
  app.add_option("--images", flags.images, "Images of the gallery")->capture_default_str();
  app.add_option("--callers", flags.callers, "Calls under way at once, one number after the other")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--seconds", flags.seconds, "Length of a run")->capture_default_str();
  app.add_option("--runs", flags.runs)->capture_default_str();
  app.add_option("--top-k", flags.top_k, "Hits")->delimiter(',')->capture_default_str();
  app.add_option("--galleries", flags.galleries, "file, living")
      ->delimiter(',')
      ->check(CLI::IsMember({"file", "living"}))
      ->capture_default_str();
  app.add_option("--views", flags.views, "basic, full, explain")
      ->delimiter(',')
      ->check(CLI::IsMember({"basic", "full", "explain"}))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (flags.serve.empty() && flags.directory.empty()) {
    std::cerr << "overhead_benchmark: --directory is required" << std::endl;
    return 1;
  }
  const absl::Status status = flags.serve.empty() ? Run(flags) : Serve(flags.serve);
  if (status.ok()) return 0;
  std::cerr << "overhead_benchmark: " << status << std::endl;
  return 1;
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) { return dime::Main(argc, argv); }
