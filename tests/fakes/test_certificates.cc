#include "tests/fakes/test_certificates.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace dime {
namespace {

constexpr long kDay = 24 * 60 * 60;

void Require(bool done) {
  if (!done) std::abort();
}

template <typename Write>
std::string ToPem(Write write) {
  BIO* const memory = BIO_new(BIO_s_mem());
  Require(write(memory) == 1);
  char* text = nullptr;
  const long size = BIO_get_mem_data(memory, &text);
  std::string pem(text, static_cast<size_t>(size));
  BIO_free(memory);
  return pem;
}
std::string ToPem(X509* certificate) {
  return ToPem([&](BIO* out) { return PEM_write_bio_X509(out, certificate); });
}
std::string ToPem(EVP_PKEY* key) {
  return ToPem([&](BIO* out) {
    return PEM_write_bio_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr);
  });
}

void AddExtension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context{};
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
  Require(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

// Not signed yet.
X509* NewCertificate(const std::string& name, long serial, EVP_PKEY* key, X509* issuer) {
  X509* const certificate = X509_new();
  X509_set_version(certificate, 2);  // the third
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate), kDay);
  X509_set_pubkey(certificate, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(certificate,
                       X509_get_subject_name(issuer != nullptr ? issuer : certificate));
  return certificate;
}

}  // namespace

TestAuthority::TestAuthority(const std::string& name)
    : key_(EVP_EC_gen("P-256")), x509_(NewCertificate(name, 1, key_, nullptr)) {
  AddExtension(x509_, x509_, NID_basic_constraints, "critical,CA:TRUE");
  AddExtension(x509_, x509_, NID_key_usage, "critical,keyCertSign,cRLSign");
  Require(X509_sign(x509_, key_, EVP_sha256()) > 0);
  certificate_ = ToPem(x509_);
}

TestAuthority::~TestAuthority() {
  X509_free(x509_);
  EVP_PKEY_free(key_);
}

TestCertificate TestAuthority::Issue(const std::string& name) {
  EVP_PKEY* const key = EVP_EC_gen("P-256");
  X509* const certificate = NewCertificate(name, next_serial_++, key, x509_);
  AddExtension(certificate, x509_, NID_subject_alt_name, ("DNS:" + name).c_str());
  Require(X509_sign(certificate, key_, EVP_sha256()) > 0);
  TestCertificate issued{.certificate = ToPem(certificate), .key = ToPem(key)};
  X509_free(certificate);
  EVP_PKEY_free(key);
  return issued;
}

void ReplaceFile(const std::string& path, const std::string& content) {
  const std::string part = path + ".part";
  std::ofstream(part, std::ios::trunc) << content;
  Require(std::rename(part.c_str(), path.c_str()) == 0);
}

}  // namespace dime
