#include "client/cli.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "client/client_error.h"
#include "client/command_output.h"
#include "client/connection_security.h"
#include "client/diagnostic_commands.h"
#include "client/exit_code.h"
#include "client/explanation_picture.h"
#include "client/explanation_printer.h"
#include "client/gallery_commands.h"
#include "client/health_client.h"
#include "client/message_json.h"
#include "client/pair_attention.h"
#include "client/picture_file.h"
#include "client/region_features_file.h"
#include "client/result_printer.h"
#include "client/retrieval_client.h"
#include "client/search_flags.h"
#include "dime/v1/retrieval.pb.h"
#include "index/build_info.h"
#include "index/durable_file.h"
#include "index/status_macros.h"
#include "index/text_lines.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

constexpr char kFooter[] = R"(Exit codes:
  0  success
  1  a fault of the server or of this program
  2  the command line is wrong
  3  the request is wrong; the error says which field, which file, or which items
  4  not found, or the gallery cannot answer
  5  no server answers, or it is starting or draining
  6  the deadline passed
  7  the server is full, or a message is too large
  9  the snapshot or the directory to be made is there already
  11 the server asks for a token, or for one of another role (--token-file)

JSON is proto3's mapping of the messages in retrieval.proto, under their field names.)";

constexpr char kImagesFooter[] = R"(Examples:
  dime search-images "a striped red cross and a blue heart"
  dime search-images "two dogs on a beach" --top-k 5 --view full
  dime search-images "a red heart" --filter 'shop = "north" AND price < 20' --group-by artist

For --address, --deadline, --json and exit codes see dime --help.)";

constexpr char kCaptionsFooter[] = R"(Examples:
  dime search-captions --image-id scene-17
  dime search-captions --features test_ims.npy --row 3 --json

For --address, --deadline, --json and exit codes see dime --help.)";

constexpr char kExplainFooter[] = R"(Shows which words and which regions of the image looked
at each other in the cross-modal cells that made the score: i2t, where regions look
at words, and t2i, where words look at regions.

Examples:
  dime explain "a striped red cross and a blue heart" --image scene-17
  dime explain --caption-id "scene-17#2" --image scene-17 --mode t2i --top 3
  dime explain "a red cross" --image scene-17 --svg why.svg --picture scene-17.png

For --address, --deadline, --json and exit codes see dime --help.)";

constexpr char kInfoFooter[] = R"(Examples:
  dime info --address gallery.example:8980
  dime info --wait 60s

For --address, --deadline, --json and exit codes see dime --help.)";

constexpr char kHealthFooter[] =
    R"(Asks the server's health service, which wants no token. Exit code 0: it serves; 5: it
does not, or nobody answers. What probes call where they cannot speak TLS themselves.

Examples:
  dime health
  dime health liveness --deadline 3s

For --address, --json and exit codes see dime --help.)";

struct Flags {
  // Global.
  std::string address = RetrievalClient::Options().address;
  std::string deadline = "10s";
  ClientTlsFiles tls;
  std::string tls_server_name;
  std::string token_file;
  bool json = false;
  bool no_color = false;
  SearchFlags search;  // of both searches
  // search-images and explain.
  std::string text;
  // search-captions and explain.
  std::optional<std::string> image_id;
  std::string features;
  std::optional<int64_t> row;
  // explain.
  std::string mode;
  std::optional<std::string> caption_id;
  int links = 5;
  std::string svg;
  std::string picture;
  // info.
  std::string wait;
  // health.
  std::string service = v1::RetrievalService::service_full_name();
};

// "1.5s", "200ms", "2m"; a plain number is seconds. Nothing if it is no time longer than zero.
std::optional<absl::Duration> ParsePositiveDuration(const std::string& text) {
  absl::Duration duration;
  double seconds;
  if (absl::SimpleAtod(text, &seconds)) {
    if (std::isnan(seconds)) return std::nullopt;
    duration = absl::Seconds(seconds);
  } else if (!absl::ParseDuration(text, &duration)) {
    return std::nullopt;
  }
  if (!(duration > absl::ZeroDuration())) return std::nullopt;
  return duration;
}

// As CLI11 wants it: the complaint, or nothing.
std::string CheckDuration(const std::string& text) {
  if (ParsePositiveDuration(text).has_value()) return "";
  return absl::StrCat("'", text, "' is no time longer than zero; write 500ms, 10s, 2m or seconds");
}

// What a command writes to `out`.
absl::StatusOr<std::string> SearchImages(const RetrievalClient& client, const Flags& flags,
                                         const Terminal& terminal) {
  v1::SearchImagesRequest request;
  request.set_text(flags.text);
  *request.mutable_options() = flags.search.ToOptions();
  ASSIGN_OR_RETURN(const v1::SearchImagesResponse response, client.SearchImages(request));
  return flags.json ? ToJson(response) : FormatImages(response, terminal);
}

absl::StatusOr<std::string> SearchCaptions(const RetrievalClient& client, const Flags& flags,
                                           const Terminal& terminal) {
  v1::SearchCaptionsRequest request;
  if (flags.image_id.has_value()) {
    request.set_image_id(*flags.image_id);
  } else {
    ASSIGN_OR_RETURN(*request.mutable_features(), ReadRegionFeatures(flags.features, flags.row));
  }
  *request.mutable_options() = flags.search.ToOptions();
  ASSIGN_OR_RETURN(const v1::SearchCaptionsResponse response, client.SearchCaptions(request));
  return flags.json ? ToJson(response) : FormatCaptions(response, terminal);
}

// The picture for the drawing: the one given, else the image's own where its URI leads to a file
// here. Where there is none, `why` says so.
absl::StatusOr<std::optional<PictureFile>> FindPicture(const Flags& flags, const std::string& uri,
                                                       std::string* why) {
  if (!flags.picture.empty()) return ReadPicture(flags.picture);
  if (uri.empty()) {
    *why = "the gallery does not know where it is";
    return std::nullopt;
  }
  const absl::StatusOr<std::string> path = LocalPath(uri);
  absl::StatusOr<PictureFile> picture =
      path.ok() ? ReadPicture(*path) : absl::StatusOr<PictureFile>(path.status());
  if (picture.ok()) return *std::move(picture);
  *why = std::string(picture.status().message());
  return std::nullopt;
}

// Writes the drawing and returns the line that says so.
absl::StatusOr<std::string> WriteDrawing(const Flags& flags,
                                         const v1::ExplainPairResponse& response,
                                         const std::vector<PairAttention>& directions) {
  std::string why;
  ASSIGN_OR_RETURN(const std::optional<PictureFile> picture,
                   FindPicture(flags, response.image_uri(), &why));
  ASSIGN_OR_RETURN(const std::string svg,
                   DrawExplanation(response, directions, picture, flags.links));
  RETURN_IF_ERROR(WriteFileDurably(flags.svg, svg));
  return absl::StrCat("\nwrote ", Printable(flags.svg),
                      picture.has_value() ? ""
                                          : absl::StrCat(" without the picture: ", Printable(why),
                                                         "; --picture FILE gives one"),
                      "\n");
}

absl::StatusOr<std::string> Explain(const RetrievalClient& client, const Flags& flags,
                                    const Terminal& terminal) {
  v1::ExplainPairRequest request;
  if (flags.caption_id.has_value()) {
    request.set_caption_id(*flags.caption_id);
  } else {
    request.set_text(flags.text);
  }
  if (flags.image_id.has_value()) {
    request.set_image_id(*flags.image_id);
  } else {
    ASSIGN_OR_RETURN(*request.mutable_features(), ReadRegionFeatures(flags.features, flags.row));
  }
  request.set_score_mode(ToScoreMode(flags.mode));
  ASSIGN_OR_RETURN(const v1::ExplainPairResponse response, client.ExplainPair(request));
  if (flags.json && flags.svg.empty()) return ToJson(response);
  ASSIGN_OR_RETURN(const std::vector<PairAttention> directions,
                   PairAttention::FromResponse(response));
  std::string drawing;
  if (!flags.svg.empty()) {
    ASSIGN_OR_RETURN(drawing, WriteDrawing(flags, response, directions));
  }
  if (flags.json) return ToJson(response);
  return FormatExplanation(response, directions, flags.links, terminal) + drawing;
}

absl::StatusOr<std::string> Info(const RetrievalClient& client, const Flags& flags,
                                 const Terminal& terminal) {
  if (!flags.wait.empty()) {
    RETURN_IF_ERROR(client.WaitReady(*ParsePositiveDuration(flags.wait)));
  }
  ASSIGN_OR_RETURN(const v1::GetInfoResponse response, client.GetInfo());
  return flags.json ? ToJson(response) : FormatInfo(response, client.address(), terminal);
}

// What the health service says, either way.
absl::StatusOr<std::string> Health(const RetrievalClient& client, const Flags& flags,
                                   bool& serving) {
  const absl::StatusOr<bool> answer = HealthClient(&client).IsServing(flags.service);
  if (absl::IsNotFound(answer.status())) {
    return absl::NotFoundError(absl::StrCat("the server knows no service ", Quoted(flags.service)));
  }
  if (!answer.ok()) return answer.status();
  serving = *answer;
  if (flags.json) {
    const nlohmann::ordered_json json = {{"service", flags.service}, {"serving", serving}};
    return json.dump(2) + "\n";
  }
  return std::string(serving ? "serving\n" : "not serving\n");
}

// The flags of TLS and of the token.
absl::Status Secure(const Flags& flags, RetrievalClient::Options& options) {
  ASSIGN_OR_RETURN(options.credentials, MakeChannelCredentials(flags.tls));
  options.tls_server_name = flags.tls_server_name;
  if (!flags.token_file.empty()) {
    ASSIGN_OR_RETURN(options.token, ReadToken(flags.token_file));
  } else if (const char* token = std::getenv("DIME_TOKEN"); token != nullptr) {
    options.token = std::string(absl::StripAsciiWhitespace(token));
    if (!std::all_of(options.token.begin(), options.token.end(), absl::ascii_isgraph)) {
      return absl::InvalidArgumentError("DIME_TOKEN must hold one token and nothing else");
    }
  }
  return absl::OkStatus();
}

// gRPC's messages go from the general to the particular: "failed to connect to all addresses; last
// error: UNKNOWN: ipv4:127.0.0.1:8980: Failed to connect to remote host: Connection refused".
absl::string_view Cause(absl::string_view message) {
  const size_t colon = message.rfind(": ");
  return colon == absl::string_view::npos ? message : message.substr(colon + 2);
}

// The error's one line, with what to do where that is known.
std::string Explanation(const ClientError& error, absl::string_view address) {
  if (error.has_reason()) return error.message;
  switch (error.code) {
    case absl::StatusCode::kUnavailable:
      return absl::StrCat("no server answers at ", address, " (", Cause(error.message),
                          "); start one with dime_server --model DIR --gallery DIR, or pass "
                          "--address HOST:PORT");
    case absl::StatusCode::kDeadlineExceeded:
      return absl::StrCat(error.message, "; --deadline allows more time");
    case absl::StatusCode::kUnimplemented:
      return absl::StrCat("the server at ", address, " does not serve dime.v1.RetrievalService (",
                          error.message, ")");
    default:
      return error.message;
  }
}

ExitCode ReportError(const absl::Status& status, absl::string_view address, bool json,
                     std::ostream& err) {
  const ClientError error = ClientError::FromStatus(status);
  const ExitCode exit_code = ExitCodeFor(error.code);
  const std::string explanation = Explanation(error, address);
  if (json) {
    nlohmann::ordered_json fields = {{"code", absl::StatusCodeToString(error.code)},
                                     {"exit_code", static_cast<int>(exit_code)},
                                     {"message", explanation},
                                     {"reason", error.reason},
                                     {"metadata", error.metadata},
                                     {"field_violations", nlohmann::ordered_json::array()}};
    for (const ClientError::FieldViolation& violation : error.field_violations) {
      fields["field_violations"].push_back(
          {{"field", violation.field}, {"description", violation.description}});
    }
    if (error.retry_delay.has_value()) {
      fields["retry_delay_seconds"] = absl::ToDoubleSeconds(*error.retry_delay);
    }
    if (!error.request_id.empty()) fields["request_id"] = error.request_id;
    if (!error.resource_name.empty()) {
      fields["resource"] = {{"type", error.resource_type}, {"name", error.resource_name}};
    }
    err << nlohmann::ordered_json{{"error", std::move(fields)}}.dump(
               2, ' ', false, nlohmann::json::error_handler_t::replace)
        << "\n";
    return exit_code;
  }
  err << "error: " << Printable(explanation);
  if (error.retry_delay.has_value()) {
    err << "; try again in " << absl::FormatDuration(*error.retry_delay);
  }
  err << " [" << absl::StatusCodeToString(error.code);
  if (error.has_reason()) err << ", " << Printable(error.reason);
  err << "]";
  if (!error.request_id.empty()) err << " (request " << Printable(error.request_id) << ")";
  err << "\n";
  for (const ClientError::FieldViolation& violation : error.field_violations) {
    err << "  " << Printable(violation.field) << ": " << Printable(violation.description) << "\n";
  }
  return exit_code;
}

ExitCode ReportUsageError(absl::string_view message, absl::string_view command, bool json,
                          std::ostream& err) {
  if (json) {
    const nlohmann::ordered_json error = {{"error",
                                           {{"code", "USAGE"},
                                            {"exit_code", static_cast<int>(ExitCode::kUsage)},
                                            {"message", message}}}};
    err << error.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  } else {
    err << "error: " << Printable(message) << "; see " << command << " --help\n";
  }
  return ExitCode::kUsage;
}

// The parts of the command line that are asked about after parsing; the App owns them.
struct Commands {
  CLI::App* images;
  CLI::App* captions;
  CLI::App* explain;
  CLI::App* info;
  CLI::App* health;
  CLI::Option* image_id;
  CLI::Option* features;
  CLI::Option* explained_text;
  CLI::Option* explained_caption_id;
  CLI::Option* explained_image_id;
  CLI::Option* explained_features;
};

// `flags` are set by parsing and must outlive `app`.
Commands AddCommands(CLI::App* app, Flags* flags) {
  app->set_version_flag("--version", VersionText("dime"));
  app->footer(kFooter);
  app->require_subcommand(1);
  app->fallthrough();  // global options may follow the subcommand
  app->get_formatter()->column_width(32);
  app->add_option("--address", flags->address, "The server: HOST:PORT, or a gRPC target")
      ->type_name("ADDRESS")
      ->envname("DIME_ADDRESS")
      ->capture_default_str();
  app->add_option("--deadline", flags->deadline,
                  "How long to wait for the answer, retries included")
      ->type_name("TIME")
      ->check(CheckDuration)
      ->capture_default_str();
  app->add_option(
         "--tls-ca", flags->tls.ca,
         "PEM file of the authorities that the server's certificate may be by; calls go by "
         "TLS with this or --tls-certificate")
      ->type_name("FILE")
      ->envname("DIME_TLS_CA");
  app->add_option("--tls-certificate", flags->tls.certificate,
                  "PEM file of a certificate of one's own, where the server asks for one")
      ->type_name("FILE")
      ->envname("DIME_TLS_CERTIFICATE");
  app->add_option("--tls-key", flags->tls.key, "PEM file of its private key")
      ->type_name("FILE")
      ->envname("DIME_TLS_KEY");
  app->add_option("--tls-server-name", flags->tls_server_name,
                  "The name that the server's certificate must be for, if not the address's host")
      ->type_name("NAME")
      ->envname("DIME_TLS_SERVER_NAME");
  app->add_option("--token-file", flags->token_file,
                  "File of the bearer token to send (default: the variable DIME_TOKEN)")
      ->type_name("FILE");
  app->add_flag("--json", flags->json,
                "Write results, and errors on standard error, as JSON for programs");
  app->add_flag("--no-color", flags->no_color, "Write no colours, even to a terminal");

  Commands commands;
  commands.images = app->add_subcommand("search-images", "Find images by a text");
  commands.images->footer(kImagesFooter);
  commands.images->add_option("text", flags->text, "What the image should show, in quotes")
      ->type_name("TEXT")
      ->required();
  flags->search.Define(commands.images);

  commands.captions = app->add_subcommand("search-captions", "Find captions by an image");
  commands.captions->footer(kCaptionsFooter);
  commands.image_id =
      commands.captions->add_option("--image-id", flags->image_id, "An image of the gallery")
          ->type_name("ID");
  commands.features = commands.captions
                          ->add_option("--features", flags->features,
                                       "Region features of any image: .npy, (R, D) or (N, R, D)")
                          ->type_name("FILE")
                          ->excludes(commands.image_id);
  commands.captions->add_option("--row", flags->row, "Which image of a file of (N, R, D), from 0")
      ->type_name("N")
      ->needs(commands.features);
  flags->search.Define(commands.captions);

  commands.explain =
      app->add_subcommand("explain", "Show what made the score of a caption and an image");
  commands.explain->footer(kExplainFooter);
  commands.explained_text =
      commands.explain->add_option("text", flags->text, "A caption of your own, in quotes")
          ->type_name("TEXT");
  commands.explained_caption_id =
      commands.explain->add_option("--caption-id", flags->caption_id, "Or a caption of the gallery")
          ->type_name("ID")
          ->excludes(commands.explained_text);
  commands.explained_image_id =
      commands.explain->add_option("--image,--image-id", flags->image_id, "An image of the gallery")
          ->type_name("ID");
  commands.explained_features =
      commands.explain
          ->add_option("--features", flags->features,
                       "Or region features of any image: .npy, (R, D) or (N, R, D)")
          ->type_name("FILE")
          ->excludes(commands.explained_image_id);
  commands.explain->add_option("--row", flags->row, "Which image of a file of (N, R, D), from 0")
      ->type_name("N")
      ->needs(commands.explained_features);
  commands.explain
      ->add_option("--mode", flags->mode,
                   "Which model's score (default: the one the server prefers)")
      ->type_name("MODE")
      ->check(CLI::IsMember({"i2t", "t2i", "ensemble"}));
  commands.explain
      ->add_option("--top", flags->links,
                   "Links to show of each layer, and words to draw (at most 6 of them)")
      ->type_name("N")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  CLI::Option* svg =
      commands.explain
          ->add_option("--svg", flags->svg,
                       "Also draw the image, its most attended regions and the words")
          ->type_name("FILE");
  commands.explain
      ->add_option("--picture", flags->picture,
                   "PNG or JPEG to draw on (default: the image's own, if it is here)")
      ->type_name("FILE")
      ->needs(svg);

  commands.info = app->add_subcommand("info", "Show the server's model, gallery and limits");
  commands.info->footer(kInfoFooter);
  commands.info
      ->add_option("--wait", flags->wait, "First wait for a server to answer, so long at most")
      ->type_name("TIME")
      ->check(CheckDuration);

  commands.health = app->add_subcommand("health", "Ask whether the server serves");
  commands.health->footer(kHealthFooter);
  commands.health
      ->add_option("service", flags->service, "Of which service; \"liveness\": of the process")
      ->type_name("SERVICE")
      ->capture_default_str();
  return commands;
}

// What is wrong with the command line. CLI11's own words but for leftover words, which it names
// backwards, and a command that there is not, which it takes for none at all.
std::string UsageMessage(const CLI::ParseError& error, const CLI::App& app,
                         const Commands& commands) {
  const bool any_command = !app.get_subcommands().empty();
  const std::vector<std::string> unexpected = app.remaining(/*recurse=*/true);
  if (unexpected.empty() ||
      (any_command && dynamic_cast<const CLI::ExtrasError*>(&error) == nullptr)) {
    return error.what();
  }
  absl::string_view advice;
  if (!any_command) {
    advice =
        "; the commands are search-images, search-captions, explain, info, health, upsert-images, "
        "upsert-captions, delete, get, list, stats, snapshot, restore, slow and replay";
  } else if ((commands.images->parsed() || commands.explain->parsed()) &&
             !absl::StartsWith(unexpected[0], "-")) {
    advice = "; a text of several words must stand in quotes";
  }
  return absl::StrCat("unexpected: ", absl::StrJoin(unexpected, " "), advice);
}

ExitCode Run(std::vector<std::string> arguments, Terminal terminal, std::ostream& out,
             std::ostream& err) {
  Flags flags;
  CLI::App app("Searches, and writes, a gallery of images and captions served by dime_server.",
               "dime");
  const Commands commands = AddCommands(&app, &flags);
  const GalleryCommands gallery_commands(&app);
  const DiagnosticCommands diagnostic_commands(&app);
  if (arguments.empty()) {
    err << app.help();
    return ExitCode::kUsage;
  }
  // Where parsing fails, flags.json may not have been reached.
  const bool json = std::find(arguments.begin(), arguments.end(), "--json") != arguments.end();
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::Success& request) {  // --help, --version
    app.exit(request, out, err);
    return ExitCode::kOk;
  } catch (const CLI::ParseError& error) {
    const std::vector<CLI::App*> parsed = app.get_subcommands();
    return ReportUsageError(UsageMessage(error, app, commands),
                            parsed.empty() ? "dime" : absl::StrCat("dime ", parsed[0]->get_name()),
                            json, err);
  }
  if (commands.captions->parsed() && commands.image_id->empty() && commands.features->empty()) {
    return ReportUsageError("one of --image-id ID and --features FILE is needed",
                            "dime search-captions", flags.json, err);
  }
  if (commands.explain->parsed()) {
    std::string missing;
    if (commands.explained_text->empty() && commands.explained_caption_id->empty()) {
      missing = "a caption is needed: TEXT in quotes, or --caption-id ID";
    } else if (commands.explained_image_id->empty() && commands.explained_features->empty()) {
      missing = "an image is needed: --image ID, or --features FILE";
    }
    if (!missing.empty()) return ReportUsageError(missing, "dime explain", flags.json, err);
  }

  const std::string wrong = gallery_commands.parsed()      ? gallery_commands.UsageError()
                            : diagnostic_commands.parsed() ? diagnostic_commands.UsageError()
                                                           : "";
  if (!wrong.empty()) {
    return ReportUsageError(wrong, absl::StrCat("dime ", app.get_subcommands()[0]->get_name()),
                            flags.json, err);
  }

  if (flags.no_color) terminal.color = false;
  RetrievalClient::Options options;
  options.address = flags.address;
  // A server that is asked for its health is to say it, whatever it is.
  if (commands.health->parsed()) options.check_health = false;
  options.deadline = *ParsePositiveDuration(flags.deadline);
  if (absl::Status secured = Secure(flags, options); !secured.ok()) {
    return ReportUsageError(secured.message(), "dime", flags.json, err);
  }
  const absl::StatusOr<std::unique_ptr<RetrievalClient>> client = RetrievalClient::Create(options);
  if (!client.ok()) return ReportUsageError(client.status().message(), "dime", flags.json, err);

  const CommandOutput output = {.terminal = terminal, .json = flags.json, .err = err};
  bool failed = false, serving = true;
  const absl::StatusOr<std::string> result =
      gallery_commands.parsed()      ? gallery_commands.Run(**client, output, failed)
      : diagnostic_commands.parsed() ? diagnostic_commands.Run(**client, output, failed)
      : commands.images->parsed()    ? SearchImages(**client, flags, terminal)
      : commands.captions->parsed()  ? SearchCaptions(**client, flags, terminal)
      : commands.explain->parsed()   ? Explain(**client, flags, terminal)
      : commands.health->parsed()    ? Health(**client, flags, serving)
                                     : Info(**client, flags, terminal);
  if (!result.ok()) {
    return ReportError(result.status(), (*client)->address(), flags.json, err);
  }
  out << *result;
  if (!serving) return ExitCode::kUnavailable;
  return failed ? ExitCode::kInvalidArgument : ExitCode::kOk;
}

}  // namespace

int RunCli(std::vector<std::string> arguments, const Terminal& terminal, std::ostream& out,
           std::ostream& err) {
  return static_cast<int>(Run(std::move(arguments), terminal, out, err));
}

}  // namespace dime
