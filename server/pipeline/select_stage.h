#ifndef DIME_SERVER_PIPELINE_SELECT_STAGE_H_
#define DIME_SERVER_PIPELINE_SELECT_STAGE_H_

#include <vector>

#include "server/pipeline/search_types.h"

namespace dime {

// The last stage of a search: the `top_k` candidates with the highest final scores, best first,
// ties by coarse rank (hence, where coarse scores are equal too, by row). Stateless.
class SelectStage {
 public:
  std::vector<Hit> Run(const RerankedCandidates& reranked, const SearchOptions& options) const;
};

}  // namespace dime

#endif  // DIME_SERVER_PIPELINE_SELECT_STAGE_H_
