#ifndef DIME_CLIENT_EXPLANATION_PICTURE_H_
#define DIME_CLIENT_EXPLANATION_PICTURE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/pair_attention.h"
#include "client/picture_file.h"
#include "dime/v1/retrieval.pb.h"

namespace dime {

// Draws an explanation as an SVG document that stands for itself: for each direction, side by side,
// the picture with the regions that have most to do with a word as boxes, the stronger the clearer,
// labelled with the word, and the words beneath in the same colours. A word has one colour on both
// sides. Text is escaped, so no word can break the document. A pure function: thread-safe.
// `picture`: absent draws a plain frame of the image's size. `top`: words drawn on each side, at
// least 1; more than six are too many to tell apart and are left out. FAILED_PRECONDITION if the
// gallery knows no boxes of the regions; INVALID_ARGUMENT if the picture does not have the image's
// proportions, that is, shows something else.
absl::StatusOr<std::string> DrawExplanation(const v1::ExplainPairResponse& response,
                                            const std::vector<PairAttention>& directions,
                                            const std::optional<PictureFile>& picture, int top);

}  // namespace dime

#endif  // DIME_CLIENT_EXPLANATION_PICTURE_H_
