#ifndef DIME_SERVER_PIPELINE_RECALL_STAGE_H_
#define DIME_SERVER_PIPELINE_RECALL_STAGE_H_

#include <vector>

#include "absl/status/statusor.h"
#include "index/gallery.h"
#include "server/pipeline/search_types.h"

namespace dime {

// The second stage of a search: the candidates for reranking. They are the `rerank_depth` items
// that the gallery's coarse index finds, or with `exact` all items, by a scan of their embeddings;
// with a filter, of the items that match alone; and none with a coarse score below the threshold.
// Either way they come in order of coarse score, ties by row; a candidate's place in that order is
// its coarse rank.
// Stateless.
class RecallStage {
 public:
  // No candidates if the view holds nothing of the kind searched.
  absl::StatusOr<std::vector<Candidate>> Run(const GalleryView& view, const EncodedQuery& query,
                                             const SearchOptions& options) const;
};

}  // namespace dime

#endif  // DIME_SERVER_PIPELINE_RECALL_STAGE_H_
