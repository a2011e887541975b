#include "server/span_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "server/error_details.h"
#include "server/proto_values.h"

namespace dime {
namespace {

using OrderedJson = nlohmann::ordered_json;

// SpanKind and StatusCode of opentelemetry/proto/trace/v1/trace.proto.
constexpr int kInternalSpan = 1;
constexpr int kServerSpan = 2;
constexpr int kErrorStatus = 2;

// 64-bit integers are strings in the encoding.
OrderedJson Attribute(absl::string_view key, absl::string_view value) {
  OrderedJson attribute;
  attribute["key"] = std::string(key);
  attribute["value"]["stringValue"] = std::string(value);
  return attribute;
}
OrderedJson Attribute(absl::string_view key, int64_t value) {
  OrderedJson attribute;
  attribute["key"] = std::string(key);
  attribute["value"]["intValue"] = absl::StrCat(value);
  return attribute;
}
OrderedJson TruthAttribute(absl::string_view key, bool value) {
  OrderedJson attribute;
  attribute["key"] = std::string(key);
  attribute["value"]["boolValue"] = value;
  return attribute;
}

OrderedJson Span(const TraceContext& context, absl::string_view name, int kind, absl::Time start,
                 absl::Duration duration) {
  OrderedJson span;
  span["traceId"] = context.trace_id;
  span["spanId"] = context.span_id;
  if (!context.parent_span_id.empty()) span["parentSpanId"] = context.parent_span_id;
  span["name"] = std::string(name);
  span["kind"] = kind;
  span["startTimeUnixNano"] = absl::StrCat(absl::ToUnixNanos(start));
  span["endTimeUnixNano"] = absl::StrCat(absl::ToUnixNanos(start + duration));
  return span;
}

void AddSearch(const SearchReport& search, OrderedJson& attributes) {
  attributes.push_back(Attribute("dime.recalled", int64_t{search.stats.recalled_count()}));
  attributes.push_back(Attribute("dime.reranked", int64_t{search.stats.reranked_count()}));
  attributes.push_back(TruthAttribute("dime.degraded", search.degraded));
}

// The spans of a search's stages, which began at `start`.
void AddStages(const TraceContext& parent, const v1::SearchStats& stats, absl::Time start,
               OrderedJson& spans) {
  const std::pair<const char*, absl::Duration> stages[] = {
      {"queue", FromProtoDuration(stats.queue_time())},
      {"encode_query", FromProtoDuration(stats.encode_time())},
      {"recall", FromProtoDuration(stats.recall_time())},
      {"rerank", FromProtoDuration(stats.rerank_time())},
      {"select", FromProtoDuration(stats.select_time())},
  };
  // They follow each other without gaps worth speaking of.
  for (const auto& [name, duration] : stages) {
    spans.push_back(Span(SpanBelow(parent), name, kInternalSpan, start, duration));
    start += duration;
  }
}

// The spans of a batch's queries, and of their stages.
void AddQueries(const CallReport& call, OrderedJson& spans) {
  for (size_t q = 0; q < call.batch.size(); ++q) {
    if (!call.batch[q].has_value()) continue;
    const SearchReport& search = *call.batch[q];
    const TraceContext context = SpanBelow(call.span);
    const absl::Time start = call.start + search.scheduled;
    OrderedJson span =
        Span(context, "query", kInternalSpan, start, FromProtoDuration(search.stats.total_time()));
    OrderedJson attributes = OrderedJson::array();
    attributes.push_back(Attribute("dime.query_index", static_cast<int64_t>(q)));
    AddSearch(search, attributes);
    span["attributes"] = std::move(attributes);
    spans.push_back(std::move(span));
    AddStages(context, search.stats, start, spans);
  }
}

OrderedJson CallSpan(const CallReport& call) {
  const absl::string_view service = RpcServiceName(call.method);
  const absl::string_view method = RpcMethodName(call.method);
  OrderedJson span =
      Span(call.span, absl::StrCat(service, "/", method), kServerSpan, call.start, call.duration);
  OrderedJson attributes = OrderedJson::array();
  attributes.push_back(Attribute("rpc.system", "grpc"));
  attributes.push_back(Attribute("rpc.service", service));
  attributes.push_back(Attribute("rpc.method", method));
  attributes.push_back(Attribute("rpc.grpc.status_code", static_cast<int64_t>(call.code)));
  attributes.push_back(Attribute("dime.request_id", call.request_id));
  attributes.push_back(Attribute("dime.client", call.client));
  if (call.reason != v1::ERROR_REASON_UNSPECIFIED) {
    attributes.push_back(Attribute("dime.error_reason", ReasonName(call.reason)));
  }
  if (call.search.has_value()) AddSearch(*call.search, attributes);
  if (!call.batch.empty()) {
    attributes.push_back(Attribute("dime.queries", static_cast<int64_t>(call.batch.size())));
  }
  if (call.items.has_value()) attributes.push_back(Attribute("dime.items", *call.items));
  span["attributes"] = std::move(attributes);
  // Of a server's span only its own faults are errors, not its callers'.
  if (IsServerFault(call.code)) {
    span["status"]["code"] = kErrorStatus;
    span["status"]["message"] = call.message;
  }
  return span;
}

}  // namespace

std::string SpanFile::FormatLine(const CallReport& call, absl::string_view server_version) {
  OrderedJson spans = OrderedJson::array();
  spans.push_back(CallSpan(call));
  if (call.search.has_value()) {
    AddStages(call.span, call.search->stats, call.start + call.search->scheduled, spans);
  }
  AddQueries(call, spans);
  OrderedJson resource_attributes = OrderedJson::array();
  resource_attributes.push_back(Attribute("service.name", "dime_server"));
  resource_attributes.push_back(Attribute("service.version", server_version));
  resource_attributes.push_back(Attribute("process.pid", int64_t{getpid()}));
  OrderedJson of_scope;
  of_scope["scope"]["name"] = "dime";
  of_scope["spans"] = std::move(spans);
  OrderedJson of_resource;
  of_resource["resource"]["attributes"] = std::move(resource_attributes);
  of_resource["scopeSpans"] = OrderedJson::array({std::move(of_scope)});
  OrderedJson line;
  line["resourceSpans"] = OrderedJson::array({std::move(of_resource)});
  return line.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

absl::Status SpanFile::Check(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const bool there = access(path.c_str(), F_OK) == 0;
  const std::string& needed = there ? path : folder.empty() ? "." : folder;
  if (access(needed.c_str(), W_OK) == 0 && (!there || !std::filesystem::is_directory(path))) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "cannot write traces to ", path, ": ",
      there && std::filesystem::is_directory(path) ? "it is a directory" : std::strerror(errno)));
}

absl::StatusOr<std::unique_ptr<SpanFile>> SpanFile::Open(const std::string& path,
                                                         absl::string_view server_version) {
  const int descriptor = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
  if (descriptor < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot write traces to ", path, ": ", std::strerror(errno)));
  }
  return std::unique_ptr<SpanFile>(new SpanFile(path, descriptor, server_version));
}

SpanFile::SpanFile(std::string path, int descriptor, absl::string_view server_version)
    : path_(std::move(path)), descriptor_(descriptor), server_version_(server_version) {}

SpanFile::~SpanFile() { close(descriptor_); }

absl::Status SpanFile::Write(const CallReport& call) {
  const std::string line = FormatLine(call, server_version_);
  std::lock_guard<std::mutex> lock(mutex_);
  // After a half line a reader should lose that one alone.
  const std::string text = absl::StrCat(half_line_ ? "\n" : "", line, "\n");
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t written = write(descriptor_, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int error = errno;
      if (done > 0) half_line_ = true;
      return absl::UnavailableError(
          absl::StrCat("cannot write traces to ", path_, ": ", std::strerror(error)));
    }
    done += static_cast<size_t>(written);
  }
  half_line_ = false;
  return absl::OkStatus();
}

}  // namespace dime
