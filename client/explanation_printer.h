#ifndef DIME_CLIENT_EXPLANATION_PRINTER_H_
#define DIME_CLIENT_EXPLANATION_PRINTER_H_

#include <string>
#include <vector>

#include "client/display_text.h"
#include "client/pair_attention.h"
#include "dime/v1/retrieval.pb.h"

namespace dime {

// An explanation as text for people: the scores; for each direction how much of each layer's
// cross-modal cell flowed on, the strongest links of it, and a line of heat over the regions for
// each word; then where the regions are. Lines end in newlines. A pure function: thread-safe.
// `directions` are those of the response. `top`: links shown of each layer, at least 1.
std::string FormatExplanation(const v1::ExplainPairResponse& response,
                              const std::vector<PairAttention>& directions, int top,
                              const Terminal& terminal);

// The caption put together again from the model's word pieces.
std::string CaptionOf(const v1::ExplainPairResponse& response);

}  // namespace dime

#endif  // DIME_CLIENT_EXPLANATION_PRINTER_H_
