#ifndef DIME_SERVER_SERVER_FLAGS_H_
#define DIME_SERVER_SERVER_FLAGS_H_

#include <string>

#include "server/log.h"
#include "server/search_defaults.h"
#include "server/server.h"

namespace CLI {
class App;
}

namespace dime {

// The modules on a CPU cost some milliseconds a pair, so that they get fewer by default.
inline constexpr int kDefaultRerankDepth = 100;
inline constexpr int kDefaultRerankDepthOfCpuModules = 50;

// What dime_server can be told on its command line, each with its default and what is allowed. A
// file can say the same (see server_config.h), but for the first two. A value.
struct ServerFlags {
  std::string config;  // file with what the command line does not say
  bool check_config = false;
  std::string model;
  std::string gallery;
  std::string shadow_model;
  std::string shadow_gallery;
  std::string device = "auto";
  std::string scorer = "auto";
  int scorer_threads = 0;
  std::string recall_device = "cpu";
  double drain_seconds = 30;
  // Not 0: a call that is on its way when gRPC itself shuts down is told CANCELLED, which nobody
  // retries. Health watchers are told before, and the calls that they had sent get their answers.
  double drain_delay_seconds = 0.3;
  double longest_launch_seconds = absl::ToDoubleSeconds(Server::Options().longest_launch);
  double page_token_seconds = absl::ToDoubleSeconds(SearchLimits().page_token_ttl);
  SearchDefaults::Flags defaults;
  bool no_reflection = false;
  double max_connection_age_seconds = 300;
  double max_connection_age_grace_seconds = 0;
  std::string log_format = "text";
  std::string log_calls = "errors";
  double slow_call_seconds = absl::ToDoubleSeconds(SlowCalls::Options().threshold);
  bool no_load_reports = false;
  JwtVerifier::Options jwt;
  // What needs no conversion.
  Server::Options server;

  // Adds the flags to a program's. It must not outlive them.
  void Define(CLI::App& app);
  // All that the server itself takes, but for where it logs.
  Server::Options ServerOptions() const;
  Log::Format log() const { return log_format == "json" ? Log::Format::kJson : Log::Format::kText; }
};

}  // namespace dime

#endif  // DIME_SERVER_SERVER_FLAGS_H_
