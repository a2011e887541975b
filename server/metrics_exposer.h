#ifndef DIME_SERVER_METRICS_EXPOSER_H_
#define DIME_SERVER_METRICS_EXPOSER_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "prometheus/collectable.h"

namespace httplib {
class Server;
}  // namespace httplib

namespace dime {

// Serves metrics to Prometheus over HTTP, at /metrics, from threads of its own. prometheus-cpp's
// own exposer gives its threads stacks of 100 KB, of which OpenBLAS's and LibTorch's thread-local
// storage leaves nothing, so that it cannot start in one process with them; cpp-httplib's are of
// the usual size. Thread-safe; destruction ends the requests under way.
class MetricsExposer {
 public:
  // Whether a request with these values of the header Authorization may be answered; thread-safe.
  using Authorize = std::function<absl::Status(const std::vector<absl::string_view>&)>;

  // Listens on `address` ("host:port"; port 0 picks one). UNAVAILABLE if it cannot, with the
  // reason; INVALID_ARGUMENT for an address of another form. Whom `authorize`, if it
  // is there, refuses gets 403 for PERMISSION_DENIED, else 401.
  static absl::StatusOr<std::unique_ptr<MetricsExposer>> Start(
      const std::string& address, std::shared_ptr<prometheus::Collectable> metrics,
      Authorize authorize = nullptr);
  ~MetricsExposer();

  // "host:port", with the port that is really listened on.
  const std::string& address() const { return address_; }

 private:
  MetricsExposer(std::unique_ptr<httplib::Server> server, std::string address);

  const std::unique_ptr<httplib::Server> server_;
  const std::string address_;
  std::thread thread_;  // last: it serves the above
};

// `address` with its port replaced; addresses of another form than "host:port" stay as they are.
std::string WithPort(const std::string& address, int port);

}  // namespace dime

#endif  // DIME_SERVER_METRICS_EXPOSER_H_
