#ifndef DIME_SERVER_PRINCIPAL_H_
#define DIME_SERVER_PRINCIPAL_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace dime {

// What a caller may do; each role may do all that those before it may.
enum class Role { kMetrics, kRead, kWrite, kAdmin };

// "metrics", "read", "write", "admin".
inline std::optional<Role> ParseRole(absl::string_view text) {
  if (text == "metrics") return Role::kMetrics;
  if (text == "read") return Role::kRead;
  if (text == "write") return Role::kWrite;
  if (text == "admin") return Role::kAdmin;
  return std::nullopt;
}

// A known caller.
struct Principal {
  std::string name;  // shown in logs, and what queues tell callers apart by
  Role role = Role::kRead;
};

}  // namespace dime

#endif  // DIME_SERVER_PRINCIPAL_H_
