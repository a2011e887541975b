#ifndef DIME_TESTS_FAKES_TEST_TOKENS_H_
#define DIME_TESTS_FAKES_TEST_TOKENS_H_

#include <memory>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"

typedef struct evp_pkey_st EVP_PKEY;

namespace dime {

// A key of an identity provider that signs JSON Web Tokens, by OpenSSL's own functions, so that
// what verifies them is not held against itself.
class TestTokenKey {
 public:
  // RS..., PS... or ES256, ES384; ES512 with P-521.
  TestTokenKey(const std::string& algorithm, const std::string& id, int rsa_bits = 2048);

  // As it stands in a key set.
  nlohmann::json PublicJwk() const;
  // A token in compact form; `header` changes the header's "alg", "kid" and "typ".
  std::string Sign(const nlohmann::json& claims,
                   const nlohmann::json& header = nlohmann::json::object()) const;

 private:
  const std::string algorithm_;
  const std::string id_;
  const std::shared_ptr<EVP_PKEY> key_;
};

// The JWK set of these.
std::string KeySet(const std::vector<const TestTokenKey*>& keys);

// Of an access token, as a file of tokens has it: SHA-256 in hexadecimal digits.
std::string HashOfToken(const std::string& token);

// A token signed by HMAC with a secret, which nobody should take.
std::string SignHs256(const nlohmann::json& claims, const std::string& secret);

}  // namespace dime

#endif  // DIME_TESTS_FAKES_TEST_TOKENS_H_
