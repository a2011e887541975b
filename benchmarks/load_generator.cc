// load_generator: searches a running server by gRPC, in closed loops, in open loops and beyond what
// it can do, and prints throughput, latencies, errors and where the time went. See --help.
#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "benchmarks/child_server.h"
#include "benchmarks/load_driver.h"
#include "benchmarks/load_schedule.h"
#include "benchmarks/load_summary.h"
#include "benchmarks/process_usage.h"
#include "benchmarks/search_load.h"
#include "index/status_macros.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

using nlohmann::ordered_json;

struct Flags {
  std::string address;
  std::string server, model, gallery;
  std::vector<std::string> server_flags;
  std::vector<std::string> searches = {"images", "captions"};
  std::string texts_file;
  bool by_features = false;
  int queries = 1000;
  std::string mode = "closed";
  std::vector<int> concurrencies = {1, 2, 4, 8, 16, 32};
  std::vector<double> rates;
  int peak_concurrency = 16;
  double seconds = 2, warm_up_seconds = 1, deadline_seconds = 1;
  int runs = 5;
  int rerank_depth = 100, top_k = 10;
  std::string view = "full";
  bool with_payload = false;
  bool degrade = false;
  uint64_t seed = 1;
  std::string json;
};

void DefineFlags(CLI::App& app, Flags& flags) {
  app.add_option("--address", flags.address, "A running server, host:port; or start one:");
  app.add_option("--server", flags.server, "The program dime_server, to start one on a free port");
  app.add_option("--model", flags.model, "Model directory of the server that is started");
  app.add_option("--gallery", flags.gallery, "Gallery directory of the server that is started");
  app.add_option("--server-flags", flags.server_flags,
                 "Further arguments of the server that is started, separated by commas")
      ->delimiter(',');
  app.add_option("--searches", flags.searches,
                 "images (texts find images), captions (images find captions), or both")
      ->delimiter(',')
      ->check(CLI::IsMember({"images", "captions"}))
      ->capture_default_str();
  app.add_option("--texts", flags.texts_file,
                 "File of texts to search with, one a line (default: the gallery's captions)");
  app.add_flag("--by-features", flags.by_features,
               "Search captions by made-up region features rather than by ids of images");
  app.add_option("--queries", flags.queries, "Different queries of a kind, at most")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--mode", flags.mode,
                 "closed: so many callers, each sends when it is answered; open: calls are due at "
                 "random moments, at --rates a second; overload: the peak of a closed loop, then "
                 "open loops of 0.5, 1, 2 and 3 times that")
      ->check(CLI::IsMember({"closed", "open", "overload"}))
      ->capture_default_str();
  app.add_option("--concurrency", flags.concurrencies, "Callers of each closed loop")
      ->delimiter(',')
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  app.add_option("--rates", flags.rates, "Calls a second of each open loop")
      ->delimiter(',')
      ->check(CLI::Range(0.01, 1e6));
  app.add_option("--peak-concurrency", flags.peak_concurrency,
                 "Callers of the closed loop that tells the peak, in mode overload")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  app.add_option("--seconds", flags.seconds, "Length of a run")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  app.add_option(
         "--warm-up-seconds", flags.warm_up_seconds,
         "Before each run, under the same load, not counted; in mode overload more than the "
         "deadline, or the queue is still filling")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  app.add_option("--deadline-seconds", flags.deadline_seconds,
                 "Of a call, from the moment when it is due")
      ->check(CLI::Range(0.001, 3600.0))
      ->capture_default_str();
  app.add_option("--runs", flags.runs, "Runs of each load; medians are printed")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--rerank-depth", flags.rerank_depth, "Candidates to rerank")
      ->capture_default_str();
  app.add_option("--top-k", flags.top_k, "Hits")->capture_default_str();
  app.add_option("--view", flags.view, "basic, full or explain; basic tells no time by stage")
      ->check(CLI::IsMember({"basic", "full", "explain"}))
      ->capture_default_str();
  app.add_flag("--with-payload", flags.with_payload, "Ask for payloads");
  app.add_flag("--degrade", flags.degrade,
               "Ask for the coarse order, marked as a degraded answer, where reranking fails");
  app.add_option("--seed", flags.seed, "Of the open loops' arrivals")->capture_default_str();
  app.add_option("--json", flags.json, "File to write every run's figures to");
}

double Milliseconds(absl::Duration duration) { return absl::ToDoubleMilliseconds(duration); }

ordered_json ToJson(const LoadSummary& run) {
  ordered_json errors = ordered_json::object();
  for (const auto& [code, count] : run.errors) errors[absl::StatusCodeToString(code)] = count;
  return {{"calls", run.calls},
          {"answered", run.answered},
          {"degraded", run.degraded},
          {"errors", errors},
          {"seconds", run.seconds},
          {"throughput", run.throughput},
          {"p50_ms", Milliseconds(run.p50)},
          {"p95_ms", Milliseconds(run.p95)},
          {"p99_ms", Milliseconds(run.p99)},
          {"lateness_p99_ms", Milliseconds(run.lateness_p99)},
          {"lateness_max_ms", Milliseconds(run.lateness_max)},
          {"stages_ms",
           {{"queue", Milliseconds(run.stages.queue)},
            {"encode", Milliseconds(run.stages.encode)},
            {"recall", Milliseconds(run.stages.recall)},
            {"rerank", Milliseconds(run.stages.rerank)},
            {"select", Milliseconds(run.stages.select)},
            {"rest", Milliseconds(run.stages.rest())},
            {"outside", Milliseconds(run.outside)}}}};
}

// The runs of one load.
struct Measured {
  std::vector<LoadSummary> runs;
  double client_cpu = 0;             // cores that this program used
  std::optional<double> server_cpu;  // cores that the server used, if it is a child

  Spread Of(double (*value)(const LoadSummary&)) const {
    std::vector<double> values;
    for (const LoadSummary& run : runs) values.push_back(value(run));
    return SpreadOf(std::move(values));
  }
};

// Prints loads as rows of Markdown, and keeps them for --json.
class Report {
 public:
  void Title(const std::string& title) {
    std::cout
        << "\n"
        << title
        << "\n\n| load | answered/s (lowest to highest) | p50 ms | p95 ms | p99 ms (lowest to "
           "highest) | errors, of all calls | degraded | sent late by, p99; most ms | client, "
           "server cores |\n|---|---|---|---|---|---|---|---|---|\n"
        << std::flush;
    stages_ =
        "\n| load | latency ms | outside the server | queue | encode | recall | rerank | select | "
        "rest |\n|---|---|---|---|---|---|---|---|---|\n";
    any_stages_ = false;
  }
  void Row(const std::string& search, const std::string& load, const Measured& measured) {
    const Spread rate = measured.Of([](const LoadSummary& run) { return run.throughput; });
    const Spread p50 = measured.Of([](const LoadSummary& run) { return Milliseconds(run.p50); });
    const Spread p95 = measured.Of([](const LoadSummary& run) { return Milliseconds(run.p95); });
    const Spread p99 = measured.Of([](const LoadSummary& run) { return Milliseconds(run.p99); });
    const Spread late =
        measured.Of([](const LoadSummary& run) { return Milliseconds(run.lateness_p99); });
    const Spread latest =
        measured.Of([](const LoadSummary& run) { return Milliseconds(run.lateness_max); });
    int64_t calls = 0, degraded = 0;
    std::map<absl::StatusCode, int64_t> errors;
    for (const LoadSummary& run : measured.runs) {
      calls += run.calls;
      degraded += run.degraded;
      for (const auto& [code, count] : run.errors) errors[code] += count;
    }
    const auto share = [calls](int64_t count) {
      return absl::StrFormat("%.1f%%", 100.0 * static_cast<double>(count) /
                                           static_cast<double>(std::max<int64_t>(1, calls)));
    };
    std::vector<std::string> told;
    for (const auto& [code, count] : errors) {
      told.push_back(absl::StrCat(absl::StatusCodeToString(code), " ", share(count)));
    }
    std::cout << absl::StrFormat(
                     "| %s | %.1f (%.1f to %.1f) | %.2f | %.2f | %.2f (%.2f to %.2f) | %s | %s | "
                     "%.2f; %.2f | %.2f, %s |\n",
                     load, rate.median, rate.low, rate.high, p50.median, p95.median, p99.median,
                     p99.low, p99.high, told.empty() ? "none" : absl::StrJoin(told, ", "),
                     share(degraded), late.median, latest.high, measured.client_cpu,
                     measured.server_cpu ? absl::StrFormat("%.2f", *measured.server_cpu) : "-")
              << std::flush;
    AddStages(load, measured);
    ordered_json runs = ordered_json::array();
    for (const LoadSummary& run : measured.runs) runs.push_back(ToJson(run));
    ordered_json row = {{"search", search},
                        {"load", load},
                        {"client_cores", measured.client_cpu},
                        {"runs", std::move(runs)}};
    if (measured.server_cpu) row["server_cores"] = *measured.server_cpu;
    rows_.push_back(std::move(row));
  }
  // Where the time of the rows since the title went.
  void Stages() const {
    if (any_stages_) std::cout << stages_ << std::flush;
  }
  const ordered_json& rows() const { return rows_; }

 private:
  void AddStages(const std::string& load, const Measured& measured) {
    const auto median = [&](double (*value)(const LoadSummary&)) {
      return measured.Of(value).median;
    };
    const double outside = median([](const LoadSummary& r) { return Milliseconds(r.outside); });
    const double total =
        outside + median([](const LoadSummary& r) { return Milliseconds(r.stages.total); });
    if (total <= 0) return;
    any_stages_ = true;
    absl::StrAppendFormat(&stages_, "| %s | %.2f", load, total);
    const double parts[] = {
        outside,
        median([](const LoadSummary& r) { return Milliseconds(r.stages.queue); }),
        median([](const LoadSummary& r) { return Milliseconds(r.stages.encode); }),
        median([](const LoadSummary& r) { return Milliseconds(r.stages.recall); }),
        median([](const LoadSummary& r) { return Milliseconds(r.stages.rerank); }),
        median([](const LoadSummary& r) { return Milliseconds(r.stages.select); }),
        median([](const LoadSummary& r) { return Milliseconds(r.stages.rest()); })};
    for (const double part : parts) {
      absl::StrAppendFormat(&stages_, " | %.1f%%", 100 * part / total);
    }
    absl::StrAppend(&stages_, " |\n");
  }

  std::string stages_;
  bool any_stages_ = false;
  ordered_json rows_ = ordered_json::array();
};

// Loads of one kind of search on one server.
class Bench {
 public:
  Bench(const Flags& flags, pid_t server, const SearchLoad* load)
      : flags_(flags),
        server_(server),
        driver_([load](int64_t number, absl::Time deadline,
                       LoadDriver::Done done) { load->Call(number, deadline, std::move(done)); },
                absl::Seconds(flags.deadline_seconds)) {}

  Measured Closed(int callers) {
    return Repeat([&](int /*run*/) {
      const std::vector<CallOutcome> records = driver_.RunClosed(callers, warm_up() + length());
      return SummariseDone(records, warm_up(), length());
    });
  }
  Measured Open(double rate) {
    // It goes on for a deadline longer than it is looked at, so that the last calls that count have
    // as much behind them as the first.
    const absl::Duration whole = warm_up() + length() + absl::Seconds(flags_.deadline_seconds);
    return Repeat([&](int run) {
      const std::vector<CallOutcome> records =
          driver_.RunOpen(PoissonArrivals(rate, whole, flags_.seed + static_cast<uint64_t>(run)));
      return Summarise(records, warm_up(), length());
    });
  }

 private:
  absl::Duration warm_up() const { return absl::Seconds(flags_.warm_up_seconds); }
  absl::Duration length() const { return absl::Seconds(flags_.seconds); }

  template <typename Run>
  Measured Repeat(Run run) {
    Measured measured;
    const absl::Time start = absl::Now();
    const absl::Duration own = ProcessCpuTime(0).value_or(absl::ZeroDuration());
    const auto server_before = ServerCpu();
    for (int i = 0; i < flags_.runs; ++i) measured.runs.push_back(run(i));
    const absl::Duration wall = absl::Now() - start;
    measured.client_cpu =
        absl::FDivDuration(ProcessCpuTime(0).value_or(absl::ZeroDuration()) - own, wall);
    const auto server_after = ServerCpu();
    if (server_before && server_after) {
      measured.server_cpu = absl::FDivDuration(*server_after - *server_before, wall);
    }
    return measured;
  }
  std::optional<absl::Duration> ServerCpu() const {
    if (server_ == 0) return std::nullopt;
    const auto used = ProcessCpuTime(server_);
    return used.ok() ? std::optional<absl::Duration>(*used) : std::nullopt;
  }

  const Flags& flags_;
  const pid_t server_;  // 0: it is no child of ours
  LoadDriver driver_;
};

absl::Status RunSearch(const Flags& flags, const std::string& search, pid_t server,
                       const SearchLoad& load, Report& report) {
  Bench bench(flags, server, &load);
  const std::string what = search == "images" ? "SearchImages" : "SearchCaptions";
  if (flags.mode == "closed") {
    report.Title(absl::StrCat(what, ", closed loop"));
    for (const int callers : flags.concurrencies) {
      report.Row(search, absl::StrCat(callers, callers == 1 ? " caller" : " callers"),
                 bench.Closed(callers));
    }
  } else if (flags.mode == "open") {
    report.Title(absl::StrCat(what, ", open loop"));
    for (const double rate : flags.rates) {
      report.Row(search, absl::StrFormat("%.1f/s", rate), bench.Open(rate));
    }
  } else {
    report.Title(absl::StrCat(what, ", overload"));
    const Measured peak = bench.Closed(flags.peak_concurrency);
    const double rate = peak.Of([](const LoadSummary& run) { return run.throughput; }).median;
    report.Row(search, absl::StrFormat("closed, %d callers", flags.peak_concurrency), peak);
    if (rate <= 0) {
      return absl::FailedPreconditionError(
          absl::StrCat(what, ": no call of the closed loop was answered within --deadline-seconds ",
                       flags.deadline_seconds));
    }
    std::string goodput;
    for (const double times : {0.5, 1.0, 2.0, 3.0}) {
      const Measured offered = bench.Open(times * rate);
      report.Row(search, absl::StrFormat("open, %.1fx: %.1f/s", times, times * rate), offered);
      const Spread good = offered.Of([](const LoadSummary& run) { return run.throughput; });
      absl::StrAppendFormat(&goodput, "| %.1f | %.1f | %.0f%% |\n", times, good.median,
                            100 * good.median / rate);
    }
    report.Stages();
    std::cout << "\n| offered, of the peak | answered in time and whole/s | of the peak |\n"
                 "|---|---|---|\n"
              << goodput << std::flush;
    return absl::OkStatus();
  }
  report.Stages();
  return absl::OkStatus();
}

absl::Status CheckFlags(const Flags& flags) {
  if (flags.address.empty() == flags.server.empty()) {
    return absl::InvalidArgumentError("give one of --address and --server");
  }
  if (!flags.server.empty() && (flags.model.empty() || flags.gallery.empty())) {
    return absl::InvalidArgumentError("--server needs --model and --gallery");
  }
  if (flags.mode == "open" && flags.rates.empty()) {
    return absl::InvalidArgumentError("--mode open needs --rates");
  }
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags) {
  RETURN_IF_ERROR(CheckFlags(flags));
  std::unique_ptr<ChildServer> child;
  std::string address = flags.address;
  if (!flags.server.empty()) {
    std::vector<std::string> command = {flags.server,  "--model",           flags.model,
                                        "--gallery",   flags.gallery,       "--address",
                                        "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"};
    command.insert(command.end(), flags.server_flags.begin(), flags.server_flags.end());
    ASSIGN_OR_RETURN(child, ChildServer::Start(command));
    std::cout << child->ready_line() << "\n";
    address = child->address();
  }
  const std::shared_ptr<grpc::Channel> channel = MakeLoadChannel(address);
  v1::SearchOptions options;
  options.set_rerank_depth(flags.rerank_depth);
  options.set_top_k(flags.top_k);
  options.set_with_payload(flags.with_payload);
  if (flags.degrade) options.set_on_rerank_error(v1::ON_RERANK_ERROR_COARSE_ORDER);
  options.set_view(flags.view == "basic"  ? v1::RESULT_VIEW_BASIC
                   : flags.view == "full" ? v1::RESULT_VIEW_FULL
                                          : v1::RESULT_VIEW_EXPLAIN);
  std::cout << absl::StrFormat(
      "%d runs of %.1f s, each after %.1f s to warm up; depth %d, top %d, view %s%s, deadline %.3f "
      "s\n",
      flags.runs, flags.seconds, flags.warm_up_seconds, flags.rerank_depth, flags.top_k, flags.view,
      flags.with_payload ? " with payloads" : "", flags.deadline_seconds);
  Report report;
  for (const std::string& search : flags.searches) {
    SearchQueries queries;
    if (search == "images") {
      ASSIGN_OR_RETURN(queries, flags.texts_file.empty()
                                    ? ListTexts(channel, flags.queries)
                                    : ReadTexts(flags.texts_file, flags.queries));
    } else {
      ASSIGN_OR_RETURN(queries, flags.by_features ? MakeFeatures(channel, flags.queries)
                                                  : ListImageIds(channel, flags.queries));
    }
    const SearchLoad load(channel, std::move(queries), options);
    RETURN_IF_ERROR(RunSearch(flags, search, child == nullptr ? 0 : child->pid(), load, report));
  }
  if (flags.json.empty()) return absl::OkStatus();
  std::ofstream file(flags.json);
  file << ordered_json{{"address", address}, {"mode", flags.mode}, {"loads", report.rows()}}.dump(2)
       << "\n";
  file.close();
  return file ? absl::OkStatus()
              : absl::UnavailableError(absl::StrCat("cannot write ", flags.json));
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "Searches a server by gRPC as a load and prints what it made of it. Latencies count from the "
      "moment when a call was due.",
      "load_generator");
  DefineFlags(app, flags);
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = Run(flags);
  if (status.ok()) return 0;
  std::cerr << "load_generator: " << status << std::endl;
  return 1;
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) { return dime::Main(argc, argv); }
