#ifndef DIME_SERVER_LOG_H_
#define DIME_SERVER_LOG_H_

#include <cstdint>
#include <mutex>
#include <ostream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace dime {

// What the server has to say to whoever runs it, a line each: as text for people, or as JSON for
// collectors of logs. The latter has "time" (RFC 3339, UTC, microseconds), "severity" (INFO,
// WARNING, ERROR), "message" and the entry's own fields. Thread-safe: lines never mix. The stream
// must outlive it.
class Log {
 public:
  enum class Format { kText, kJson };
  enum class Severity { kInfo, kWarning, kError };
  using Value = std::variant<std::string, int64_t, double, bool>;
  using Fields = std::vector<std::pair<absl::string_view, Value>>;

  Log(Format format, std::ostream* stream) : format_(format), stream_(*stream) {}

  Format format() const { return format_; }
  // In text: the message as it is, after "warning: " or "error: " where it is one, then the fields
  // as name=value, whose values never break the line. In JSON what is not UTF-8 is replaced.
  void Write(Severity severity, absl::string_view message, const Fields& fields = {})
      ABSL_LOCKS_EXCLUDED(mutex_);
  void Info(absl::string_view message, const Fields& fields = {}) {
    Write(Severity::kInfo, message, fields);
  }
  void Warning(absl::string_view message, const Fields& fields = {}) {
    Write(Severity::kWarning, message, fields);
  }

  // The line of an entry, without its end.
  static std::string FormatLine(Format format, absl::Time time, Severity severity,
                                absl::string_view message, const Fields& fields);

 private:
  const Format format_;
  std::mutex mutex_;
  std::ostream& stream_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dime

#endif  // DIME_SERVER_LOG_H_
