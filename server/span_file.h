#ifndef DIME_SERVER_SPAN_FILE_H_
#define DIME_SERVER_SPAN_FILE_H_

#include <memory>
#include <mutex>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/call_report.h"

namespace dime {

// Spans of calls, appended to a file in OpenTelemetry's JSON encoding of OTLP (one
// ExportTraceServiceRequest a line), which the OpenTelemetry collector's otlpjsonfile receiver
// reads; there is no exporter library in the distribution. Each call is a server span by the
// conventions for RPCs; the stages of a search are spans below it, and so are the queries of a
// batch, each with its stages. Each call's spans are one write at the file's end, so that another
// program may rotate the file by copying and truncating it. Thread-safe.
class SpanFile {
 public:
  // Whether Open() would do: INVALID_ARGUMENT, naming the file, if it cannot be written to or made.
  static absl::Status Check(const std::string& path);
  // The errors of Check().
  static absl::StatusOr<std::unique_ptr<SpanFile>> Open(const std::string& path,
                                                        absl::string_view server_version);
  ~SpanFile();
  SpanFile(const SpanFile&) = delete;
  SpanFile& operator=(const SpanFile&) = delete;

  // Whether its spans are wanted is the caller's to ask. UNAVAILABLE, naming the file, if there was
  // no room or the like; the next one is tried again.
  absl::Status Write(const CallReport& call) ABSL_LOCKS_EXCLUDED(mutex_);

  // The line of a call, without its end.
  static std::string FormatLine(const CallReport& call, absl::string_view server_version);

 private:
  SpanFile(std::string path, int descriptor, absl::string_view server_version);

  const std::string path_;
  const int descriptor_;
  const std::string server_version_;
  std::mutex mutex_;
  bool half_line_ ABSL_GUARDED_BY(mutex_) = false;  // the last write stopped within its line
};

}  // namespace dime

#endif  // DIME_SERVER_SPAN_FILE_H_
