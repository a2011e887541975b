#ifndef DIME_TESTS_CLIENT_SAMPLE_RESPONSES_H_
#define DIME_TESTS_CLIENT_SAMPLE_RESPONSES_H_

#include "dime/v1/retrieval.pb.h"

namespace dime {

// Responses as a server gives them: three hits for each view, in which reranking brought one up,
// one down and left one in its place.
v1::SearchImagesResponse SampleImages(v1::ResultView view);
v1::SearchCaptionsResponse SampleCaptions(v1::ResultView view);
v1::GetInfoResponse SampleInfo();

}  // namespace dime

#endif  // DIME_TESTS_CLIENT_SAMPLE_RESPONSES_H_
