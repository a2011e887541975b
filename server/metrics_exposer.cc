#include "server/metrics_exposer.h"

#include <sys/socket.h>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "httplib.h"
#include "prometheus/text_serializer.h"

namespace dime {

std::string WithPort(const std::string& address, int port) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || address.rfind("unix", 0) == 0) return address;
  return absl::StrCat(address.substr(0, colon), ":", port);
}

absl::StatusOr<std::unique_ptr<MetricsExposer>> MetricsExposer::Start(
    const std::string& address, std::shared_ptr<prometheus::Collectable> metrics,
    Authorize authorize) {
  const size_t colon = address.rfind(':');
  int port = -1;
  if (colon == std::string::npos || !absl::SimpleAtoi(address.substr(colon + 1), &port) ||
      port < 0 || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("metrics address \"", address, "\" must have the form host:port"));
  }
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);  // an IPv6 address
  }
  auto server = std::make_unique<httplib::Server>();
  // The library's default, SO_REUSEPORT, would let a second server have the same port.
  server->set_socket_options([](auto socket) {
    const int on = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  });
  server->Get("/metrics",
              [metrics, authorize](const httplib::Request& request, httplib::Response& response) {
                if (authorize) {
                  std::vector<absl::string_view> given;
                  const auto [begin, end] = request.headers.equal_range("Authorization");
                  for (auto it = begin; it != end; ++it) given.emplace_back(it->second);
                  const absl::Status allowed = authorize(given);
                  if (!allowed.ok()) {
                    response.status = absl::IsPermissionDenied(allowed) ? 403 : 401;
                    if (response.status == 401) response.set_header("WWW-Authenticate", "Bearer");
                    return;
                  }
                }
                response.set_content(prometheus::TextSerializer().Serialize(metrics->Collect()),
                                     "text/plain; version=0.0.4; charset=utf-8");
              });
  const int bound = port == 0                          ? server->bind_to_any_port(host)
                    : server->bind_to_port(host, port) ? port
                                                       : -1;
  if (bound < 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot serve metrics on ", address,
                     ": the port is in use, or the address is not this machine's"));
  }
  return std::unique_ptr<MetricsExposer>(
      new MetricsExposer(std::move(server), WithPort(address, bound)));
}

MetricsExposer::MetricsExposer(std::unique_ptr<httplib::Server> server, std::string address)
    : server_(std::move(server)),
      address_(std::move(address)),
      thread_([this] { server_->listen_after_bind(); }) {}

MetricsExposer::~MetricsExposer() {
  // stop() is lost on a server whose thread has not yet begun to listen.
  while (!server_->is_running()) std::this_thread::yield();
  server_->stop();
  thread_.join();
}

}  // namespace dime
