#ifndef DIME_TESTS_CLIENT_SAMPLE_RESPONSES_H_
#define DIME_TESTS_CLIENT_SAMPLE_RESPONSES_H_

#include <string>

#include "dime/v1/retrieval.pb.h"

namespace dime {

// Responses as a server gives them: three hits for each view, in which reranking brought one up,
// one down and left one in its place.
v1::SearchImagesResponse SampleImages(v1::ResultView view);
v1::SearchCaptionsResponse SampleCaptions(v1::ResultView view);
v1::GetInfoResponse SampleInfo();
// "red cross" of four tokens and an image of 100x50 pixels in five regions, a strip of 20 pixels
// each, in both directions. Layer 0 and 2 have the weights 0.25 and 0.75, layer 1 is shut. i-t:
// regions look at "red" and "cross" alike, but region 1 at "red" (0.7) and region 3 at "cross"
// (0.6). t-i: every word looks at all regions alike, but "red" at region 1 (0.6) and "cross" at 3
// (0.5) and 2 (0.3).
v1::ExplainPairResponse SampleExplanation();

// The beginning of a PNG file of this size, which is all that the client reads of one.
std::string SamplePng(int width, int height);

}  // namespace dime

#endif  // DIME_TESTS_CLIENT_SAMPLE_RESPONSES_H_
