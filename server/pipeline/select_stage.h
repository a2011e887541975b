#ifndef DIME_SERVER_PIPELINE_SELECT_STAGE_H_
#define DIME_SERVER_PIPELINE_SELECT_STAGE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "server/pipeline/search_types.h"

namespace dime {

// The last stage of a search: the `top_k` candidates with the highest final scores, best first,
// ties by coarse rank (hence, where coarse scores are equal too, by row); or all of them, where
// further pages may be asked. Candidates below a threshold are left out, and so are those of a
// group that has enough better ones. Stateless.
class SelectStage {
 public:
  // `groups`: each candidate's (see GroupStage), or empty if there are none.
  std::vector<Hit> Run(const RerankedCandidates& reranked, const SearchOptions& options,
                       absl::Span<const std::optional<std::string>> groups = {}) const;
};

}  // namespace dime

#endif  // DIME_SERVER_PIPELINE_SELECT_STAGE_H_
