#include "tests/fakes/test_tokens.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace dime {
namespace {

using ::nlohmann::json;

const char* CurveOf(const std::string& algorithm) {
  return algorithm == "ES256" ? "P-256" : algorithm == "ES384" ? "P-384" : "P-521";
}
// Bytes of a coordinate.
int CoordinateBytes(const std::string& algorithm) {
  return algorithm == "ES256" ? 32 : algorithm == "ES384" ? 48 : 66;
}
const EVP_MD* HashOf(const std::string& algorithm) {
  if (absl::EndsWith(algorithm, "256")) return EVP_sha256();
  return absl::EndsWith(algorithm, "384") ? EVP_sha384() : EVP_sha512();
}

// Big endian, base64url, of `bytes` bytes or as many as it takes.
std::string Number(const BIGNUM* number, int bytes = 0) {
  std::string text(bytes == 0 ? BN_num_bytes(number) : bytes, '\0');
  BN_bn2binpad(number, reinterpret_cast<unsigned char*>(text.data()),
               static_cast<int>(text.size()));
  return absl::WebSafeBase64Escape(text);
}
std::string Parameter(const EVP_PKEY* key, const char* name, int bytes = 0) {
  BIGNUM* number = nullptr;
  EVP_PKEY_get_bn_param(key, name, &number);
  std::string text = Number(number, bytes);
  BN_free(number);
  return text;
}

std::string Signed(const json& claims, const json& header) {
  return absl::StrCat(absl::WebSafeBase64Escape(header.dump()), ".",
                      absl::WebSafeBase64Escape(claims.dump()));
}

}  // namespace

TestTokenKey::TestTokenKey(const std::string& algorithm, const std::string& id, int rsa_bits)
    : algorithm_(algorithm),
      id_(id),
      key_(absl::StartsWith(algorithm, "ES") ? EVP_EC_gen(CurveOf(algorithm))
                                             : EVP_RSA_gen(static_cast<unsigned int>(rsa_bits)),
           EVP_PKEY_free) {}

json TestTokenKey::PublicJwk() const {
  json jwk = {{"kid", id_}, {"use", "sig"}, {"alg", algorithm_}};
  if (absl::StartsWith(algorithm_, "ES")) {
    const int bytes = CoordinateBytes(algorithm_);
    jwk["kty"] = "EC";
    jwk["crv"] = CurveOf(algorithm_);
    jwk["x"] = Parameter(key_.get(), OSSL_PKEY_PARAM_EC_PUB_X, bytes);
    jwk["y"] = Parameter(key_.get(), OSSL_PKEY_PARAM_EC_PUB_Y, bytes);
  } else {
    jwk["kty"] = "RSA";
    jwk["n"] = Parameter(key_.get(), OSSL_PKEY_PARAM_RSA_N);
    jwk["e"] = Parameter(key_.get(), OSSL_PKEY_PARAM_RSA_E);
  }
  return jwk;
}

std::string TestTokenKey::Sign(const json& claims, const json& header) const {
  json full_header = {{"alg", algorithm_}, {"kid", id_}, {"typ", "JWT"}};
  full_header.update(header);
  const std::string text = Signed(claims, full_header);
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(),
                                                                   EVP_MD_CTX_free);
  EVP_PKEY_CTX* options = nullptr;
  EVP_DigestSignInit(context.get(), &options, HashOf(algorithm_), nullptr, key_.get());
  if (absl::StartsWith(algorithm_, "PS")) {
    EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING);
    EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST);
  }
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  size_t size = 0;
  EVP_DigestSign(context.get(), nullptr, &size, bytes, text.size());
  std::string signature(size, '\0');
  EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, bytes,
                 text.size());
  signature.resize(size);
  if (!absl::StartsWith(algorithm_, "ES")) {
    return absl::StrCat(text, ".", absl::WebSafeBase64Escape(signature));
  }
  // RFC 7518 wants r and s side by side rather than in DER.
  const auto* der = reinterpret_cast<const unsigned char*>(signature.data());
  const std::unique_ptr<ECDSA_SIG, void (*)(ECDSA_SIG*)> parts(
      d2i_ECDSA_SIG(nullptr, &der, static_cast<long>(size)), ECDSA_SIG_free);
  const int half = CoordinateBytes(algorithm_);
  std::string plain(2 * half, '\0');
  auto* out = reinterpret_cast<unsigned char*>(plain.data());
  BN_bn2binpad(ECDSA_SIG_get0_r(parts.get()), out, half);
  BN_bn2binpad(ECDSA_SIG_get0_s(parts.get()), out + half, half);
  return absl::StrCat(text, ".", absl::WebSafeBase64Escape(plain));
}

std::string KeySet(const std::vector<const TestTokenKey*>& keys) {
  json set = {{"keys", json::array()}};
  for (const TestTokenKey* key : keys) set["keys"].push_back(key->PublicJwk());
  return set.dump();
}

std::string HashOfToken(const std::string& token) {
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), hash);
  return absl::BytesToHexString({reinterpret_cast<const char*>(hash), sizeof hash});
}

std::string SignHs256(const json& claims, const std::string& secret) {
  const std::string text = Signed(claims, {{"alg", "HS256"}, {"typ", "JWT"}});
  unsigned char mac[32];
  unsigned int size = sizeof mac;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac, &size);
  return absl::StrCat(text, ".",
                      absl::WebSafeBase64Escape({reinterpret_cast<const char*>(mac), size}));
}

}  // namespace dime
