#ifndef DIME_SERVER_SERVER_CONFIG_H_
#define DIME_SERVER_SERVER_CONFIG_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "dime/v1/server_config.pb.h"

namespace CLI {
class App;
}

namespace dime {

// The configuration file of dime_server (server_config.proto) on top of its flags. A flag and its
// field are two names of one setting, tied by one row of ServerConfigFields(): whatever a flag
// allows, its field allows too, since the file's value goes through the flag's own checks. All
// functions are for one thread.

// One setting: "--workers" and "search.workers".
struct ServerConfigField {
  absl::string_view flag;
  absl::string_view field;
};

// Every setting that a file can have.
absl::Span<const ServerConfigField> ServerConfigFields();

// Reads the file and gives its values to those options of `app`, which has parsed the command line,
// that were not given there. INVALID_ARGUMENT with every error, one a line: of syntax with line and
// column, of values with the path of the field, and what is allowed. NOT_FOUND if there is no file.
absl::Status ApplyServerConfig(const std::string& path, CLI::App& app);

// What the options amount to, from the command line, a file or defaults. Fields stay out that have
// no value of their own, such as defaults that depend on the gallery.
v1::ServerConfig EffectiveServerConfig(const CLI::App& app);

// In the language of the file.
std::string PrintServerConfig(const v1::ServerConfig& config);

// "--workers (field search.workers)", for messages.
std::string NameOfSetting(absl::string_view flag);

// One error out of several, a line each; OK for none.
absl::Status JoinConfigErrors(const std::string& source, const std::vector<std::string>& errors);

}  // namespace dime

#endif  // DIME_SERVER_SERVER_CONFIG_H_
