#include "server/server_flags.h"

#include <cstdint>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "index/build_info.h"
#include "model/dime_model.h"
#include "server/program_error.h"

namespace dime {
namespace {

// Where 0 says that there is no limit.
absl::Duration OrInfinite(double seconds) {
  return seconds > 0 ? absl::Seconds(seconds) : absl::InfiniteDuration();
}

}  // namespace

void ServerFlags::Define(CLI::App& app) {
  SearchLimits& limits = server.limits;
  app.set_version_flag("--version", VersionText("dime_server"));
  app.footer(kExitCodesHelp);
  app.add_option("--config", config,
                 "File of settings (server_config.proto in text format); flags win over it");
  app.add_flag("--check-config", check_config,
               "Check the settings, print what they amount to, and end");
  app.add_option("--model", model, "Model directory; required, here or in --config");
  app.add_option("--gallery", gallery,
                 "Gallery directory, made by dime_build_gallery; required, here or in --config");
  app.add_option("--device", device, "cpu, cuda, cuda:N or auto")->capture_default_str();
  app.add_option("--scorer", scorer, kScorerHelp)
      ->check(
          CLI::IsMember(std::vector<std::string>(std::begin(kScorerNames), std::end(kScorerNames))))
      ->capture_default_str();
  app.add_option("--scorer-threads", scorer_threads,
                 "Threads of the kernels; 0: one for each core that the process may use")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  app.add_option("--address", server.address, "Where to serve gRPC; port 0 picks one")
      ->capture_default_str();
  app.add_option("--metrics-address", server.metrics_address,
                 "Where to serve Prometheus metrics, at /metrics; port 0 picks one, '' none")
      ->capture_default_str();
  app.add_option("--workers", server.workers.threads, "Searches that run at once")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app.add_option("--max-queued-calls", server.workers.max_queued, "Searches that may wait to run")
      ->check(CLI::Range(int64_t{1}, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  app.add_option("--recall-device", recall_device,
                 "Where candidates are recalled: cpu, by the gallery's indexes; cuda or cuda:N, "
                 "exactly, by all coarse embeddings in that device's memory")
      ->capture_default_str();
  app.add_option(
         "--bank-bytes", server.bank_bytes,
         "Most memory, on the scorer's device, for the local features of a living gallery's "
         "images, and as much for its captions; what does not fit is read when it is "
         "needed (metric dime_bank_rows_total)")
      ->check(CLI::Range(int64_t{1} << 20, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  app.add_option("--max-batch-pairs", server.max_batch_pairs,
                 "Largest launch of the reranker; 0: as its scorer is quickest with")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  app.add_option("--max-queue-pairs", server.max_queue_pairs,
                 "Pairs that may wait for the reranker")
      ->check(CLI::Range(int64_t{1}, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  app.add_option("--query-cache-bytes", server.query_cache_bytes,
                 "Memory for the encodings of texts that were searched by lately; 0 keeps none")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  constexpr int kMostInt = std::numeric_limits<int>::max();
  app.add_option("--default-rerank-depth", defaults.rerank_depth,
                 absl::StrCat("Candidates to rerank where a request does not say (default: what "
                              "dime_tune found for the gallery, else ",
                              kDefaultRerankDepth, ", or ", kDefaultRerankDepthOfCpuModules,
                              " where the modules score on a CPU)"))
      ->check(CLI::Range(1, kMostInt));
  app.add_option("--default-caption-rerank-depth", defaults.caption_rerank_depth,
                 "The same for searches of captions (default: as --default-rerank-depth if that is "
                 "given)")
      ->check(CLI::Range(1, kMostInt));
  app.add_option("--default-search-effort", defaults.search_effort,
                 "Effort of an approximate coarse index where a request does not say: nprobe of "
                 "IVF, efSearch of HNSW, 0 = the index's own (default: what dime_tune found, else "
                 "the index's own)")
      ->check(CLI::Range(0, kMostInt));
  app.add_option("--default-caption-search-effort", defaults.caption_search_effort,
                 "The same for searches of captions (default: as --default-search-effort if that "
                 "is given)")
      ->check(CLI::Range(0, kMostInt));
  app.add_option("--max-rerank-depth", limits.max_rerank_depth, "Most candidates to rerank")
      ->check(CLI::Range(1, std::numeric_limits<int>::max()))
      ->capture_default_str();
  app.add_option("--max-top-k", limits.max_top_k, "Most hits to return")
      ->check(CLI::Range(1, std::numeric_limits<int>::max()))
      ->capture_default_str();
  app.add_option("--max-exact-items", limits.max_exact_items,
                 "Most items that an exact search may score")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  app.add_option("--max-request-bytes", limits.max_request_bytes, "Largest request message")
      ->check(CLI::Range(int64_t{1024}, int64_t{std::numeric_limits<int>::max()}))
      ->capture_default_str();
  app.add_option("--max-concurrent-streams", server.max_concurrent_streams,
                 "Calls under way on one connection; more wait at the client")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--max-connection-age-seconds", max_connection_age_seconds,
                 "For how long a connection lasts before its client is asked to make another, so "
                 "that calls spread over servers that came later; 0: for ever")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str();
  app.add_option("--max-connection-age-grace-seconds", max_connection_age_grace_seconds,
                 "For how long calls that are then under way on it may go on; 0: as long as they "
                 "last")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str();
  app.add_option("--page-token-seconds", page_token_seconds,
                 "How long further pages of a search can be asked, since the last one; meanwhile "
                 "the version of the gallery that was searched is kept")
      ->check(CLI::Range(1.0, 3600.0))
      ->capture_default_str();
  app.add_option("--max-outstanding-items", limits.max_outstanding_items,
                 "Items of one upsert stream that may wait for their result")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--max-ingest-bytes", server.ingest.max_queued_bytes,
                 "Memory for items of all streams that wait to be written")
      ->check(CLI::Range(int64_t{1}, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  app.add_option("--snapshot-dir", server.snapshot_directory,
                 "Directory in which CreateSnapshot writes; without it there are no snapshots")
      ->check(CLI::ExistingDirectory);
  app.add_option("--audit-rate", server.audit.rate,
                 "Share of the answered searches that are run once more exactly, at the lowest "
                 "priority and while no call is under way, to measure how much of the exact answer "
                 "was served (metrics dime_recall_audit_*): 0 = off, 0.01 = each hundredth")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--audit-max-items", server.audit.max_items,
                 "Most items that one such audit scores; a larger gallery is audited against its "
                 "best by exact coarse scores")
      ->check(CLI::Range(int64_t{1}, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  app.add_option("--shadow-model", shadow_model,
                 "Model directory to compare with the one that serves: a share of the answered "
                 "searches is run by it once more, as audits are (metrics dime_shadow_*)");
  app.add_option("--shadow-gallery", shadow_gallery, "The gallery made with that model");
  app.add_option("--shadow-rate", server.shadow.rate, "That share, 0 to 1")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--drain-seconds", drain_seconds,
                 "How long calls under way may take after SIGTERM or SIGINT")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str();
  app.add_option("--drain-delay-seconds", drain_delay_seconds,
                 "How long to serve on after SIGTERM, already not ready, so that callers can find "
                 "another server; by 0, calls that are on their way may be told CANCELLED")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  app.add_option("--longest-launch-seconds", longest_launch_seconds,
                 "A launch of the reranker that takes longer has hung: the server is then neither "
                 "ready nor alive (health service \"liveness\"); 0 does not look")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str();
  app.add_option("--tls-certificate", server.tls.certificate,
                 "PEM file of the server's certificate chain: TLS instead of plain text. This and "
                 "the next two are read again when they change");
  app.add_option("--tls-key", server.tls.key, "PEM file of the certificate's private key");
  app.add_option("--tls-client-ca", server.tls.client_ca,
                 "PEM file of the authorities of client certificates, which are then required");
  app.add_option("--access-tokens", server.access_tokens,
                 "File of hashed bearer tokens with their roles, read again when it changes; with "
                 "it every call but health checks needs a token, and there is no reflection");
  app.add_option("--jwt-keys", jwt.keys_path,
                 "File with the JWK set of an identity provider, read again when it changes: JSON "
                 "Web Tokens signed by its keys are taken as well");
  app.add_option("--jwt-issuer", jwt.issuer, "Their issuer (iss); required with --jwt-keys");
  app.add_option("--jwt-audience", jwt.audience,
                 "What they must be meant for (aud); required with --jwt-keys");
  app.add_option("--jwt-role-claim", jwt.role_claim,
                 "The claim that says read, write or admin, a string of words or an array")
      ->capture_default_str();
  app.add_flag("--metrics-need-token", server.metrics_need_token,
               "Ask for a token of the role metrics, or more, on the metrics' port too");
  app.add_option("--max-calls-per-second", server.max_calls_per_second,
                 "Calls a second that one client may make, a batch's queries one by one; 0: any")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str();
  app.add_flag("--allow-plaintext-tokens", server.allow_plaintext_tokens,
               "Take tokens without TLS elsewhere than on the loopback too");
  app.add_option("--log-format", log_format, "text for people, json for collectors of logs")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_option("--log-calls", log_calls,
                 "Calls that get a line in the log: none, errors (what was not answered OK, and "
                 "what was slow) or all; never what was asked for")
      ->check(CLI::IsMember({"none", "errors", "all"}))
      ->capture_default_str();
  app.add_option("--slow-call-seconds", slow_call_seconds,
                 "A call that takes as long is slow, as is one that ends at its deadline")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  app.add_option("--slow-calls-kept", server.slow_calls.capacity,
                 "Slow calls that are kept with their requests, for dime slow and dime replay")
      ->check(CLI::Range(0, 10000))
      ->capture_default_str();
  app.add_option("--trace-file", server.trace_file,
                 "File to which spans of calls are appended, as OTLP in JSON");
  app.add_option("--trace-rate", server.calls.trace_rate,
                 "Share of the calls without a trace context of their own whose spans are written")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_flag("--no-load-reports", no_load_reports,
               "Do not tell callers of the server's load (trailer endpoint-load-metrics-bin)");
  app.add_flag("--no-reflection", no_reflection, "Do not serve gRPC reflection");
}

Server::Options ServerFlags::ServerOptions() const {
  Server::Options options = server;
  options.version = std::string(BuildVersion());
  options.reflection = !no_reflection;
  options.longest_launch = OrInfinite(longest_launch_seconds);
  options.max_connection_age = OrInfinite(max_connection_age_seconds);
  options.max_connection_age_grace = OrInfinite(max_connection_age_grace_seconds);
  options.calls.logged = log_calls == "none"  ? LoggedCalls::kNone
                         : log_calls == "all" ? LoggedCalls::kAll
                                              : LoggedCalls::kErrors;
  options.slow_calls.threshold = absl::Seconds(slow_call_seconds);
  options.load_reports = !no_load_reports;
  // Any of these alone is an error, which JwtVerifier tells.
  if (!jwt.keys_path.empty() || !jwt.issuer.empty() || !jwt.audience.empty()) options.jwt = jwt;
  return options;
}

}  // namespace dime
