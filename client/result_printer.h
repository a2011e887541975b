#ifndef DIME_CLIENT_RESULT_PRINTER_H_
#define DIME_CLIENT_RESULT_PRINTER_H_

#include <string>

#include "absl/strings/string_view.h"
#include "client/display_text.h"
#include "dime/v1/retrieval.pb.h"

namespace dime {

// Responses as text for people. A response shows what it holds: columns that would be empty are
// left out; view FULL adds each direction's score, the rerank score where it is neither of those
// nor the final one, coarse score and place, how far the hit moved in reranking, and stage timings;
// view EXPLAIN adds the path weights, a grid for each hit and direction. Lines end in newlines.
// Pure functions: thread-safe.
std::string FormatImages(const v1::SearchImagesResponse& response, const Terminal& terminal);
std::string FormatCaptions(const v1::SearchCaptionsResponse& response, const Terminal& terminal);
std::string FormatInfo(const v1::GetInfoResponse& response, absl::string_view address,
                       const Terminal& terminal);

}  // namespace dime

#endif  // DIME_CLIENT_RESULT_PRINTER_H_
