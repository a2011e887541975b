#include "model/first_stage.h"

#include "absl/strings/str_cat.h"

namespace dime {

std::string DescribeFirstStage(const ModelInfo& model) {
  if (model.coarse_heads) {
    return absl::StrCat("first stage: coarse heads, ", model.coarse_dim, " wide");
  }
  return absl::StrCat(
      "first stage: DIME's own global embeddings, ", model.coarse_dim,
      " wide, which were not trained for recall; dime_train_coarse makes heads that "
      "are");
}

}  // namespace dime
