#ifndef DIME_SERVER_TLS_CREDENTIALS_H_
#define DIME_SERVER_TLS_CREDENTIALS_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/security/server_credentials.h"

namespace dime {

// PEM files for TLS.
struct TlsFiles {
  std::string certificate;  // the server's chain; empty: plain text
  std::string key;          // its private key
  std::string client_ca;    // authorities of client certificates; empty: clients need none
};

// Whether the files can be read and fit together. INVALID_ARGUMENT, naming the file, if not.
absl::Status CheckTlsFiles(const TlsFiles& files);

// What a server listens with: TLS by files that are looked at each second and read when they have
// changed, for connections made from then on; plain text without a certificate. With a client CA,
// clients must have a certificate by it. Errors of CheckTlsFiles().
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const TlsFiles& files);

// Whether "host:port" is this machine's alone: a loopback address, or a socket in the file system.
bool IsLoopback(const std::string& address);

}  // namespace dime

#endif  // DIME_SERVER_TLS_CREDENTIALS_H_
