// dime_server: serves a gallery by gRPC. See --help.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "google/protobuf/stubs/logging.h"
#include "index/open_gallery.h"
#include "index/search_settings.h"
#include "index/status_macros.h"
#include "index/thread_priority.h"
#include "model/dime_model.h"
#include "model/first_stage.h"
#include "model/reference_pairs.h"
#include "model/rerank_gate.h"
#include "server/pipeline/stopwatch.h"
#include "server/process_signals.h"
#include "server/program_error.h"
#include "server/search_defaults.h"
#include "server/server.h"
#include "server/server_config.h"

namespace dime {
namespace {

constexpr char kProgram[] = "dime_server";

// The modules on a CPU cost some milliseconds a pair, so that they get fewer by default.
constexpr int kDefaultRerankDepth = 100;
constexpr int kDefaultRerankDepthOfCpuModules = 50;

struct Flags {
  std::string config;  // file with what the command line does not say
  bool check_config = false;
  std::string model;
  std::string gallery;
  std::string shadow_model;
  std::string shadow_gallery;
  std::string device = "auto";
  std::string scorer = "auto";
  int scorer_threads = 0;
  double drain_seconds = 30;
  double drain_delay_seconds = 0;
  double longest_launch_seconds = absl::ToDoubleSeconds(Server::Options().longest_launch);
  double page_token_seconds = absl::ToDoubleSeconds(SearchLimits().page_token_ttl);
  SearchDefaults::Flags defaults;
  bool no_reflection = false;
  Server::Options server;
};

void DefineFlags(CLI::App& app, Flags& flags) {
  Server::Options& server = flags.server;
  SearchLimits& limits = server.limits;
  app.set_version_flag("--version", DIME_VERSION);
  app.footer(kExitCodesHelp);
  app.add_option("--config", flags.config,
                 "File of settings (server_config.proto in text format); flags win over it");
  app.add_flag("--check-config", flags.check_config,
               "Check the settings, print what they amount to, and end");
  app.add_option("--model", flags.model, "Model directory; required, here or in --config");
  app.add_option("--gallery", flags.gallery,
                 "Gallery directory, made by dime_build_gallery; required, here or in --config");
  app.add_option("--device", flags.device, "cpu, cuda, cuda:N or auto")->capture_default_str();
  app.add_option("--scorer", flags.scorer, kScorerHelp)
      ->check(CLI::IsMember({"auto", "modules", "amx", "avx512_bf16"}))
      ->capture_default_str();
  app.add_option("--scorer-threads", flags.scorer_threads,
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
  app.add_option(
         "--bank-bytes", server.bank_bytes,
         "Most memory, on the scorer's device, for the local features of a living gallery's "
         "images, and as much for its captions; what does not fit is read when it is "
         "needed (metric dime_bank_rows_total)")
      ->check(CLI::Range(int64_t{1} << 20, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  app.add_option("--max-batch-pairs", server.max_batch_pairs, "Largest launch of the reranker")
      ->check(CLI::Range(int64_t{1}, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  app.add_option("--max-queue-pairs", server.max_queue_pairs,
                 "Pairs that may wait for the reranker")
      ->check(CLI::Range(int64_t{1}, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  app.add_option("--query-cache-bytes", server.query_cache_bytes,
                 "Memory for the encodings of texts that were searched by lately; 0 keeps none")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  SearchDefaults::Flags& defaults = flags.defaults;
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
  app.add_option("--page-token-seconds", flags.page_token_seconds,
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
  app.add_option("--shadow-model", flags.shadow_model,
                 "Model directory to compare with the one that serves: a share of the answered "
                 "searches is run by it once more, as audits are (metrics dime_shadow_*)");
  app.add_option("--shadow-gallery", flags.shadow_gallery, "The gallery made with that model");
  app.add_option("--shadow-rate", server.shadow.rate, "That share, 0 to 1")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--drain-seconds", flags.drain_seconds,
                 "How long calls under way may take after SIGTERM or SIGINT")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str();
  app.add_option("--drain-delay-seconds", flags.drain_delay_seconds,
                 "How long to serve on after SIGTERM, already not ready, so that callers can find "
                 "another server")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  app.add_option("--longest-launch-seconds", flags.longest_launch_seconds,
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
  app.add_flag("--allow-plaintext-tokens", server.allow_plaintext_tokens,
               "Take tokens without TLS elsewhere than on the loopback too");
  app.add_flag("--no-reflection", flags.no_reflection, "Do not serve gRPC reflection");
}

// A model and a gallery, and the defaults for searches that suit them.
absl::StatusOr<ServingRevision::Source> Load(const Flags& flags, const std::string& model_directory,
                                             const std::string& gallery_directory) {
  std::cerr << "loading model " << model_directory << " ..." << std::endl;
  ASSIGN_OR_RETURN(std::unique_ptr<DimeModel> model,
                   DimeModel::Load(model_directory, {.device = flags.device,
                                                     .scorer = flags.scorer,
                                                     .scorer_threads = flags.scorer_threads}));
  std::cerr << DescribeFirstStage(model->info()) << std::endl;
  for (const std::string& warning : RerankWarnings(model->info())) {
    std::cerr << kProgram << ": " << warning << std::endl;
  }

  std::cerr << "opening gallery " << gallery_directory << " ..." << std::endl;
  ASSIGN_OR_RETURN(std::unique_ptr<Gallery> gallery,
                   OpenGallery(gallery_directory, model->info().fingerprint));

  SearchLimits limits = flags.server.limits;
  limits.page_token_ttl = absl::Seconds(flags.page_token_seconds);
  const SearchDefaults defaults =
      SearchDefaults::Choose(limits, flags.defaults, SearchSettings::Load(gallery_directory),
                             gallery->Pin()->info(), model->info(),
                             model->info().device == "cpu" && model->info().scorer == "modules"
                                 ? kDefaultRerankDepthOfCpuModules
                                 : kDefaultRerankDepth);
  for (const std::string& warning : defaults.warnings) {
    std::cerr << "warning: " << warning << std::endl;
  }
  std::cerr << "search defaults: " << defaults.description << std::endl;
  ServingRevision::Source source = {
      .model = std::move(model), .gallery = std::move(gallery), .limits = defaults.limits};
  absl::StatusOr<ReferencePairs> reference = ReferencePairs::Load(model_directory);
  if (reference.ok()) {
    source.reference = *std::move(reference);
  } else if (absl::IsNotFound(reference.status())) {
    std::cerr << "the model has no " << kReferencePairsName
              << ": whether it computes here what it did elsewhere is not checked (dime_reference "
                 "--write makes them)"
              << std::endl;
  } else {
    return reference.status();
  }
  return source;
}

// Those that serve.
absl::StatusOr<ServingRevision::Source> Load(const Flags& flags) {
  return Load(flags, flags.model, flags.gallery);
}

// Of the shadow; null if there is none.
absl::StatusOr<std::unique_ptr<ServingRevision::Source>> LoadShadow(const Flags& flags) {
  if (flags.shadow_model.empty() && flags.shadow_gallery.empty()) return nullptr;
  if (flags.shadow_model.empty() || flags.shadow_gallery.empty()) {
    return absl::InvalidArgumentError("--shadow-model and --shadow-gallery go together");
  }
  ASSIGN_OR_RETURN(ServingRevision::Source source, RunAtLowestPriority([&flags] {
                     return Load(flags, flags.shadow_model, flags.shadow_gallery);
                   }));
  return std::make_unique<ServingRevision::Source>(std::move(source));
}

// "model M on cpu (amx), gallery G with 2000 images and 10000 captions".
std::string Describe(const ServingRevision& revision) {
  const ModelInfo& model = revision.model_info();
  const std::shared_ptr<const GalleryView> view = revision.gallery().Pin();
  return absl::StrCat("model ", model.name, " on ", model.device, " (", model.scorer, "), gallery ",
                      view->info().name, " with ", view->size(Modality::kImage), " images and ",
                      view->size(Modality::kCaption), " captions");
}

// Whatever goes wrong, the server goes on with what it has.
void Reload(const Flags& flags, Server& server) {
  Stopwatch stopwatch;
  std::cerr << "loading anew ..." << std::endl;
  const absl::Status status = server.Reload(Load(flags));
  if (!status.ok()) {
    std::cerr << kProgram << ": " << status.message() << "; serving on as before" << std::endl;
    return;
  }
  std::cout << "reloaded in "
            << absl::StrFormat("%.1f s: ", absl::ToDoubleSeconds(stopwatch.Elapsed()))
            << Describe(*server.revision()) << std::endl;
}

// Loads, serves until asked to stop, drains.
absl::Status Serve(Flags flags) {
  Stopwatch stopwatch;
  // Sooner than loading takes.
  RETURN_IF_ERROR(Server::CheckAccess(flags.server));
  for (const std::string& warning : Server::AccessWarnings(flags.server)) {
    std::cerr << "warning: " << warning << std::endl;
  }
  flags.server.warn = [](const std::string& warning) {
    std::cerr << "warning: " << warning << std::endl;
  };
  ASSIGN_OR_RETURN(ServingRevision::Source source, Load(flags));
  ASSIGN_OR_RETURN(std::unique_ptr<ServingRevision::Source> shadow, LoadShadow(flags));
  flags.server.version = DIME_VERSION;
  flags.server.reflection = !flags.no_reflection;
  flags.server.longest_launch = flags.longest_launch_seconds > 0
                                    ? absl::Seconds(flags.longest_launch_seconds)
                                    : absl::InfiniteDuration();
  ASSIGN_OR_RETURN(const std::unique_ptr<Server> server,
                   Server::Create(flags.server, std::move(source), std::move(shadow)));
  std::cerr << "warming up ..." << std::endl;
  RETURN_IF_ERROR(server->Start());
  RETURN_IF_ERROR(InstallSignals());
  std::cout << kProgram << " " << DIME_VERSION
            << absl::StrFormat(" ready in %.1f s", absl::ToDoubleSeconds(stopwatch.Elapsed()))
            << ": gRPC on " << server->address();
  if (!server->metrics_address().empty()) {
    std::cout << ", metrics on http://" << server->metrics_address() << "/metrics";
  }
  std::cout << "; " << Describe(*server->revision()) << std::endl;

  while (AwaitSignal() == SIGHUP) Reload(flags, *server);
  std::cerr << "draining for up to " << flags.drain_delay_seconds + flags.drain_seconds
            << " s (a second signal ends at once) ..." << std::endl;
  server->Shutdown(absl::Seconds(flags.drain_seconds), absl::Seconds(flags.drain_delay_seconds));
  std::cerr << "stopped" << std::endl;
  return absl::OkStatus();
}

// What must be said by a flag or in the file, and is not.
std::vector<std::string> MissingSettings(const Flags& flags) {
  std::vector<std::string> missing;
  if (flags.model.empty()) missing.push_back(NameOfSetting("--model") + " is required");
  if (flags.gallery.empty()) missing.push_back(NameOfSetting("--gallery") + " is required");
  return missing;
}

// Everything but whether model and gallery fit together, which takes loading them.
int CheckConfig(const Flags& flags, const std::string& effective) {
  std::vector<std::string> errors;
  const auto expect_directory = [&errors](const char* flag, const std::string& path) {
    if (!std::filesystem::is_directory(path)) {
      errors.push_back(absl::StrCat(NameOfSetting(flag), ": there is no directory ", path));
    }
  };
  expect_directory("--model", flags.model);
  expect_directory("--gallery", flags.gallery);
  if (flags.shadow_model.empty() != flags.shadow_gallery.empty()) {
    errors.push_back(absl::StrCat(NameOfSetting("--shadow-model"), " and ",
                                  NameOfSetting("--shadow-gallery"), " go together"));
  } else if (!flags.shadow_model.empty()) {
    expect_directory("--shadow-model", flags.shadow_model);
    expect_directory("--shadow-gallery", flags.shadow_gallery);
  }
  Server::Options options = flags.server;
  options.limits.default_rerank_depth = flags.defaults.rerank_depth.value_or(1);
  options.limits.default_caption_rerank_depth = flags.defaults.caption_rerank_depth.value_or(0);
  const absl::Status status = Server::CheckOptions(options);
  if (!status.ok()) errors.emplace_back(status.message());
  const absl::Status access = Server::CheckAccess(flags.server);
  if (!access.ok()) errors.emplace_back(access.message());
  const absl::Status joined =
      JoinConfigErrors(flags.config.empty() ? "of the command line" : flags.config, errors);
  if (!joined.ok()) return ReportError(kProgram, joined);
  std::cout << effective;
  return static_cast<int>(ProgramExit::kOk);
}

int Main(int argc, char** argv) {
  // Errors are told in the project's own words; set GRPC_VERBOSITY to hear gRPC's too.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  // Otherwise every hostile message would write a line.
  google::protobuf::SetLogHandler(nullptr);

  Flags flags;
  CLI::App app("Serves image-text search over a gallery by gRPC.", kProgram);
  DefineFlags(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? static_cast<int>(ProgramExit::kOk)
                                : static_cast<int>(ProgramExit::kUsage);
  }
  if (!flags.config.empty()) {
    const absl::Status read = ApplyServerConfig(flags.config, app);
    if (!read.ok()) return ReportError(kProgram, read);
  }
  const std::vector<std::string> missing = MissingSettings(flags);
  if (!missing.empty()) {
    for (const std::string& error : missing) std::cerr << kProgram << ": " << error << std::endl;
    return static_cast<int>(ProgramExit::kUsage);
  }
  const std::string effective = PrintServerConfig(EffectiveServerConfig(app));
  if (flags.check_config) return CheckConfig(flags, effective);
  std::cerr << "configuration:\n" << effective;
  const absl::Status status = Serve(std::move(flags));
  return status.ok() ? static_cast<int>(ProgramExit::kOk) : ReportError(kProgram, status);
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) { return dime::Main(argc, argv); }
