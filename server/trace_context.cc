#include "server/trace_context.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"

namespace dime {
namespace {

// version "-" trace-id "-" parent-id "-" trace-flags
constexpr size_t kVersionDigits = 2;
constexpr size_t kTraceIdDigits = 32;
constexpr size_t kSpanIdDigits = 16;
constexpr size_t kFlagsDigits = 2;
constexpr size_t kTraceIdAt = kVersionDigits + 1;
constexpr size_t kSpanIdAt = kTraceIdAt + kTraceIdDigits + 1;
constexpr size_t kFlagsAt = kSpanIdAt + kSpanIdDigits + 1;
constexpr size_t kLength = kFlagsAt + kFlagsDigits;
constexpr int kSampledFlag = 1;

// One generator a thread: making one costs more than a call should.
absl::BitGen& Generator() {
  thread_local absl::BitGen generator;
  return generator;
}

bool IsHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsZero(absl::string_view digits) {
  return std::all_of(digits.begin(), digits.end(), [](char c) { return c == '0'; });
}

int DigitValue(char digit) { return digit <= '9' ? digit - '0' : digit - 'a' + 10; }

}  // namespace

std::optional<TraceContext> ParseTraceParent(absl::string_view header) {
  if (header.size() < kLength) return std::nullopt;
  const absl::string_view version = header.substr(0, kVersionDigits);
  const absl::string_view trace_id = header.substr(kTraceIdAt, kTraceIdDigits);
  const absl::string_view span_id = header.substr(kSpanIdAt, kSpanIdDigits);
  const absl::string_view flags = header.substr(kFlagsAt, kFlagsDigits);
  for (const size_t dash : {kTraceIdAt - 1, kSpanIdAt - 1, kFlagsAt - 1}) {
    if (header[dash] != '-') return std::nullopt;
  }
  if (!IsHex(version) || !IsHex(trace_id) || !IsHex(span_id) || !IsHex(flags)) return std::nullopt;
  if (version == "ff" || IsZero(trace_id) || IsZero(span_id)) return std::nullopt;
  // Later versions may say more, after a further dash.
  if (header.size() > kLength && (version == "00" || header[kLength] != '-')) return std::nullopt;
  TraceContext context;
  context.trace_id = std::string(trace_id);
  context.span_id = std::string(span_id);
  context.sampled = (DigitValue(flags[1]) & kSampledFlag) != 0;
  return context;
}

std::string FormatTraceParent(const TraceContext& span) {
  return absl::StrCat("00-", span.trace_id, "-", span.span_id, span.sampled ? "-01" : "-00");
}

TraceContext StartSpan(absl::string_view traceparent, double root_rate) {
  TraceContext span;
  if (std::optional<TraceContext> caller = ParseTraceParent(traceparent)) {
    span.trace_id = std::move(caller->trace_id);
    span.parent_span_id = std::move(caller->span_id);
    span.sampled = caller->sampled;
  } else {
    span.trace_id = RandomHex(kTraceIdDigits);
    span.sampled = absl::Bernoulli(Generator(), root_rate);
  }
  span.span_id = RandomHex(kSpanIdDigits);
  return span;
}

TraceContext SpanBelow(const TraceContext& parent) {
  return {.trace_id = parent.trace_id,
          .span_id = RandomHex(kSpanIdDigits),
          .parent_span_id = parent.span_id,
          .sampled = parent.sampled};
}

std::string RandomHex(int digits) {
  std::string text;
  do {
    text.clear();
    while (static_cast<int>(text.size()) < digits) {
      absl::StrAppend(&text, absl::Hex(absl::Uniform<uint64_t>(Generator()), absl::kZeroPad16));
    }
    text.resize(digits);
  } while (IsZero(text));
  return text;
}

}  // namespace dime
