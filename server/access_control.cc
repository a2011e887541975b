#include "server/access_control.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "index/status_macros.h"
#include "server/error_details.h"

namespace dime {
namespace {

constexpr absl::string_view kScheme = "bearer ";
constexpr size_t kMostTokenBytes = 8192;
constexpr size_t kMostNameBytes = 64;
constexpr size_t kHashDigits = 64;

bool IsName(absl::string_view text) {
  return !text.empty() && text.size() <= kMostNameBytes &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
         });
}

// The same whatever is wrong, so that nobody learns what was nearly right.
absl::Status Unauthenticated() {
  return ReasonedError(absl::StatusCode::kUnauthenticated, v1::ERROR_REASON_CREDENTIALS_INVALID,
                       "the call needs a valid bearer token");
}

}  // namespace

Role RoleFor(RpcMethod method) {
  switch (method) {
    case RpcMethod::kSearchImages:
    case RpcMethod::kSearchCaptions:
    case RpcMethod::kBatchSearchImages:
    case RpcMethod::kBatchSearchCaptions:
    case RpcMethod::kExplainPair:
    case RpcMethod::kGetInfo:
    case RpcMethod::kGetItem:
    case RpcMethod::kListItems:
    case RpcMethod::kGetStats:
      return Role::kRead;
    case RpcMethod::kUpsertImages:
    case RpcMethod::kUpsertCaptions:
    case RpcMethod::kDeleteItems:
      return Role::kWrite;
    case RpcMethod::kCreateSnapshot:
    case RpcMethod::kListSlowRequests:
      return Role::kAdmin;
  }
  return Role::kAdmin;
}

absl::StatusOr<std::unique_ptr<AccessControl>> AccessControl::Create(Options options) {
  std::unique_ptr<AccessControl> access(new AccessControl(std::move(options)));
  const Options& given = access->options_;
  if (given.jwt.has_value()) {
    JwtVerifier::Options jwt = *given.jwt;
    jwt.refresh = given.refresh;
    jwt.on_reload = given.on_reload;
    ASSIGN_OR_RETURN(access->jwt_, JwtVerifier::Create(std::move(jwt)));
  }
  Rules rules;
  if (!given.path.empty()) {
    ASSIGN_OR_RETURN(rules, Read(given.path));
  }
  std::lock_guard<std::mutex> lock(access->mutex_);
  access->rules_ = std::make_shared<const Rules>(std::move(rules));
  return access;
}

absl::StatusOr<AccessControl::Rules> AccessControl::Read(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  if (!file || !(text << file.rdbuf())) {
    return absl::NotFoundError(absl::StrCat("cannot read the token file ", path,
                                            ": it must be there and hold at least one token"));
  }
  const std::string content = text.str();
  Rules rules;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(content, '\n')) {
    ++number;
    // The line itself is not quoted: who wrote a token instead of its hash shall not find it in
    // logs.
    const auto wrong = [&path, number](absl::string_view what) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ":", number, ": ", what,
                       "; a line is ROLE SHA256 [NAME] (see docs/deployment.md)"));
    };
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty() || words[0][0] == '#') continue;
    if (words.size() < 2 || words.size() > 3) return wrong("there must be two or three words");
    Rule rule;
    const std::optional<Role> role = ParseRole(words[0]);
    if (!role.has_value()) return wrong("the role must be metrics, read, write or admin");
    rule.principal.role = *role;
    if (words[1].size() != kHashDigits ||
        !std::all_of(words[1].begin(), words[1].end(), absl::ascii_isxdigit)) {
      return wrong("the hash must be 64 hexadecimal digits");
    }
    const std::string hash = absl::HexStringToBytes(words[1]);
    std::copy(hash.begin(), hash.end(), rule.hash.begin());
    if (words.size() == 3 && !IsName(words[2])) {
      return wrong("a name has 1 to 64 letters, digits and \"-_.\"");
    }
    rule.principal.name =
        words.size() == 3 ? std::string(words[2])
                          : absl::StrCat("token-", absl::AsciiStrToLower(words[1].substr(0, 8)));
    for (const Rule& other : rules) {
      if (other.hash == rule.hash) return wrong("the hash is there already");
    }
    rules.push_back(std::move(rule));
  }
  if (rules.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("the token file ", path, " holds no token"));
  }
  return rules;
}

std::shared_ptr<const AccessControl::Rules> AccessControl::CurrentRules() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (options_.path.empty() || !file_.Changed()) return rules_;
  absl::StatusOr<Rules> read = Read(options_.path);
  if (read.ok()) rules_ = std::make_shared<const Rules>(*std::move(read));
  if (options_.on_reload) options_.on_reload(read.status());
  return rules_;
}

std::optional<JwtVerifier::Holder> AccessControl::FindHolder(absl::string_view token) {
  if (jwt_ != nullptr && JwtVerifier::LooksLikeToken(token)) return jwt_->Verify(token);
  Hash hash;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), hash.data());
  const std::shared_ptr<const Rules> rules = CurrentRules();
  const Rule* found = nullptr;
  for (const Rule& rule : *rules) {
    if (CRYPTO_memcmp(rule.hash.data(), hash.data(), hash.size()) == 0) found = &rule;
  }
  if (found == nullptr) return std::nullopt;
  return JwtVerifier::Holder{.name = found->principal.name, .role = found->principal.role};
}

absl::StatusOr<Principal> AccessControl::Authorize(
    const std::vector<absl::string_view>& authorization, Role least) {
  if (authorization.size() != 1) return Unauthenticated();
  absl::string_view token = authorization.front();
  if (!absl::StartsWithIgnoreCase(token, kScheme)) return Unauthenticated();
  token = absl::StripAsciiWhitespace(token.substr(kScheme.size()));
  if (token.empty() || token.size() > kMostTokenBytes) return Unauthenticated();
  std::optional<JwtVerifier::Holder> holder = FindHolder(token);
  if (!holder.has_value()) return Unauthenticated();
  if (!holder->role.has_value() || *holder->role < least) {
    return ReasonedError(absl::StatusCode::kPermissionDenied, v1::ERROR_REASON_ROLE_INSUFFICIENT,
                         "the token's role does not allow this method");
  }
  return Principal{.name = std::move(holder->name), .role = *holder->role};
}

}  // namespace dime
