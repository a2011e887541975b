#ifndef DIME_CLIENT_GALLERY_COMMANDS_H_
#define DIME_CLIENT_GALLERY_COMMANDS_H_

#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "client/command_output.h"
#include "client/retrieval_client.h"

namespace dime {

// The commands of `dime` that write to a gallery and read it: upsert-images, upsert-captions,
// delete, get, list, stats, snapshot, restore. Not thread-safe. The App must outlive it, and it the
// App's parsing.
class GalleryCommands {
 public:
  explicit GalleryCommands(CLI::App* app);
  ~GalleryCommands();

  // Whether one of the commands was asked for.
  bool parsed() const;
  // What is wrong with the command line that CLI11 did not see; empty if nothing.
  std::string UsageError() const;
  // Does what was asked for and gives what to write. Where single items failed, that is said on
  // output.err, the result is their summary, and `failed` is set.
  absl::StatusOr<std::string> Run(const RetrievalClient& client, const CommandOutput& output,
                                  bool& failed) const;

 private:
  struct Flags;
  template <typename Request>
  absl::StatusOr<std::string> Upsert(const RetrievalClient& client, const CommandOutput& output,
                                     bool& failed) const;
  absl::StatusOr<std::string> Delete(const RetrievalClient& client, const CommandOutput& output,
                                     bool& failed) const;
  absl::StatusOr<std::string> Get(const RetrievalClient& client, const CommandOutput& output) const;
  absl::StatusOr<std::string> List(const RetrievalClient& client,
                                   const CommandOutput& output) const;
  absl::StatusOr<std::string> Stats(const RetrievalClient& client,
                                    const CommandOutput& output) const;
  absl::StatusOr<std::string> Snapshot(const RetrievalClient& client,
                                       const CommandOutput& output) const;
  absl::StatusOr<std::string> Restore(const CommandOutput& output) const;

  const std::unique_ptr<Flags> flags_;
  CLI::App* upsert_images_;
  CLI::App* upsert_captions_;
  CLI::App* delete_;
  CLI::App* get_;
  CLI::App* list_;
  CLI::App* stats_;
  CLI::App* snapshot_;
  CLI::App* restore_;
};

}  // namespace dime

#endif  // DIME_CLIENT_GALLERY_COMMANDS_H_
