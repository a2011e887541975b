#include "model/dime/mixed_precision.h"

#include <ATen/autocast_mode.h>

namespace dime {

MixedPrecision::MixedPrecision(torch::DeviceType device)
    : device_(device),
      was_on_(IsOn(device)),
      dtype_before_(at::autocast::get_autocast_dtype(device)) {
  at::autocast::set_autocast_enabled(device, true);
  at::autocast::set_autocast_dtype(device, torch::kBFloat16);
}

MixedPrecision::~MixedPrecision() {
  at::autocast::set_autocast_enabled(device_, was_on_);
  at::autocast::set_autocast_dtype(device_, dtype_before_);
  // Parameters' casts, which the next step's would be mistaken for.
  at::autocast::clear_cache();
}

bool MixedPrecision::IsOn(torch::DeviceType device) {
  return at::autocast::is_autocast_enabled(device);
}

}  // namespace dime
