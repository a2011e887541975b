#ifndef DIME_SERVER_TRACE_CONTEXT_H_
#define DIME_SERVER_TRACE_CONTEXT_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace dime {

// Where a call stands in a distributed trace, by W3C Trace Context (level 1): ids are lower-case
// hexadecimal. All functions are pure but for their randomness.
struct TraceContext {
  std::string trace_id;        // 32 digits, not all zero
  std::string span_id;         // 16 digits, not all zero: the call's own span here
  std::string parent_span_id;  // 16 digits, of the caller's span; empty: there is none
  bool sampled = false;        // whether its spans are wanted
};

// The trace that a `traceparent` header names, as the caller's span is in it: span_id is that one,
// parent_span_id empty. Nothing for a header that is malformed, which is to be ignored. Of a
// version later than this (00) what is known is taken, as the standard has it.
std::optional<TraceContext> ParseTraceParent(absl::string_view header);

// The header for calls that this span makes.
std::string FormatTraceParent(const TraceContext& span);

// A span of its own below the one that `traceparent` names; where that is empty or malformed, the
// root of a new trace, sampled with probability `root_rate` (0 to 1).
TraceContext StartSpan(absl::string_view traceparent, double root_rate);

// A new span below `parent`, in its trace.
TraceContext SpanBelow(const TraceContext& parent);

// So many random digits, not all zero.
std::string RandomHex(int digits);

}  // namespace dime

#endif  // DIME_SERVER_TRACE_CONTEXT_H_
