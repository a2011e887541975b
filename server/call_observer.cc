#include "server/call_observer.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/error_details.h"
#include "server/proto_values.h"

namespace dime {
namespace {

double Seconds(const google::protobuf::Duration& duration) {
  return absl::ToDoubleSeconds(FromProtoDuration(duration));
}

Log::Severity SeverityOf(const CallReport& call, bool slow) {
  if (call.code == absl::StatusCode::kInternal) return Log::Severity::kError;
  return slow || IsServerFault(call.code) ? Log::Severity::kWarning : Log::Severity::kInfo;
}

}  // namespace

void CallObserver::Ended(CallReport call) {
  // Streams last for as long as their callers like.
  const bool slow = parts_.slow != nullptr && !call.items.has_value() && parts_.slow->IsSlow(call);
  WriteLine(call, slow);
  WriteSpans(call);
  if (!slow) return;
  parts_.metrics->SlowRequest(call.method);
  parts_.slow->Keep(std::move(call));
}

void CallObserver::WriteLine(const CallReport& call, bool slow) {
  if (parts_.log == nullptr || options_.logged == LoggedCalls::kNone) return;
  int64_t left_out = 0;
  if (options_.logged == LoggedCalls::kErrors) {
    if (call.code == absl::StatusCode::kOk && !slow) return;
    if (!TakeLine(left_out)) {
      parts_.metrics->LogLineLeftOut();
      return;
    }
  }
  const std::string code = absl::StatusCodeToString(call.code);
  Log::Fields fields = {{"method", std::string(RpcMethodName(call.method))},
                        {"code", code},
                        {"seconds", absl::ToDoubleSeconds(call.duration)},
                        {"client", call.client},
                        {"request_id", call.request_id},
                        {"trace_id", call.span.trace_id}};
  if (!call.span.parent_span_id.empty()) fields.emplace_back("span_id", call.span.span_id);
  if (call.code != absl::StatusCode::kOk) {
    fields.emplace_back("reason", ReasonName(call.reason));
    fields.emplace_back("error", call.message);
  }
  if (slow) fields.emplace_back("slow", true);
  if (call.search.has_value()) {
    const v1::SearchStats& stats = call.search->stats;
    fields.emplace_back("queue_seconds", Seconds(stats.queue_time()));
    fields.emplace_back("encode_seconds", Seconds(stats.encode_time()));
    fields.emplace_back("recall_seconds", Seconds(stats.recall_time()));
    fields.emplace_back("rerank_seconds", Seconds(stats.rerank_time()));
    fields.emplace_back("select_seconds", Seconds(stats.select_time()));
    fields.emplace_back("recalled", int64_t{stats.recalled_count()});
    fields.emplace_back("reranked", int64_t{stats.reranked_count()});
    if (call.search->degraded) fields.emplace_back("degraded", true);
  }
  if (!call.batch.empty()) {
    const auto answered = std::count_if(call.batch.begin(), call.batch.end(),
                                        [](const auto& search) { return search.has_value(); });
    fields.emplace_back("queries", static_cast<int64_t>(call.batch.size()));
    fields.emplace_back("queries_answered", static_cast<int64_t>(answered));
  }
  if (call.items.has_value()) fields.emplace_back("items", *call.items);
  if (left_out > 0) fields.emplace_back("lines_left_out_before", left_out);
  parts_.log->Write(SeverityOf(call, slow), "call", fields);
}

void CallObserver::WriteSpans(const CallReport& call) {
  if (parts_.spans == nullptr || !call.span.sampled) return;
  const absl::Status written = parts_.spans->Write(call);
  parts_.metrics->SpansWritten(written.ok());
  bool tell = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const bool failed_before = std::exchange(spans_fail_, !written.ok());
    tell = spans_fail_ && !failed_before;
  }
  if (tell && parts_.log != nullptr) {
    parts_.log->Warning(absl::StrCat(written.message(), "; spans are lost until that is mended"));
  }
}

bool CallObserver::TakeLine(int64_t& left_out) {
  const absl::Time now = options_.now();
  std::lock_guard<std::mutex> lock(mutex_);
  if (now - second_ >= absl::Seconds(1)) {
    second_ = now;
    lines_ = 0;
  }
  if (lines_ >= options_.max_error_lines) {
    ++left_out_;
    return false;
  }
  ++lines_;
  left_out = std::exchange(left_out_, 0);
  return true;
}

}  // namespace dime
