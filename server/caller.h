#ifndef DIME_SERVER_CALLER_H_
#define DIME_SERVER_CALLER_H_

#include <string>

#include "absl/time/time.h"
#include "model/call_context.h"

namespace dime {

// Whose call it is, by when it must be answered, and how urgent it is: what queues go by.
struct Caller {
  // Tells clients apart, so that each gets its share: its address without the port.
  std::string client;
  absl::Time deadline = absl::InfiniteFuture();
  Priority priority = Priority::kInteractive;
};

// The most that one client may have of something bounded, when `others` more clients have some of
// it: an equal share of three quarters, so that there is always room for one who comes anew.
inline double ShareOf(double capacity, size_t others) {
  return 0.75 * capacity / (1 + static_cast<double>(others));
}

}  // namespace dime

#endif  // DIME_SERVER_CALLER_H_
