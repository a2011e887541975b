#ifndef DIME_SERVER_PIPELINE_GROUP_STAGE_H_
#define DIME_SERVER_PIPELINE_GROUP_STAGE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "index/gallery.h"
#include "server/pipeline/search_types.h"

namespace dime {

// The stage between reranking and selection, where groups are asked for: which group each candidate
// is of. A group is a string, a number or a truth value that items have in the same field; an item
// without one, or with a list or an object there, is of no group.
// Stateless.
class GroupStage {
 public:
  // A name for each candidate's group, in the candidates' order, equal where the groups are the
  // same. All their records are read, in one batch. Errors: those of reading them.
  absl::StatusOr<std::vector<std::optional<std::string>>> Run(
      const GalleryView& view, Modality target, const std::vector<Candidate>& candidates,
      const GroupBy& group_by) const;
};

}  // namespace dime

#endif  // DIME_SERVER_PIPELINE_GROUP_STAGE_H_
