#include "index/shape.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace dime {

std::string ShapeString(absl::Span<const int64_t> shape) {
  return absl::StrCat("(", absl::StrJoin(shape, ", "), ")");
}

absl::StatusOr<int64_t> ShapeProduct(absl::Span<const int64_t> shape, int64_t unit) {
  int64_t product = unit;
  bool has_zero = false;
  for (const int64_t extent : shape) {
    if (extent < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("shape ", ShapeString(shape), " has a negative extent"));
    }
    if (extent == 0) {
      has_zero = true;
    } else if (__builtin_mul_overflow(product, extent, &product)) {
      return absl::InvalidArgumentError(
          absl::StrCat("shape ", ShapeString(shape), " is too large"));
    }
  }
  return has_zero ? 0 : product;
}

}  // namespace dime
