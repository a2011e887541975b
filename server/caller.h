#ifndef DIME_SERVER_CALLER_H_
#define DIME_SERVER_CALLER_H_

#include <string>

#include "absl/time/time.h"
#include "model/call_context.h"

namespace dime {

// Whose call it is, by when it must be answered, and how urgent it is: what queues go by.
struct Caller {
  // Tells clients apart, so that each gets its share: by name where the server knows it,
  // else by address without the port.
  std::string client;
  absl::Time deadline = absl::InfiniteFuture();
  Priority priority = Priority::kInteractive;
};

}  // namespace dime

#endif  // DIME_SERVER_CALLER_H_
