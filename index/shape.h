#ifndef DIME_INDEX_SHAPE_H_
#define DIME_INDEX_SHAPE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace dime {

// The product of an array's extents times `unit` (1, or the bytes of an element). INVALID_ARGUMENT
// for a negative extent or if the product of the others overflows even where one is zero, so that
// products of some of the extents are safe as well.
absl::StatusOr<int64_t> ShapeProduct(absl::Span<const int64_t> shape, int64_t unit = 1);

// For messages: "(5, 36, 2048)".
std::string ShapeString(absl::Span<const int64_t> shape);

}  // namespace dime

#endif  // DIME_INDEX_SHAPE_H_
