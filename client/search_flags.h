#ifndef DIME_CLIENT_SEARCH_FLAGS_H_
#define DIME_CLIENT_SEARCH_FLAGS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "dime/v1/retrieval.pb.h"

namespace CLI {
class App;
}

namespace dime {

// What a search can be told on the command line, whichever kind of item it finds. A value.
struct SearchFlags {
  std::optional<int32_t> top_k;
  std::optional<int32_t> rerank_depth;
  bool exact = false;
  std::string mode;
  std::string view;
  std::optional<int32_t> effort;
  std::optional<float> fusion_weight;
  bool adaptive_depth = false;
  std::string filter;
  std::string group_by;
  std::optional<int32_t> group_size;
  std::optional<float> min_coarse_score;
  std::optional<float> min_rerank_score;
  std::optional<float> min_final_score;
  bool with_payload = false;
  bool coarse_on_error = false;
  std::optional<int32_t> min_rerank_depth;
  bool bulk = false;
  bool paged = false;
  std::string page_token;

  // Adds the flags to a command, which must not outlive them.
  void Define(CLI::App* command);
  // The options of a request: what was not given is left to the server, which also judges values.
  v1::SearchOptions ToOptions() const;
};

// "i2t", "t2i", "ensemble"; unspecified for anything else.
v1::ScoreMode ToScoreMode(absl::string_view name);

}  // namespace dime

#endif  // DIME_CLIENT_SEARCH_FLAGS_H_
