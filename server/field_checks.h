#ifndef DIME_SERVER_FIELD_CHECKS_H_
#define DIME_SERVER_FIELD_CHECKS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "dime/v1/retrieval.pb.h"
#include "model/model_info.h"
#include "server/error_details.h"

namespace dime {

// Checks of fields that several requests have. Each adds what is wrong to `violations`, under the
// field's path within the request. Functions without state.

using Violations = std::vector<FieldViolation>;

// `value` must be `low` to `high`.
void CheckRange(absl::string_view field, int64_t value, int64_t low, int64_t high,
                Violations& violations);
// A score, or a share of one: `value` must be a number, `low` to `high`.
void CheckRange(absl::string_view field, float value, float low, float high,
                Violations& violations);
// The same of a number of things: WRONG_COUNT.
void CheckCount(absl::string_view field, int64_t count, int64_t low, int64_t high,
                Violations& violations);

// A caption or a query: UTF-8 with more than white space.
void CheckText(absl::string_view field, const std::string& text, int max_characters,
               Violations& violations);

// An id that an item is to have, or that names one.
inline constexpr int64_t kMaxIdBytes = 512;
void CheckId(absl::string_view field, const std::string& id, Violations& violations);

// The values of region features, (R, D) as the model has them; whatever the message holds if they
// are wrong.
std::vector<float> ConvertFeatures(absl::string_view field, const v1::RegionFeatures& features,
                                   const ModelInfo& model, Violations& violations);

}  // namespace dime

#endif  // DIME_SERVER_FIELD_CHECKS_H_
