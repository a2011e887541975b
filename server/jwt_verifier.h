#ifndef DIME_SERVER_JWT_VERIFIER_H_
#define DIME_SERVER_JWT_VERIFIER_H_

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/principal.h"
#include "server/watched_file.h"

namespace dime {

// Takes JSON Web Tokens of an identity provider (RFC 7519, signed as RFC 7515 has it) by the public
// keys of a JWK set in a file (RFC 7517): no URL is ever fetched; whoever runs the server keeps the
// file up to date, and it is read again when it has changed (a damaged one leaves the keys as they
// were). Signatures are verified by cjose. Taken are RS256 to RS512, PS256 to PS512 and ES256 to
// ES512, each with a key of its own kind, never a symmetric key or none; a token's "iss" and "aud"
// must be those expected, "exp" is required, "nbf" heeded, "crit" refused. The role is the highest
// that the role claim names: a string of words, or an array of strings, of which "read", "write",
// "admin", or these behind "dime:", count.
// What was verified is remembered until it expires, so that a caller's next calls cost a hash.
// Thread-safe. Nothing of a token ever gets into a status.
class JwtVerifier {
 public:
  struct Options {
    std::string keys_path;
    std::string issuer;    // "iss", exactly
    std::string audience;  // "aud" or one of it, exactly
    std::string role_claim = "roles";
    absl::Duration leeway = absl::Seconds(30);  // for clocks that differ
    absl::Duration refresh = absl::Seconds(1);  // of the file
    size_t max_remembered = 4096;               // tokens
    // Called with what came of reading a changed file; may be empty. Not to call back.
    std::function<void(const absl::Status&)> on_reload;
    std::function<absl::Time()> now = [] { return absl::Now(); };
  };

  // INVALID_ARGUMENT or NOT_FOUND, naming option or file, for what cannot be used.
  static absl::StatusOr<std::unique_ptr<JwtVerifier>> Create(Options options);
  ~JwtVerifier();

  // Whether a text has the form of such a token, so that it is none of another kind.
  static bool LooksLikeToken(absl::string_view text);

  // The token's holder, by the name "jwt:" and its "sub"; the role is absent if it has none.
  // Nothing for a token that is not to be taken, for whatever reason.
  struct Holder {
    std::string name;
    std::optional<Role> role;
  };
  std::optional<Holder> Verify(absl::string_view token) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Key;
  using Keys = std::vector<Key>;
  struct Remembered {
    Holder holder;
    absl::Time expiry;
    std::list<std::string>::iterator age;  // in ages_
  };

  explicit JwtVerifier(Options options);
  static absl::StatusOr<std::shared_ptr<const Keys>> Read(const std::string& path);
  // By signature and claims, at this time; `expiry` is filled in.
  std::optional<Holder> Check(const Keys& keys, absl::string_view token, absl::Time now,
                              absl::Time& expiry) const;

  const Options options_;
  std::mutex mutex_;
  WatchedFile file_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const Keys> keys_ ABSL_GUARDED_BY(mutex_);
  // By the SHA-256 of the token; the oldest goes first.
  std::unordered_map<std::string, Remembered> remembered_ ABSL_GUARDED_BY(mutex_);
  std::list<std::string> ages_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dime

#endif  // DIME_SERVER_JWT_VERIFIER_H_
