#include "client/float16_features.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "index/float_bits.h"

namespace dime {

absl::Status RoundToFloat16(v1::RegionFeatures& features) {
  std::vector<float> widened;
  absl::Span<const float> values(features.values().data(),
                                 static_cast<size_t>(features.values_size()));
  if (const std::string& bytes = features.float32(); !bytes.empty()) {
    if (!values.empty() || bytes.size() % sizeof(float) != 0) return absl::OkStatus();
    widened.resize(bytes.size() / sizeof(float));
    std::memcpy(widened.data(), bytes.data(), bytes.size());
    values = widened;
  }
  // Features that are float16 already stay as they are, and so do none.
  if (values.empty() || !features.float16().empty()) return absl::OkStatus();
  std::string rounded(values.size() * sizeof(uint16_t), '\0');
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = FloatToFloat16(values[i]);
    if (std::isfinite(values[i]) && !std::isfinite(Float16ToFloat(bits))) {
      return absl::InvalidArgumentError(absl::StrCat("features: value ", i, " is ", values[i],
                                                     ", and float16 ends at 65504; send float32"));
    }
    std::memcpy(rounded.data() + i * sizeof(bits), &bits, sizeof(bits));
  }
  features.clear_values();
  features.clear_float32();
  features.set_float16(std::move(rounded));
  return absl::OkStatus();
}

}  // namespace dime
