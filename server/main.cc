// dime_server: serves a gallery by gRPC. See --help.
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
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
#include "index/vector_searcher.h"
#include "model/cuda/cuda_searcher.h"
#include "model/dime_model.h"
#include "model/first_stage.h"
#include "model/reference_pairs.h"
#include "model/rerank_gate.h"
#include "server/log.h"
#include "server/pipeline/stopwatch.h"
#include "server/process_signals.h"
#include "server/program_error.h"
#include "server/reloader.h"
#include "server/search_defaults.h"
#include "server/server.h"
#include "server/server_config.h"
#include "server/server_flags.h"

// tcmalloc's, where the program has it: sanitizers bring their own allocator.
extern "C" __attribute__((weak)) void MallocExtension_ReleaseFreeMemory();

namespace dime {
namespace {

constexpr char kProgram[] = "dime_server";

// A server at work: what it was told, and where it tells what happens.
struct Session {
  ServerFlags flags;
  const VectorSearcherFactory* searchers;  // null: galleries search by their indexes
  Log* log;                                // to stderr
  Log* answers;                            // to stdout: that it is ready, that it has reloaded
};

// A model and a gallery, and the defaults for searches that suit them.
absl::StatusOr<ServingRevision::Source> Load(const Session& session,
                                             const std::string& model_directory,
                                             const std::string& gallery_directory) {
  const ServerFlags& flags = session.flags;
  Log& log = *session.log;
  log.Info(absl::StrCat("loading model ", model_directory, " ..."));
  ASSIGN_OR_RETURN(std::unique_ptr<DimeModel> model,
                   DimeModel::Load(model_directory, {.device = flags.device,
                                                     .scorer = flags.scorer,
                                                     .scorer_threads = flags.scorer_threads}));
  log.Info(DescribeFirstStage(model->info()));
  for (const std::string& warning : RerankWarnings(model->info())) log.Warning(warning);

  log.Info(absl::StrCat("opening gallery ", gallery_directory, " ..."));
  ASSIGN_OR_RETURN(std::unique_ptr<Gallery> gallery,
                   OpenGallery(gallery_directory, model->info().fingerprint, session.searchers));

  SearchLimits limits = flags.server.limits;
  limits.page_token_ttl = absl::Seconds(flags.page_token_seconds);
  const SearchDefaults defaults =
      SearchDefaults::Choose(limits, flags.defaults, SearchSettings::Load(gallery_directory),
                             gallery->Pin()->info(), model->info(),
                             model->info().device == "cpu" && model->info().scorer == "modules"
                                 ? kDefaultRerankDepthOfCpuModules
                                 : kDefaultRerankDepth);
  for (const std::string& warning : defaults.warnings) log.Warning(warning);
  log.Info(absl::StrCat("search defaults: ", defaults.description));
  ServingRevision::Source source = {
      .model = std::move(model), .gallery = std::move(gallery), .limits = defaults.limits};
  absl::StatusOr<ReferencePairs> reference = ReferencePairs::Load(model_directory);
  if (reference.ok()) {
    source.reference = *std::move(reference);
  } else if (absl::IsNotFound(reference.status())) {
    log.Info(absl::StrCat("the model has no ", kReferencePairsName,
                          ": whether it computes here what it did elsewhere is not checked "
                          "(dime_reference --write makes them)"));
  } else {
    return reference.status();
  }
  return source;
}

// Those that serve.
absl::StatusOr<ServingRevision::Source> Load(const Session& session) {
  return Load(session, session.flags.model, session.flags.gallery);
}

// Of the shadow; null if there is none.
absl::StatusOr<std::unique_ptr<ServingRevision::Source>> LoadShadow(const Session& session) {
  const ServerFlags& flags = session.flags;
  if (flags.shadow_model.empty() && flags.shadow_gallery.empty()) return nullptr;
  if (flags.shadow_model.empty() || flags.shadow_gallery.empty()) {
    return absl::InvalidArgumentError("--shadow-model and --shadow-gallery go together");
  }
  ASSIGN_OR_RETURN(ServingRevision::Source source, RunAtLowestPriority([&session, &flags] {
                     return Load(session, flags.shadow_model, flags.shadow_gallery);
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

// Gives back to the system what loading has used and freed, which tcmalloc would keep.
void ReleaseFreedMemory() {
  if (MallocExtension_ReleaseFreeMemory != nullptr) MallocExtension_ReleaseFreeMemory();
}

// Whatever goes wrong, the server goes on with what it has; as it does if it is to stop by the time
// that the new is loaded.
void Reload(const Session& session, const std::atomic<bool>& stopping, Server& server) {
  Stopwatch stopwatch;
  session.log->Info("loading anew ...");
  absl::StatusOr<ServingRevision::Source> source = Load(session);
  if (stopping) return session.log->Info("what was loaded anew is left aside, to stop");
  const absl::Status status = server.Reload(std::move(source));
  ReleaseFreedMemory();
  if (!status.ok()) {
    session.log->Write(Log::Severity::kError,
                       absl::StrCat(status.message(), "; serving on as before"));
    return;
  }
  session.answers->Info(absl::StrCat(
      absl::StrFormat("reloaded in %.1f s: ", absl::ToDoubleSeconds(stopwatch.Elapsed())),
      Describe(*server.revision())));
}

// Loads, serves until asked to stop, drains.
absl::Status Serve(const Session& session) {
  const ServerFlags& flags = session.flags;
  Log& log = *session.log;
  Stopwatch stopwatch;
  Server::Options options = flags.ServerOptions();
  options.log = &log;
  // Sooner than loading takes.
  RETURN_IF_ERROR(Server::CheckFiles(options));
  for (const std::string& warning : Server::AccessWarnings(options)) log.Warning(warning);
  ASSIGN_OR_RETURN(ServingRevision::Source source, Load(session));
  ASSIGN_OR_RETURN(std::unique_ptr<ServingRevision::Source> shadow, LoadShadow(session));
  ASSIGN_OR_RETURN(const std::unique_ptr<Server> server,
                   Server::Create(options, std::move(source), std::move(shadow)));
  log.Info("warming up ...");
  RETURN_IF_ERROR(server->Start());
  RETURN_IF_ERROR(InstallSignals());
  ReleaseFreedMemory();
  session.answers->Info(absl::StrCat(
      kProgram, " ", options.version,
      absl::StrFormat(" ready in %.1f s", absl::ToDoubleSeconds(stopwatch.Elapsed())), ": gRPC on ",
      server->address(),
      server->metrics_address().empty()
          ? ""
          : absl::StrCat(", metrics on http://", server->metrics_address(), "/metrics"),
      "; ", Describe(*server->revision())));

  // Apart, so that the signal to stop is heard during a reload, whose loading is not interrupted.
  std::atomic<bool> stopping{false};
  auto reloader = std::make_unique<Reloader>([&] { Reload(session, stopping, *server); });
  while (AwaitSignal() == SIGHUP) reloader->Ask();
  stopping = true;
  log.Info(absl::StrCat("draining for up to ", flags.drain_delay_seconds + flags.drain_seconds,
                        " s (a second signal ends at once) ..."));
  server->Shutdown(absl::Seconds(flags.drain_seconds), absl::Seconds(flags.drain_delay_seconds));
  reloader = nullptr;
  log.Info("stopped");
  return absl::OkStatus();
}

// What must be said by a flag or in the file, and is not.
std::vector<std::string> MissingSettings(const ServerFlags& flags) {
  std::vector<std::string> missing;
  if (flags.model.empty()) missing.push_back(NameOfSetting("--model") + " is required");
  if (flags.gallery.empty()) missing.push_back(NameOfSetting("--gallery") + " is required");
  return missing;
}

// Everything but whether model and gallery fit together, which takes loading them.
int CheckConfig(const ServerFlags& flags, const std::string& effective) {
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
  if (const absl::Status place = SearchersOn(flags.recall_device).status(); !place.ok()) {
    errors.push_back(absl::StrCat(NameOfSetting("--recall-device"), ": ", place.message()));
  }
  Server::Options options = flags.ServerOptions();
  options.limits.default_rerank_depth = flags.defaults.rerank_depth.value_or(1);
  options.limits.default_caption_rerank_depth = flags.defaults.caption_rerank_depth.value_or(0);
  const absl::Status status = Server::CheckOptions(options);
  if (!status.ok()) errors.emplace_back(status.message());
  const absl::Status access = Server::CheckFiles(options);
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

  ServerFlags flags;
  CLI::App app("Serves image-text search over a gallery by gRPC.", kProgram);
  flags.Define(app);
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
  Log log(flags.log(), &std::cerr);
  Log answers(flags.log(), &std::cout);
  if (log.format() == Log::Format::kJson) {
    log.Info("configuration", {{"configuration", effective}});
  } else {
    std::cerr << "configuration:\n" << effective;
  }
  const absl::StatusOr<std::unique_ptr<VectorSearcherFactory>> searchers =
      SearchersOn(flags.recall_device);
  const absl::Status status =
      searchers.ok()
          ? Serve({.flags = flags, .searchers = searchers->get(), .log = &log, .answers = &answers})
          : searchers.status();
  if (status.ok()) return static_cast<int>(ProgramExit::kOk);
  if (log.format() == Log::Format::kText) return ReportError(kProgram, status);
  log.Write(Log::Severity::kError, status.message());
  return static_cast<int>(ProgramExitFor(status.code()));
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) { return dime::Main(argc, argv); }
