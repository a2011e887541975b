#include "server/tls_credentials.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstdio>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "index/status_macros.h"

namespace dime {
namespace {

struct Release {
  void operator()(std::FILE* file) const { std::fclose(file); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using File = std::unique_ptr<std::FILE, Release>;
using Certificate = std::unique_ptr<X509, Release>;
using Key = std::unique_ptr<EVP_PKEY, Release>;

// OpenSSL keeps a thread's errors until they are taken: gRPC would find ours.
struct WithoutTraces {
  ~WithoutTraces() { ERR_clear_error(); }
};

// Keys with a passphrase are refused rather than asked for on the terminal.
int NoPassphrase(char*, int, int, void*) { return 0; }

absl::StatusOr<File> Open(absl::string_view what, const std::string& path) {
  File file(std::fopen(path.c_str(), "re"));
  if (file != nullptr) return file;
  return absl::InvalidArgumentError(absl::StrCat("cannot read the ", what, " ", path));
}

absl::StatusOr<Certificate> ReadCertificate(absl::string_view what, const std::string& path) {
  ASSIGN_OR_RETURN(const File file, Open(what, path));
  Certificate certificate(PEM_read_X509(file.get(), nullptr, &NoPassphrase, nullptr));
  if (certificate != nullptr) return certificate;
  return absl::InvalidArgumentError(
      absl::StrCat("the ", what, " ", path, " holds no certificate in PEM"));
}

}  // namespace

absl::Status CheckTlsFiles(const TlsFiles& files) {
  const WithoutTraces without_traces;
  if (files.certificate.empty() && files.key.empty()) {
    if (files.client_ca.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "client certificates (--tls-client-ca) need --tls-certificate and --tls-key");
  }
  if (files.certificate.empty() || files.key.empty()) {
    return absl::InvalidArgumentError("--tls-certificate and --tls-key go together");
  }
  ASSIGN_OR_RETURN(const Certificate certificate,
                   ReadCertificate("TLS certificate", files.certificate));
  ASSIGN_OR_RETURN(const File file, Open("TLS key", files.key));
  const Key key(PEM_read_PrivateKey(file.get(), nullptr, &NoPassphrase, nullptr));
  if (key == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the TLS key ", files.key, " holds no private key in PEM without a passphrase"));
  }
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the TLS key ", files.key, " is not that of the certificate ", files.certificate));
  }
  if (files.client_ca.empty()) return absl::OkStatus();
  return ReadCertificate("client CA", files.client_ca).status();
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const TlsFiles& files) {
  RETURN_IF_ERROR(CheckTlsFiles(files));
  if (files.certificate.empty()) return grpc::InsecureServerCredentials();
  constexpr unsigned kRefreshSeconds = 1;  // the provider's least
  grpc::experimental::TlsServerCredentialsOptions options(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
          files.key, files.certificate, files.client_ca, kRefreshSeconds));
  options.watch_identity_key_cert_pairs();
  if (!files.client_ca.empty()) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(options);
}

bool IsLoopback(const std::string& address) {
  if (absl::StartsWith(address, "unix:") || absl::StartsWith(address, "unix-abstract:"))
    return true;
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return false;
  // By number or by this one name: what another name leads to is not known here.
  std::string host = address.substr(0, colon);
  if (host == "localhost") return true;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  in_addr v4;
  in6_addr v6;
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6) != 0;
}

}  // namespace dime
