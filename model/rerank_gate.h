#ifndef DIME_MODEL_RERANK_GATE_H_
#define DIME_MODEL_RERANK_GATE_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/model_info.h"

namespace dime {

// The words with which programs report a score mode whose reranking loses to the first stage alone,
// so that nobody pays for a second stage that makes the answers worse. Functions without state,
// hence thread-safe.

// `coarse` and `rerank`: R@1 + R@5 + R@10 summed over both kinds searched (0 to 600), the latter
// lower; `measured_on` names the data.
std::string RerankLosesWarning(ScoreMode mode, double coarse, double rerank,
                               absl::string_view measured_on);

// One for each mode that the model serves and whose ranking settings say so, with what follows for
// the default mode.
std::vector<std::string> RerankWarnings(const ModelInfo& model);

}  // namespace dime

#endif  // DIME_MODEL_RERANK_GATE_H_
