#include "client/diagnostic_commands.h"

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/diagnostics_client.h"
#include "client/message_json.h"
#include "client/proto_time.h"
#include "client/text_table.h"
#include "google/protobuf/util/json_util.h"
#include "index/mapped_file.h"
#include "index/status_macros.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

constexpr char kSlowFooter[] =
    R"(The server keeps the slow calls of late (dime_server --slow-call-seconds and
--slow-calls-kept). Where it asks for tokens, this asks for an admin's.

Examples:
  dime slow
  dime slow --requests --json > slow.json

For --address, --deadline, --json and exit codes see dime --help.)";

constexpr char kReplayFooter[] =
    R"(Makes slow calls once more, one after another, and shows what they took then and
take now: on the server that kept them, or, from a file, on any.

Examples:
  dime replay 5d41402abc4b2a76b9719d911017c592
  dime slow --requests --json > slow.json
  dime replay --file slow.json --address another.example:8980

For --address, --deadline, --json and exit codes see dime --help.)";

std::string Milliseconds(absl::Duration duration) {
  return absl::StrFormat("%.1f", absl::ToDoubleMilliseconds(duration));
}

std::string CodeText(int code) {
  return absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
}

const std::vector<TextTable::Column>& StageColumns() {
  using Align = TextTable::Align;
  static const auto& columns = *new std::vector<TextTable::Column>{
      {"ms", Align::kRight},     {"queue", Align::kRight},  {"encode", Align::kRight},
      {"recall", Align::kRight}, {"rerank", Align::kRight}, {"select", Align::kRight},
      {"pairs", Align::kRight}};
  return columns;
}

// Of a call that took so long; the stages stay empty where it was no search that was answered.
void AddStageCells(absl::Duration duration, const std::optional<v1::SearchStats>& stats,
                   std::vector<TextTable::Cell>& cells) {
  cells.emplace_back(Milliseconds(duration));
  if (!stats.has_value()) {
    cells.resize(cells.size() + StageColumns().size() - 1, TextTable::Cell(""));
    return;
  }
  for (const google::protobuf::Duration& stage :
       {stats->queue_time(), stats->encode_time(), stats->recall_time(), stats->rerank_time(),
        stats->select_time()}) {
    cells.emplace_back(Milliseconds(FromProto(stage)));
  }
  cells.emplace_back(absl::StrCat(stats->reranked_count()));
}

std::optional<v1::SearchStats> StatsOf(const v1::SlowRequest& slow) {
  if (!slow.has_stats()) return std::nullopt;
  return slow.stats();
}

// What a call took this time.
struct Replayed {
  absl::Duration duration;  // as the caller saw it
  std::optional<v1::SearchStats> stats;
};

// The same call once more.
absl::StatusOr<Replayed> CallAgain(const RetrievalClient& client, const v1::SlowRequest& slow) {
  Replayed replayed;
  const absl::Time start = absl::Now();
  switch (slow.request_case()) {
    case v1::SlowRequest::kSearchImages: {
      ASSIGN_OR_RETURN(const auto response, client.SearchImages(slow.search_images()));
      replayed.stats = response.stats();
      break;
    }
    case v1::SlowRequest::kSearchCaptions: {
      ASSIGN_OR_RETURN(const auto response, client.SearchCaptions(slow.search_captions()));
      replayed.stats = response.stats();
      break;
    }
    case v1::SlowRequest::kBatchSearchImages:
      RETURN_IF_ERROR(client.BatchSearchImages(slow.batch_search_images()).status());
      break;
    case v1::SlowRequest::kBatchSearchCaptions:
      RETURN_IF_ERROR(client.BatchSearchCaptions(slow.batch_search_captions()).status());
      break;
    case v1::SlowRequest::kExplainPair:
      RETURN_IF_ERROR(client.ExplainPair(slow.explain_pair()).status());
      break;
    case v1::SlowRequest::REQUEST_NOT_SET:
      return absl::FailedPreconditionError(
          absl::StrCat("the call ", slow.request_id(), " has no request: it is none of a search, ",
                       "was too large to be kept, or was listed without --requests"));
  }
  replayed.duration = absl::Now() - start;
  return replayed;
}

absl::StatusOr<v1::ListSlowRequestsResponse> ReadSlowRequests(const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  v1::ListSlowRequestsResponse listed;
  const google::protobuf::util::Status parsed = google::protobuf::util::JsonStringToMessage(
      google::protobuf::StringPiece(reinterpret_cast<const char*>(file->bytes().data()),
                                    file->bytes().size()),
      &listed);
  if (parsed.ok()) return listed;
  return absl::InvalidArgumentError(absl::StrCat(
      path, " is not what dime slow --requests --json writes: ", std::string(parsed.message())));
}

nlohmann::ordered_json StagesJson(absl::Duration duration,
                                  const std::optional<v1::SearchStats>& stats) {
  nlohmann::ordered_json json = {{"seconds", absl::ToDoubleSeconds(duration)}};
  if (!stats.has_value()) return json;
  const auto seconds = [](const google::protobuf::Duration& stage) {
    return absl::ToDoubleSeconds(FromProto(stage));
  };
  json["queue_seconds"] = seconds(stats->queue_time());
  json["encode_seconds"] = seconds(stats->encode_time());
  json["recall_seconds"] = seconds(stats->recall_time());
  json["rerank_seconds"] = seconds(stats->rerank_time());
  json["select_seconds"] = seconds(stats->select_time());
  json["reranked_count"] = stats->reranked_count();
  return json;
}

}  // namespace

struct DiagnosticCommands::Flags {
  int max_results = 0;
  bool requests = false;
  std::string request_id;
  std::string file;
};

DiagnosticCommands::DiagnosticCommands(CLI::App* app) : flags_(std::make_unique<Flags>()) {
  slow_ = app->add_subcommand("slow", "List the slow calls that the server keeps");
  slow_->footer(kSlowFooter);
  slow_->add_option("--max", flags_->max_results, "The newest so many alone (default: all)")
      ->type_name("N")
      ->check(CLI::Range(1, 1000000));
  slow_->add_flag("--requests", flags_->requests,
                  "What was asked for too, with --json: for dime replay --file");
  replay_ = app->add_subcommand("replay", "Make slow calls once more, and compare");
  replay_->footer(kReplayFooter);
  CLI::Option* id =
      replay_->add_option("request-id", flags_->request_id, "One that dime slow lists")
          ->type_name("REQUEST_ID");
  replay_
      ->add_option("--file", flags_->file,
                   "Or all of a file that dime slow --requests --json wrote")
      ->type_name("FILE")
      ->excludes(id);
}

DiagnosticCommands::~DiagnosticCommands() = default;

bool DiagnosticCommands::parsed() const { return slow_->parsed() || replay_->parsed(); }

std::string DiagnosticCommands::UsageError() const {
  if (replay_->parsed() && flags_->request_id.empty() && flags_->file.empty()) {
    return "one of REQUEST_ID and --file FILE is needed";
  }
  return "";
}

absl::StatusOr<std::string> DiagnosticCommands::Run(const RetrievalClient& client,
                                                    const CommandOutput& output,
                                                    bool& failed) const {
  return slow_->parsed() ? Slow(client, output) : Replay(client, output, failed);
}

absl::StatusOr<std::string> DiagnosticCommands::Slow(const RetrievalClient& client,
                                                     const CommandOutput& output) const {
  v1::ListSlowRequestsRequest request;
  request.set_max_results(flags_->max_results);
  request.set_with_requests(flags_->requests);
  ASSIGN_OR_RETURN(const v1::ListSlowRequestsResponse listed,
                   DiagnosticsClient(&client).ListSlowRequests(request));
  if (output.json) return ToJson(listed);
  if (listed.capacity() == 0) return std::string("the server keeps no slow calls\n");
  const std::string threshold = absl::FormatDuration(FromProto(listed.threshold()));
  if (listed.slow_requests().empty()) {
    return absl::StrCat("no call was slow: none took ", threshold, " or until its deadline\n");
  }
  std::vector<TextTable::Column> columns = {{"when"}, {"method"}, {"code"}};
  columns.insert(columns.end(), StageColumns().begin(), StageColumns().end());
  columns.push_back({"client"});
  columns.push_back({"request id"});
  TextTable table(std::move(columns));
  for (const v1::SlowRequest& slow : listed.slow_requests()) {
    std::vector<TextTable::Cell> cells;
    cells.emplace_back(TimeText(slow.start_time()), Style::kFaint);
    cells.emplace_back(slow.method());
    cells.emplace_back(CodeText(slow.code()), slow.code() == 0 ? Style::kPlain : Style::kBad);
    AddStageCells(FromProto(slow.duration()), StatsOf(slow), cells);
    cells.emplace_back(slow.client());
    cells.emplace_back(slow.request_id());
    table.AddRow(std::move(cells));
  }
  return absl::StrCat(table.Render(output.terminal), "\n", listed.slow_requests_size(),
                      " calls that took ", threshold, " or until their deadline; the newest ",
                      listed.capacity(), " are kept\n");
}

absl::StatusOr<std::string> DiagnosticCommands::Replay(const RetrievalClient& client,
                                                       const CommandOutput& output,
                                                       bool& failed) const {
  v1::ListSlowRequestsResponse listed;
  if (!flags_->file.empty()) {
    ASSIGN_OR_RETURN(listed, ReadSlowRequests(flags_->file));
  } else {
    v1::ListSlowRequestsRequest request;
    request.set_request_id(flags_->request_id);
    request.set_with_requests(true);
    ASSIGN_OR_RETURN(listed, DiagnosticsClient(&client).ListSlowRequests(request));
    if (listed.slow_requests().empty()) {
      return absl::NotFoundError(
          absl::StrCat("the server keeps no slow call ", flags_->request_id, "; see dime slow"));
    }
  }
  std::vector<TextTable::Column> columns = {{"request id"}, {"method"}, {""}};
  columns.insert(columns.end(), StageColumns().begin(), StageColumns().end());
  TextTable table(std::move(columns));
  nlohmann::ordered_json replays = nlohmann::ordered_json::array();
  for (const v1::SlowRequest& slow : listed.slow_requests()) {
    const absl::Duration then = FromProto(slow.duration());
    std::vector<TextTable::Cell> before;
    before.emplace_back(slow.request_id());
    before.emplace_back(slow.method());
    before.emplace_back("then", Style::kFaint);
    AddStageCells(then, StatsOf(slow), before);
    table.AddRow(std::move(before));
    nlohmann::ordered_json entry = {{"request_id", slow.request_id()},
                                    {"method", slow.method()},
                                    {"then", StagesJson(then, StatsOf(slow))}};
    const absl::StatusOr<Replayed> now = CallAgain(client, slow);
    if (now.ok()) {
      std::vector<TextTable::Cell> after = {TextTable::Cell(""), TextTable::Cell(""),
                                            TextTable::Cell("now", Style::kFaint)};
      AddStageCells(now->duration, now->stats, after);
      table.AddRow(std::move(after));
      entry["now"] = StagesJson(now->duration, now->stats);
    } else {
      failed = true;
      output.err << "error: " << Printable(slow.request_id()) << ": "
                 << Printable(now.status().message()) << "\n";
      entry["error"] = now.status().message();
    }
    replays.push_back(std::move(entry));
  }
  if (output.json) {
    return nlohmann::ordered_json{{"replays", std::move(replays)}}.dump(
               2, ' ', false, nlohmann::json::error_handler_t::replace) +
           "\n";
  }
  return table.Render(output.terminal);
}

}  // namespace dime
