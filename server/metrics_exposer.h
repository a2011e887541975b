#ifndef DIME_SERVER_METRICS_EXPOSER_H_
#define DIME_SERVER_METRICS_EXPOSER_H_

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/statusor.h"
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
  // Listens on `address` ("host:port"; port 0 picks one). UNAVAILABLE if it cannot, with the
  // reason; INVALID_ARGUMENT for an address of another form.
  static absl::StatusOr<std::unique_ptr<MetricsExposer>> Start(
      const std::string& address, std::shared_ptr<prometheus::Collectable> metrics);
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
