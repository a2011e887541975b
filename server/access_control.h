#ifndef DIME_SERVER_ACCESS_CONTROL_H_
#define DIME_SERVER_ACCESS_CONTROL_H_

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/rpc_method.h"

namespace dime {

// Each role may do all that those before it may.
enum class Role { kRead, kWrite, kAdmin };

// The least that a method asks for: searches and what only reads, writes, snapshots.
Role RoleFor(RpcMethod method);

// Who may call what, by a file of bearer tokens. A line is
//
//     ROLE SHA256 [NAME]
//
// with the role read, write or admin, the token's SHA-256 in 64 hexadecimal digits, and a name for
// the token's holder (1 to 64 letters, digits and "-_."); empty lines and those that begin with #
// say nothing. Tokens are random, of 128 bits or more, so that nobody can try them all: this is why
// a plain hash will do, where passwords would want a slow one with salt.
// The file is looked at again when a call comes and `refresh` has passed, and read when it has
// changed; if it is then damaged or gone, what was read last stays, `on_reload` is told, and it is
// read again when it changes. Every hash is compared in constant time, known or not.
// Thread-safe. No secret ever gets into a status.
class AccessControl {
 public:
  struct Options {
    std::string path;
    absl::Duration refresh = absl::Seconds(1);
    // Called with what came of reading a changed file; may be empty. Not to call back.
    std::function<void(const absl::Status&)> on_reload;
  };
  // A known holder of a token.
  struct Principal {
    std::string name;  // from the file, else "token-" and the first digits of the hash
    Role role = Role::kRead;
  };

  // INVALID_ARGUMENT or NOT_FOUND, naming file and line, for a file that cannot be used.
  static absl::StatusOr<std::unique_ptr<AccessControl>> Create(Options options);

  // Whether a call with these values of the metadata key "authorization" may be made:
  // UNAUTHENTICATED in always the same words, or PERMISSION_DENIED.
  absl::StatusOr<Principal> Authorize(const std::vector<absl::string_view>& authorization,
                                      RpcMethod method) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Hash = std::array<unsigned char, 32>;
  struct Rule {
    Hash hash;
    Principal principal;
  };
  using Rules = std::vector<Rule>;
  // What tells that a file has changed.
  struct Stamp {
    int64_t device = 0, inode = 0, size = -1, seconds = 0, nanoseconds = 0;
    bool operator==(const Stamp&) const = default;
  };

  explicit AccessControl(Options options) : options_(std::move(options)) {}
  static Stamp StampOf(const std::string& path);
  static absl::StatusOr<Rules> Read(const std::string& path);
  std::shared_ptr<const Rules> CurrentRules() ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  std::mutex mutex_;
  std::shared_ptr<const Rules> rules_ ABSL_GUARDED_BY(mutex_);
  Stamp stamp_ ABSL_GUARDED_BY(mutex_);
  absl::Time next_look_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dime

#endif  // DIME_SERVER_ACCESS_CONTROL_H_
