#include "server/jwt_verifier.h"

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/test_certificates.h"
#include "tests/fakes/test_tokens.h"

namespace dime {
namespace {

using ::nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

class JwtVerifierTest : public ::testing::Test {
 protected:
  ~JwtVerifierTest() override { std::filesystem::remove(path_); }

  absl::StatusOr<std::unique_ptr<JwtVerifier>> Open(const std::string& keys) {
    ReplaceFile(path_, keys);
    return JwtVerifier::Create(Options());
  }
  JwtVerifier::Options Options() {
    JwtVerifier::Options options;
    options.keys_path = path_;
    options.issuer = "https://issuer.example";
    options.audience = "dime";
    options.refresh = absl::ZeroDuration();
    options.max_remembered = 2;
    options.on_reload = [this](const absl::Status& status) { reloads_.push_back(status); };
    options.now = [this] { return now_; };
    return options;
  }
  // Claims that are all right, with these changes; null takes a claim out.
  json Claims(const json& changes = json::object()) const {
    json claims = {{"iss", "https://issuer.example"},
                   {"aud", "dime"},
                   {"sub", "robot-7"},
                   {"exp", absl::ToUnixSeconds(now_) + 300},
                   {"roles", {"write"}}};
    claims.update(changes);
    for (auto it = claims.begin(); it != claims.end();) {
      it = it->is_null() ? claims.erase(it) : std::next(it);
    }
    return claims;
  }

  const std::string path_ = testing::TempDir() + "/" +
                            testing::UnitTest::GetInstance()->current_test_info()->name() + ".jwks";
  absl::Time now_ = absl::FromUnixSeconds(1767323045);
  std::vector<absl::Status> reloads_;
};

TEST_F(JwtVerifierTest, TakesEachKindOfKey) {
  for (const char* algorithm : {"RS256", "RS512", "PS256", "ES256", "ES384"}) {
    const TestTokenKey key(algorithm, "key-1");
    const auto verifier = Open(KeySet({&key}));
    ASSERT_TRUE(verifier.ok()) << verifier.status();
    const auto holder = (*verifier)->Verify(key.Sign(Claims()));
    ASSERT_TRUE(holder.has_value()) << algorithm;
    EXPECT_EQ(holder->name, "jwt:robot-7");
    EXPECT_EQ(holder->role, Role::kWrite);
    const TestTokenKey other(algorithm, "key-1");
    EXPECT_FALSE((*verifier)->Verify(other.Sign(Claims())).has_value()) << algorithm;
  }
}

TEST_F(JwtVerifierTest, TheHighestRoleOfTheClaimCounts) {
  const TestTokenKey key("ES256", "k");
  const auto verifier = Open(KeySet({&key}));
  ASSERT_TRUE(verifier.ok());
  const auto role = [&](const json& roles) {
    return (*verifier)->Verify(key.Sign(Claims({{"roles", roles}})))->role;
  };
  EXPECT_EQ(role("openid dime:read email"), Role::kRead);
  EXPECT_EQ(role({"read", "dime:admin", "write"}), Role::kAdmin);
  EXPECT_EQ(role({"reader", 7}), std::nullopt);
  EXPECT_EQ(role(nullptr), std::nullopt);
  EXPECT_EQ(role(json::object()), std::nullopt);
}

TEST_F(JwtVerifierTest, ClaimsMustFit) {
  const TestTokenKey key("ES256", "k");
  const auto verifier = Open(KeySet({&key}));
  ASSERT_TRUE(verifier.ok());
  const auto taken = [&](const json& changes) {
    return (*verifier)->Verify(key.Sign(Claims(changes))).has_value();
  };
  const int64_t now = absl::ToUnixSeconds(now_);
  EXPECT_TRUE(taken({{"aud", {"other", "dime"}}}));
  EXPECT_TRUE(taken({{"nbf", now + 29}})) << "clocks differ";
  EXPECT_TRUE(taken({{"exp", now - 29}}));
  for (const json& wrong : std::vector<json>{{{"iss", "https://issuer.example/"}},
                                             {{"iss", nullptr}},
                                             {{"aud", "dime2"}},
                                             {{"aud", {"a", "b"}}},
                                             {{"aud", nullptr}},
                                             {{"exp", now - 31}},
                                             {{"exp", nullptr}},
                                             {{"exp", "tomorrow"}},
                                             {{"exp", 1e300}},
                                             {{"nbf", now + 31}},
                                             {{"nbf", "now"}}}) {
    EXPECT_FALSE(taken(wrong)) << wrong;
  }
}

TEST_F(JwtVerifierTest, TokensThatLieAboutTheirSignatureAreRefused) {
  const TestTokenKey rsa("RS256", "rsa");
  const TestTokenKey ec("ES256", "ec");
  const auto verifier = Open(KeySet({&rsa, &ec}));
  ASSERT_TRUE(verifier.ok());
  const auto taken = [&](const std::string& token) {
    return (*verifier)->Verify(token).has_value();
  };
  const std::string good = rsa.Sign(Claims());
  EXPECT_TRUE(taken(good));
  const std::vector<std::string> parts = absl::StrSplit(good, '.');
  const auto with_header = [&parts](const json& header) {
    return absl::StrCat(absl::WebSafeBase64Escape(header.dump()), ".", parts[1], ".", parts[2]);
  };
  EXPECT_FALSE(taken(with_header({{"alg", "none"}})));
  EXPECT_FALSE(
      taken(absl::StrCat(absl::WebSafeBase64Escape(R"({"alg":"none"})"), ".", parts[1], ".")));
  EXPECT_FALSE(taken(with_header({{"alg", "ES256"}, {"kid", "rsa"}})));
  // The public key as a secret one: what a verifier falls for that goes by the token's word alone.
  EXPECT_FALSE(taken(SignHs256(Claims(), rsa.PublicJwk().dump())));
  EXPECT_FALSE(taken(rsa.Sign(Claims(), {{"crit", {"exp"}}})));
  EXPECT_FALSE(taken(rsa.Sign(Claims(), {{"kid", "unknown"}})));
  EXPECT_FALSE(taken(ec.Sign(Claims(), {{"kid", "rsa"}})));
  for (size_t i = 0; i < good.size(); i += 7) {
    std::string damaged = good;
    damaged[i] = damaged[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(taken(damaged)) << i;
  }
  for (const char* garbage : {"..", "a.b.c", "e30.e30.e30", "....", "\xff.\xff.\xff"}) {
    EXPECT_FALSE(taken(garbage)) << garbage;
  }
  // Of lengths that no bytes come to, at which cjose would end the process.
  for (size_t cut = 1; cut < 6; ++cut) {
    EXPECT_FALSE(taken(good.substr(0, good.size() - cut))) << cut;
    EXPECT_FALSE(taken(absl::StrCat(parts[0], ".", parts[1].substr(cut), ".", parts[2]))) << cut;
    EXPECT_FALSE(
        taken(absl::StrCat(parts[0], std::string(cut, 'A'), ".", parts[1], ".", parts[2])));
  }
}

TEST_F(JwtVerifierTest, WhatWasVerifiedIsRememberedUntilItExpires) {
  const TestTokenKey key("ES256", "k");
  const auto verifier = Open(KeySet({&key}));
  ASSERT_TRUE(verifier.ok());
  const std::string token = key.Sign(Claims());
  const std::string roleless = key.Sign(Claims({{"roles", nullptr}, {"sub", "other"}}));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ((*verifier)->Verify(token)->role, Role::kWrite);
    EXPECT_EQ((*verifier)->Verify(roleless)->role, std::nullopt);
    // More than are remembered, so that each is verified anew at times.
    EXPECT_TRUE((*verifier)->Verify(key.Sign(Claims({{"sub", absl::StrCat(i)}}))).has_value());
  }
  EXPECT_TRUE((*verifier)->Verify(token).has_value());
  now_ += absl::Seconds(331);
  EXPECT_FALSE((*verifier)->Verify(token).has_value());
}

TEST_F(JwtVerifierTest, AKeyThatIsGoneIsForgottenWithAllItSigned) {
  const TestTokenKey old_key("ES256", "old");
  const TestTokenKey new_key("ES256", "new");
  const auto verifier = Open(KeySet({&old_key}));
  ASSERT_TRUE(verifier.ok());
  const std::string token = old_key.Sign(Claims());
  EXPECT_TRUE((*verifier)->Verify(token).has_value());
  EXPECT_TRUE(reloads_.empty());

  ReplaceFile(path_, "{\"keys\": 7}");
  EXPECT_TRUE((*verifier)->Verify(token).has_value()) << "a damaged file leaves the keys";
  ASSERT_EQ(reloads_.size(), 1u);
  EXPECT_FALSE(reloads_[0].ok());

  ReplaceFile(path_, KeySet({&new_key}));
  EXPECT_FALSE((*verifier)->Verify(token).has_value());
  EXPECT_TRUE((*verifier)->Verify(new_key.Sign(Claims())).has_value());
  EXPECT_EQ(reloads_.size(), 2u);
}

TEST_F(JwtVerifierTest, AWrongKeySetIsToldByKey) {
  const TestTokenKey key("ES256", "k");
  json private_key = key.PublicJwk();
  private_key["d"] = "AAAA";
  json damaged = key.PublicJwk();
  damaged["x"] = "AAAA";
  json of_no_length = key.PublicJwk();
  of_no_length["x"] = "AAAAA";
  const auto set = [&key](const json& second) {
    return json{{"keys", {key.PublicJwk(), second}}}.dump();
  };
  const TestTokenKey short_key("RS256", "short", /*rsa_bits=*/1024);
  const std::pair<std::string, std::string> wrongs[] = {
      {" ", "is no JWK set"},
      {"[]", "is no JWK set"},
      {R"({"keys": {}})", "is no JWK set"},
      {R"({"keys": [7]})", "key 1 is no object"},
      {set(private_key), "key 2 is private"},
      {set(damaged), "key 2 is damaged"},
      {set(of_no_length), "key 2: \"x\" is no base64url"},
      {set({{"kty", "oct"}, {"k", "c2VjcmV0"}}), "key 2 is symmetric"},
      {set(short_key.PublicJwk()), "key 2 is shorter than 2048 bits"},
      {R"({"keys": []})", "holds no RSA or EC key"},
      {R"({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA"}]})", "holds no RSA or EC key"}};
  for (const auto& [text, told] : wrongs) {
    const absl::Status status = Open(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
    EXPECT_THAT(std::string(status.message()), HasSubstr(told));
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("c2VjcmV0")));
  }
  // Of a set that is for others too, what is of no use here is left out.
  json encryption = key.PublicJwk();
  encryption["use"] = "enc";
  EXPECT_TRUE(Open(set(encryption)).ok());
  std::filesystem::remove(path_);
  EXPECT_EQ(JwtVerifier::Create(Options()).status().code(), absl::StatusCode::kNotFound);
  JwtVerifier::Options without_issuer = Options();
  without_issuer.issuer.clear();
  EXPECT_THAT(JwtVerifier::Create(without_issuer).status().message(), HasSubstr("--jwt-issuer"));
  JwtVerifier::Options without_keys = Options();
  without_keys.keys_path.clear();
  EXPECT_THAT(JwtVerifier::Create(without_keys).status().message(), HasSubstr("go together"));
}

TEST_F(JwtVerifierTest, NamesAreFitForLogs) {
  const TestTokenKey key("ES256", "k");
  const auto verifier = Open(KeySet({&key}));
  ASSERT_TRUE(verifier.ok());
  const auto name = [&](const json& subject) {
    return (*verifier)->Verify(key.Sign(Claims({{"sub", subject}})))->name;
  };
  EXPECT_EQ(name("a\nb c"), "jwt:a?b?c");
  EXPECT_EQ(name(std::string(500, 'x')).size(), 4u + 128u);
  EXPECT_EQ(name(nullptr), "jwt:?");
}

}  // namespace
}  // namespace dime
