#ifndef DIME_SERVER_ACCESS_CONTROL_H_
#define DIME_SERVER_ACCESS_CONTROL_H_

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/jwt_verifier.h"
#include "server/principal.h"
#include "server/rpc_method.h"
#include "server/watched_file.h"

namespace dime {

// The least that a method asks for: searches and what only reads; writes; snapshots and
// what the server remembers of others' calls.
Role RoleFor(RpcMethod method);

// Who may call what, by bearer tokens: those whose hashes a file holds, and, where there is a
// JwtVerifier, JSON Web Tokens. A line of the file is
//
//     ROLE SHA256 [NAME]
//
// with the role metrics, read, write or admin, the token's SHA-256 in 64 hexadecimal digits, and a
// name for the token's holder (1 to 64 letters, digits and "-_."); empty lines and those that begin
// with # say nothing. Tokens are random, of 128 bits or more, so that nobody can try them all: this
// is why a plain hash will do, where passwords would want a slow one with salt.
// The file is looked at again when a call comes and `refresh` has passed, and read when it has
// changed; if it is then damaged or gone, what was read last stays, `on_reload` is told, and it is
// read again when it changes. Every hash is compared in constant time, known or not.
// Thread-safe. No secret ever gets into a status.
class AccessControl {
 public:
  struct Options {
    std::string path;  // empty: there is no file
    absl::Duration refresh = absl::Seconds(1);
    // Called with what came of reading a changed file, of keys too; may be empty. Not to call back.
    std::function<void(const absl::Status&)> on_reload;
    std::optional<JwtVerifier::Options> jwt;  // its refresh and callback are those above
  };

  // INVALID_ARGUMENT or NOT_FOUND, naming file and line, for a file that cannot be used.
  static absl::StatusOr<std::unique_ptr<AccessControl>> Create(Options options);

  // Whether a call with these values of the metadata key "authorization" may be made:
  // UNAUTHENTICATED in always the same words, or PERMISSION_DENIED. A principal is named by the
  // file, else "token-" and the first digits of the hash, or as JwtVerifier has it.
  absl::StatusOr<Principal> Authorize(const std::vector<absl::string_view>& authorization,
                                      RpcMethod method) {
    return Authorize(authorization, RoleFor(method));
  }
  // The same for what at least this role may do.
  absl::StatusOr<Principal> Authorize(const std::vector<absl::string_view>& authorization,
                                      Role least) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Hash = std::array<unsigned char, 32>;
  struct Rule {
    Hash hash;
    Principal principal;
  };
  using Rules = std::vector<Rule>;

  explicit AccessControl(Options options)
      : options_(std::move(options)), file_(options_.path, options_.refresh) {}
  static absl::StatusOr<Rules> Read(const std::string& path);
  std::shared_ptr<const Rules> CurrentRules() ABSL_LOCKS_EXCLUDED(mutex_);
  // Nothing for an unknown token; without a role for a known one that has none.
  std::optional<JwtVerifier::Holder> FindHolder(absl::string_view token)
      ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  std::unique_ptr<JwtVerifier> jwt_;  // null: such tokens are not taken
  std::mutex mutex_;
  WatchedFile file_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const Rules> rules_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dime

#endif  // DIME_SERVER_ACCESS_CONTROL_H_
