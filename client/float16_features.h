#ifndef DIME_CLIENT_FLOAT16_FEATURES_H_
#define DIME_CLIENT_FLOAT16_FEATURES_H_

#include "absl/status/status.h"
#include "dime/v1/retrieval.pb.h"

namespace dime {

// Has features travel as float16, in half the bytes of float32 and at most so many as in a list of
// numbers: values are rounded to 11 significant bits, those below 6.1e-5 to multiples of 6e-8.
// INVALID_ARGUMENT, naming the value's place, if one is finite but beyond float16's range. Values
// that are not finite, and bytes that are no whole float32s, are left for the server to refuse.
absl::Status RoundToFloat16(v1::RegionFeatures& features);

}  // namespace dime

#endif  // DIME_CLIENT_FLOAT16_FEATURES_H_
