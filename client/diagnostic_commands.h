#ifndef DIME_CLIENT_DIAGNOSTIC_COMMANDS_H_
#define DIME_CLIENT_DIAGNOSTIC_COMMANDS_H_

#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "client/command_output.h"
#include "client/retrieval_client.h"

namespace dime {

// The commands of `dime` that look into slow calls: `slow` lists those that the server keeps,
// `replay` makes them once more and compares. Not thread-safe. The App must outlive it, and it the
// App's parsing.
class DiagnosticCommands {
 public:
  explicit DiagnosticCommands(CLI::App* app);
  ~DiagnosticCommands();

  // Whether one of the commands was asked for.
  bool parsed() const;
  // What is wrong with the command line that CLI11 did not see; empty if nothing.
  std::string UsageError() const;
  // Does what was asked for and gives what to write. Where single calls failed again, that is said
  // on output.err, the result is of the others, and `failed` is set.
  absl::StatusOr<std::string> Run(const RetrievalClient& client, const CommandOutput& output,
                                  bool& failed) const;

 private:
  struct Flags;
  absl::StatusOr<std::string> Slow(const RetrievalClient& client,
                                   const CommandOutput& output) const;
  absl::StatusOr<std::string> Replay(const RetrievalClient& client, const CommandOutput& output,
                                     bool& failed) const;

  const std::unique_ptr<Flags> flags_;
  CLI::App* slow_;
  CLI::App* replay_;
};

}  // namespace dime

#endif  // DIME_CLIENT_DIAGNOSTIC_COMMANDS_H_
