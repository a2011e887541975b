#include "client/connection_security.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "index/status_macros.h"

namespace dime {
namespace {

absl::StatusOr<std::string> ReadFile(absl::string_view what, const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream file(path);
  std::stringstream text;
  if (file && (text << file.rdbuf())) return text.str();
  return absl::InvalidArgumentError(
      absl::StrCat("cannot read the ", what, " ", path, ", or it is empty"));
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const ClientTlsFiles& files) {
  if (files.certificate.empty() != files.key.empty()) {
    return absl::InvalidArgumentError("a client's TLS certificate and its key go together");
  }
  if (files.ca.empty() && files.certificate.empty()) {
    return std::shared_ptr<grpc::ChannelCredentials>();
  }
  grpc::SslCredentialsOptions options;
  ASSIGN_OR_RETURN(options.pem_root_certs, ReadFile("file of authorities", files.ca));
  ASSIGN_OR_RETURN(options.pem_cert_chain, ReadFile("TLS certificate", files.certificate));
  ASSIGN_OR_RETURN(options.pem_private_key, ReadFile("TLS key", files.key));
  return grpc::SslCredentials(options);
}

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile("token file", path));
  std::string token(absl::StripAsciiWhitespace(text));
  // gRPC would end the process for a control character in a header.
  if (!token.empty() && std::all_of(token.begin(), token.end(), absl::ascii_isgraph)) return token;
  return absl::InvalidArgumentError(
      absl::StrCat("the token file ", path, " must hold one token and nothing else"));
}

bool IsLoopbackTarget(absl::string_view target) {
  for (absl::string_view scheme : {"dns:///", "dns:", "ipv4:", "ipv6:"}) {
    if (absl::ConsumePrefix(&target, scheme)) break;
  }
  // A list of addresses is only as good as each of them.
  if (absl::StrContains(target, ',')) return false;
  return absl::StartsWith(target, "127.0.0.1:") || absl::StartsWith(target, "localhost:") ||
         absl::StartsWith(target, "[::1]:") || absl::StartsWith(target, "unix:");
}

}  // namespace dime
