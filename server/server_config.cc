#include "server/server_config.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/text_format.h"

namespace dime {
namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;

constexpr ServerConfigField kFields[] = {
    {"--model", "model.directory"},
    {"--device", "model.device"},
    {"--scorer", "model.scorer"},
    {"--scorer-threads", "model.scorer_threads"},
    {"--gallery", "gallery.directory"},
    {"--recall-device", "gallery.recall_device"},
    {"--bank-bytes", "gallery.bank_bytes"},
    {"--snapshot-dir", "gallery.snapshot_directory"},
    {"--address", "listen.address"},
    {"--metrics-address", "listen.metrics_address"},
    {"--no-reflection", "listen.no_reflection"},
    {"--max-request-bytes", "listen.max_request_bytes"},
    {"--max-concurrent-streams", "listen.max_concurrent_streams"},
    {"--max-connection-age-seconds", "listen.max_connection_age_seconds"},
    {"--max-connection-age-grace-seconds", "listen.max_connection_age_grace_seconds"},
    {"--workers", "search.workers"},
    {"--max-queued-calls", "search.max_queued_calls"},
    {"--query-cache-bytes", "search.query_cache_bytes"},
    {"--default-search-effort", "search.default_search_effort"},
    {"--default-caption-search-effort", "search.default_caption_search_effort"},
    {"--max-top-k", "search.max_top_k"},
    {"--max-exact-items", "search.max_exact_items"},
    {"--page-token-seconds", "search.page_token_seconds"},
    {"--max-batch-pairs", "rerank.max_batch_pairs"},
    {"--max-queue-pairs", "rerank.max_queue_pairs"},
    {"--default-rerank-depth", "rerank.default_rerank_depth"},
    {"--default-caption-rerank-depth", "rerank.default_caption_rerank_depth"},
    {"--max-rerank-depth", "rerank.max_rerank_depth"},
    {"--max-outstanding-items", "ingest.max_outstanding_items"},
    {"--max-ingest-bytes", "ingest.max_queued_bytes"},
    {"--audit-rate", "audit.rate"},
    {"--audit-max-items", "audit.max_items"},
    {"--shadow-model", "shadow.model_directory"},
    {"--shadow-gallery", "shadow.gallery_directory"},
    {"--shadow-rate", "shadow.rate"},
    {"--tls-certificate", "tls.certificate"},
    {"--tls-key", "tls.key"},
    {"--tls-client-ca", "tls.client_ca"},
    {"--access-tokens", "access.tokens"},
    {"--allow-plaintext-tokens", "access.allow_plaintext_tokens"},
    {"--jwt-keys", "access.jwt_keys"},
    {"--jwt-issuer", "access.jwt_issuer"},
    {"--jwt-audience", "access.jwt_audience"},
    {"--jwt-role-claim", "access.jwt_role_claim"},
    {"--metrics-need-token", "access.metrics_need_token"},
    {"--max-calls-per-second", "access.max_calls_per_second"},
    {"--drain-seconds", "lifecycle.drain_seconds"},
    {"--drain-delay-seconds", "lifecycle.drain_delay_seconds"},
    {"--longest-launch-seconds", "lifecycle.longest_launch_seconds"},
    {"--log-format", "observe.log_format"},
    {"--log-calls", "observe.log_calls"},
    {"--slow-call-seconds", "observe.slow_call_seconds"},
    {"--slow-calls-kept", "observe.slow_calls_kept"},
    {"--trace-file", "observe.trace_file"},
    {"--trace-rate", "observe.trace_rate"},
    {"--no-load-reports", "observe.no_load_reports"},
};

// Syntax errors, and unknown fields, which the parser calls warnings, so that it goes on after
// them.
class Complaints : public google::protobuf::io::ErrorCollector {
 public:
  Complaints(const std::string& path, std::vector<std::string>* errors)
      : path_(path), errors_(*errors) {}

  // Numbers from zero come in, as people count go out.
  void AddError(int line, int column, const std::string& message) override {
    errors_.push_back(absl::StrCat(path_, ":", line + 1, ":", column + 1, ": ", message));
  }
  void AddWarning(int line, int column, const std::string& message) override {
    AddError(line, column, message);
  }

 private:
  const std::string& path_;
  std::vector<std::string>& errors_;
};

// The field of a path of two names. The group is made when `config` is to be changed.
struct Place {
  Message* group;
  const FieldDescriptor* field;
};
Place Find(v1::ServerConfig& config, absl::string_view path) {
  const std::vector<std::string> names = absl::StrSplit(path, '.');
  const FieldDescriptor* const group = config.GetDescriptor()->FindFieldByName(names.front());
  return {config.GetReflection()->MutableMessage(&config, group),
          group->message_type()->FindFieldByName(names.back())};
}

// As a command line would have it.
std::string Value(const Place& place) {
  const google::protobuf::Reflection& reflection = *place.group->GetReflection();
  switch (place.field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return absl::StrCat(reflection.GetInt32(*place.group, place.field));
    case FieldDescriptor::CPPTYPE_INT64:
      return absl::StrCat(reflection.GetInt64(*place.group, place.field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return absl::StrFormat("%.17g", reflection.GetDouble(*place.group, place.field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.GetBool(*place.group, place.field) ? "true" : "false";
    default:
      return reflection.GetString(*place.group, place.field);
  }
}

void SetValue(const Place& place, const std::string& value) {
  const google::protobuf::Reflection& reflection = *place.group->GetReflection();
  int64_t integer = 0;
  double real = 0;
  switch (place.field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      if (absl::SimpleAtoi(value, &integer)) {
        reflection.SetInt32(place.group, place.field, static_cast<int32_t>(integer));
      }
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      if (absl::SimpleAtoi(value, &integer)) {
        reflection.SetInt64(place.group, place.field, integer);
      }
      break;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      if (absl::SimpleAtod(value, &real)) reflection.SetDouble(place.group, place.field, real);
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
      reflection.SetBool(place.group, place.field, value == "true");
      break;
    default:
      reflection.SetString(place.group, place.field, value);
  }
}

}  // namespace

absl::Span<const ServerConfigField> ServerConfigFields() { return kFields; }

absl::Status ApplyServerConfig(const std::string& path, CLI::App& app) {
  std::ifstream file(path);
  if (!file) {
    const int error = errno;
    const std::string message =
        absl::StrCat("cannot read the configuration ", path, ": ", std::strerror(error));
    return error == ENOENT ? absl::NotFoundError(message) : absl::InvalidArgumentError(message);
  }
  std::stringstream text;
  text << file.rdbuf();
  if (file.bad()) {
    return absl::InvalidArgumentError(absl::StrCat("cannot read the configuration ", path));
  }

  std::vector<std::string> errors;
  Complaints complaints(path, &errors);
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&complaints);
  parser.AllowUnknownField(true);
  v1::ServerConfig config;
  // With an error of syntax the values are those before it: these are checked all the same.
  parser.ParseFromString(text.str(), &config);

  for (const ServerConfigField& row : kFields) {
    const Place place = Find(config, row.field);
    if (!place.group->GetReflection()->HasField(*place.group, place.field)) continue;
    CLI::Option* const option = app.get_option_no_throw(std::string(row.flag));
    if (option == nullptr || option->count() > 0) continue;
    const std::string value = Value(place);
    try {
      option->add_result(value);
      option->run_callback();
    } catch (const CLI::Error& error) {
      errors.push_back(absl::StrCat(row.field, ": ", error.what(), ", got \"", value, "\""));
    }
  }
  return JoinConfigErrors(path, errors);
}

v1::ServerConfig EffectiveServerConfig(const CLI::App& app) {
  v1::ServerConfig config;
  for (const ServerConfigField& row : kFields) {
    const CLI::Option* const option = app.get_option_no_throw(std::string(row.flag));
    if (option == nullptr) continue;
    const Place place = Find(config, row.field);
    if (option->count() > 0) {
      SetValue(place, option->results().back());
    } else if (!option->get_default_str().empty()) {
      SetValue(place, option->get_default_str());
    } else if (place.field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
      SetValue(place, "false");
    }
  }
  return config;
}

std::string PrintServerConfig(const v1::ServerConfig& config) {
  std::string text;
  google::protobuf::TextFormat::PrintToString(config, &text);
  return text;
}

std::string NameOfSetting(absl::string_view flag) {
  for (const ServerConfigField& row : kFields) {
    if (row.flag == flag) return absl::StrCat(flag, " (field ", row.field, " of --config)");
  }
  return std::string(flag);
}

absl::Status JoinConfigErrors(const std::string& source, const std::vector<std::string>& errors) {
  if (errors.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the configuration ", source, " has ", errors.size(),
      errors.size() == 1 ? " error:\n  " : " errors:\n  ", absl::StrJoin(errors, "\n  ")));
}

}  // namespace dime
