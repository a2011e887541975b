#include "server/log.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

const char* Name(Log::Severity severity) {
  switch (severity) {
    case Log::Severity::kInfo:
      return "INFO";
    case Log::Severity::kWarning:
      return "WARNING";
    case Log::Severity::kError:
      return "ERROR";
  }
  return "";
}

std::string Dump(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// Words that need no quotes go without.
std::string ValueText(const Log::Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) {
    const bool plain = !text->empty() && text->find_first_of(" \"=\\\t\r\n") == std::string::npos;
    return plain ? *text : Dump(*text);
  }
  if (const auto* real = std::get_if<double>(&value)) return absl::StrFormat("%.6g", *real);
  if (const auto* truth = std::get_if<bool>(&value)) return *truth ? "true" : "false";
  return absl::StrCat(std::get<int64_t>(value));
}

}  // namespace

std::string Log::FormatLine(Format format, absl::Time time, Severity severity,
                            absl::string_view message, const Fields& fields) {
  if (format == Format::kText) {
    std::string line = severity == Severity::kInfo      ? ""
                       : severity == Severity::kWarning ? "warning: "
                                                        : "error: ";
    absl::StrAppend(&line, message);
    for (const auto& [name, value] : fields) {
      absl::StrAppend(&line, " ", name, "=", ValueText(value));
    }
    return line;
  }
  nlohmann::ordered_json json = {
      {"time", absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", time, absl::UTCTimeZone())},
      {"severity", Name(severity)},
      {"message", std::string(message)}};
  for (const auto& [name, value] : fields) {
    std::visit([&json, key = std::string(name)](const auto& v) { json[key] = v; }, value);
  }
  return Dump(json);
}

void Log::Write(Severity severity, absl::string_view message, const Fields& fields) {
  const std::string line = FormatLine(format_, absl::Now(), severity, message, fields);
  std::lock_guard<std::mutex> lock(mutex_);
  stream_ << line << std::endl;
}

}  // namespace dime
