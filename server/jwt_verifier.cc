#include "server/jwt_verifier.h"

#include <cjose/cjose.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "index/status_macros.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

using Json = nlohmann::json;

constexpr size_t kMostSubjectBytes = 128;
constexpr size_t kLeastRsaBits = 2048;
constexpr absl::string_view kNamePrefix = "jwt:";
constexpr absl::string_view kRolePrefix = "dime:";

struct JwkDeleter {
  void operator()(cjose_jwk_t* key) const { cjose_jwk_release(key); }
};
struct JwsDeleter {
  void operator()(cjose_jws_t* jws) const { cjose_jws_release(jws); }
};
using Jws = std::unique_ptr<cjose_jws_t, JwsDeleter>;

// Asymmetric signatures, by the kind of key that makes them. Whoever takes an algorithm out of the
// token alone can be given a public key as a secret one.
struct Algorithm {
  absl::string_view name;
  absl::string_view kty;
  absl::string_view curve;  // of EC keys
};
constexpr Algorithm kAlgorithms[] = {
    {"RS256", "RSA", ""},     {"RS384", "RSA", ""},     {"RS512", "RSA", ""},
    {"PS256", "RSA", ""},     {"PS384", "RSA", ""},     {"PS512", "RSA", ""},
    {"ES256", "EC", "P-256"}, {"ES384", "EC", "P-384"}, {"ES512", "EC", "P-521"},
};

const Algorithm* FindAlgorithm(absl::string_view name) {
  for (const Algorithm& algorithm : kAlgorithms) {
    if (algorithm.name == name) return &algorithm;
  }
  return nullptr;
}

// A field that is a string, else an empty one.
std::string Text(const Json& json, const char* field) {
  const auto found = json.find(field);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

// Whether a text is base64url without padding that some bytes come to. cjose does not ask but
// asserts: a hostile token would end the process.
bool IsBase64Url(absl::string_view text) {
  return !text.empty() && text.size() % 4 != 1 && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
  });
}

// An object, or nothing.
std::optional<Json> ParseObject(absl::string_view text) {
  Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  return json;
}

// A NumericDate within what times can be.
std::optional<absl::Time> Time(const Json& claims, const char* field) {
  const auto found = claims.find(field);
  if (found == claims.end() || !found->is_number()) return std::nullopt;
  const double seconds = found->get<double>();
  if (!std::isfinite(seconds) || std::abs(seconds) > 1e11) return std::nullopt;
  return absl::UnixEpoch() + absl::Seconds(seconds);
}

bool IsFor(const Json& claims, const std::string& audience) {
  const auto found = claims.find("aud");
  if (found == claims.end()) return false;
  if (found->is_string()) return found->get<std::string>() == audience;
  return found->is_array() && std::find(found->begin(), found->end(), audience) != found->end();
}

void TakeRoles(absl::string_view words, std::optional<Role>& role) {
  for (absl::string_view word : absl::StrSplit(words, ' ', absl::SkipEmpty())) {
    absl::ConsumePrefix(&word, kRolePrefix);
    const std::optional<Role> named = ParseRole(word);
    if (named.has_value() && (!role.has_value() || *named > *role)) role = named;
  }
}

std::optional<Role> RoleOf(const Json& claims, const std::string& claim) {
  std::optional<Role> role;
  const auto found = claims.find(claim);
  if (found == claims.end()) return role;
  if (found->is_string()) TakeRoles(found->get<std::string>(), role);
  if (!found->is_array()) return role;
  for (const Json& word : *found) {
    if (word.is_string()) TakeRoles(word.get<std::string>(), role);
  }
  return role;
}

// What logs and queues can take for a name.
std::string NameOf(const Json& claims) {
  std::string subject = Text(claims, "sub").substr(0, kMostSubjectBytes);
  for (char& c : subject) {
    if (!absl::ascii_isgraph(static_cast<unsigned char>(c))) c = '?';
  }
  return absl::StrCat(kNamePrefix, subject.empty() ? "?" : subject);
}

std::string HashOf(absl::string_view token) {
  std::string hash(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(),
         reinterpret_cast<unsigned char*>(hash.data()));
  return hash;
}

}  // namespace

// A key of the set.
struct JwtVerifier::Key {
  std::string id;         // empty: it has none
  std::string kty;        // "RSA" or "EC"
  std::string curve;      // of the latter
  std::string algorithm;  // the only one it is for; empty: any of its kind
  std::unique_ptr<cjose_jwk_t, JwkDeleter> jwk;

  bool Fits(const Algorithm& wanted, const std::string& wanted_id) const {
    return kty == wanted.kty && curve == wanted.curve &&
           (algorithm.empty() || algorithm == wanted.name) &&
           (wanted_id.empty() || id.empty() || id == wanted_id);
  }
};

absl::StatusOr<std::unique_ptr<JwtVerifier>> JwtVerifier::Create(Options options) {
  if (options.keys_path.empty() || options.issuer.empty() || options.audience.empty()) {
    return absl::InvalidArgumentError(
        "--jwt-keys, --jwt-issuer and --jwt-audience go together, so that tokens made for others "
        "are refused");
  }
  if (options.role_claim.empty()) {
    return absl::InvalidArgumentError("--jwt-role-claim must not be empty");
  }
  // Looked at before it is read, so that no change in between is missed.
  std::unique_ptr<JwtVerifier> verifier(new JwtVerifier(std::move(options)));
  ASSIGN_OR_RETURN(std::shared_ptr<const Keys> keys, Read(verifier->options_.keys_path));
  std::lock_guard<std::mutex> lock(verifier->mutex_);
  verifier->keys_ = std::move(keys);
  return verifier;
}

JwtVerifier::JwtVerifier(Options options)
    : options_(std::move(options)), file_(options_.keys_path, options_.refresh) {}

JwtVerifier::~JwtVerifier() = default;

absl::StatusOr<std::shared_ptr<const JwtVerifier::Keys>> JwtVerifier::Read(
    const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  if (!file || !(text << file.rdbuf())) {
    return absl::NotFoundError(
        absl::StrCat("cannot read the key set ", path, ": it must be there and hold a JWK set"));
  }
  const std::optional<Json> set = ParseObject(text.str());
  const auto wrong = [&path](const auto&... what) {
    return absl::InvalidArgumentError(absl::StrCat("the key set ", path, what...));
  };
  if (!set.has_value() || !set->contains("keys") || !(*set)["keys"].is_array()) {
    return wrong(" is no JWK set: an object with the array \"keys\" (RFC 7517)");
  }
  auto keys = std::make_shared<Keys>();
  int number_of_key = 0;
  for (const Json& json : (*set)["keys"]) {
    ++number_of_key;
    if (!json.is_object()) return wrong(": key ", number_of_key, " is no object");
    Key key;
    key.id = Text(json, "kid");
    key.kty = Text(json, "kty");
    key.curve = key.kty == "EC" ? Text(json, "crv") : "";
    key.algorithm = Text(json, "alg");
    const std::string use = Text(json, "use");
    // Whoever can read a symmetric key can make tokens with it.
    if (key.kty == "oct") {
      return wrong(": key ", number_of_key, " is symmetric; only public keys are taken");
    }
    // Of a set meant for others too, keys of other kinds and for encryption are left out.
    if ((key.kty != "RSA" && key.kty != "EC") || (!use.empty() && use != "sig")) continue;
    if (json.contains("d")) {
      return wrong(": key ", number_of_key, " is private; only public keys belong in the set");
    }
    for (const char* number : {"n", "e", "x", "y"}) {
      if (json.contains(number) && !IsBase64Url(Text(json, number))) {
        return wrong(": key ", number_of_key, ": \"", number, "\" is no base64url");
      }
    }
    const std::string dumped = json.dump();
    cjose_err error = {};
    key.jwk.reset(cjose_jwk_import(dumped.data(), dumped.size(), &error));
    if (key.jwk == nullptr)
      return wrong(": key ", number_of_key, " is damaged, or of an unknown curve");
    if (key.kty == "RSA" && cjose_jwk_get_keysize(key.jwk.get(), &error) < kLeastRsaBits) {
      return wrong(": key ", number_of_key, " is shorter than ", kLeastRsaBits, " bits");
    }
    keys->push_back(std::move(key));
  }
  if (keys->empty()) return wrong(" holds no RSA or EC key for signatures");
  return keys;
}

bool JwtVerifier::LooksLikeToken(absl::string_view text) {
  return std::count(text.begin(), text.end(), '.') == 2;
}

std::optional<JwtVerifier::Holder> JwtVerifier::Verify(absl::string_view token) {
  const std::string hash = HashOf(token);
  const absl::Time now = options_.now();
  std::shared_ptr<const Keys> keys;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (file_.Changed()) {
      absl::StatusOr<std::shared_ptr<const Keys>> read = Read(options_.keys_path);
      if (read.ok()) {
        keys_ = *std::move(read);
        // A key that is gone must not live on in what it has signed.
        remembered_.clear();
        ages_.clear();
      }
      if (options_.on_reload) options_.on_reload(read.status());
    }
    const auto found = remembered_.find(hash);
    if (found != remembered_.end()) {
      if (now < found->second.expiry) return found->second.holder;
      ages_.erase(found->second.age);
      remembered_.erase(found);
    }
    keys = keys_;
  }
  absl::Time expiry;
  std::optional<Holder> holder = Check(*keys, token, now, expiry);
  if (!holder.has_value()) return std::nullopt;
  std::lock_guard<std::mutex> lock(mutex_);
  // Not by keys that were replaced meanwhile.
  if (keys != keys_ || options_.max_remembered == 0) return holder;
  const auto [place, added] = remembered_.try_emplace(hash);
  if (!added) return holder;
  ages_.push_back(hash);
  place->second = {.holder = *holder, .expiry = expiry, .age = std::prev(ages_.end())};
  if (ages_.size() > options_.max_remembered) {
    remembered_.erase(ages_.front());
    ages_.pop_front();
  }
  return holder;
}

std::optional<JwtVerifier::Holder> JwtVerifier::Check(const Keys& keys, absl::string_view token,
                                                      absl::Time now, absl::Time& expiry) const {
  const std::vector<absl::string_view> parts = absl::StrSplit(token, '.');
  std::string header_text;
  if (parts.size() != 3 || !std::all_of(parts.begin(), parts.end(), IsBase64Url) ||
      !absl::WebSafeBase64Unescape(parts[0], &header_text)) {
    return std::nullopt;
  }
  const std::optional<Json> header = ParseObject(header_text);
  // What "crit" names must be understood, and nothing is.
  if (!header.has_value() || header->contains("crit")) return std::nullopt;
  const Algorithm* const algorithm = FindAlgorithm(Text(*header, "alg"));
  if (algorithm == nullptr) return std::nullopt;
  const std::string key_id = Text(*header, "kid");

  const std::string compact(token);
  std::string payload;
  const auto signed_by = [&](const Key& key) {
    cjose_err error = {};
    // cjose verifies a message once.
    const Jws jws(cjose_jws_import(compact.c_str(), compact.size(), &error));
    if (jws == nullptr || !cjose_jws_verify(jws.get(), key.jwk.get(), &error)) return false;
    uint8_t* text = nullptr;
    size_t size = 0;
    if (!cjose_jws_get_plaintext(jws.get(), &text, &size, &error)) return false;
    payload.assign(reinterpret_cast<const char*>(text), size);
    return true;
  };
  const bool genuine = std::any_of(keys.begin(), keys.end(), [&](const Key& key) {
    return key.Fits(*algorithm, key_id) && signed_by(key);
  });
  if (!genuine) return std::nullopt;

  const std::optional<Json> claims = ParseObject(payload);
  if (!claims.has_value()) return std::nullopt;
  const std::optional<absl::Time> end = Time(*claims, "exp");
  if (!end.has_value() || now >= *end + options_.leeway) return std::nullopt;
  if (claims->contains("nbf")) {
    const std::optional<absl::Time> begin = Time(*claims, "nbf");
    if (!begin.has_value() || now < *begin - options_.leeway) return std::nullopt;
  }
  if (Text(*claims, "iss") != options_.issuer || !IsFor(*claims, options_.audience)) {
    return std::nullopt;
  }
  expiry = *end + options_.leeway;
  return Holder{.name = NameOf(*claims), .role = RoleOf(*claims, options_.role_claim)};
}

}  // namespace dime
