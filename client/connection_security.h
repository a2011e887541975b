#ifndef DIME_CLIENT_CONNECTION_SECURITY_H_
#define DIME_CLIENT_CONNECTION_SECURITY_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grpcpp/security/credentials.h"

namespace dime {

// PEM files by which a client makes TLS connections. Without any of them there is no TLS.
struct ClientTlsFiles {
  std::string ca;           // authorities of servers; empty: the system's, if others are given
  std::string certificate;  // the client's own chain, where the server asks for one
  std::string key;          // its private key; with certificate only
};

// Null without TLS. INVALID_ARGUMENT, naming the file, for one that cannot be read.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const ClientTlsFiles& files);

// The token that a file holds, without the white space around it. INVALID_ARGUMENT, naming the file
// but not what is in it, if there is none or it is no single word.
absl::StatusOr<std::string> ReadToken(const std::string& path);

// Whether a gRPC target is this machine itself.
bool IsLoopbackTarget(absl::string_view target);

}  // namespace dime

#endif  // DIME_CLIENT_CONNECTION_SECURITY_H_
