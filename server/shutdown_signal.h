#ifndef DIME_SERVER_SHUTDOWN_SIGNAL_H_
#define DIME_SERVER_SHUTDOWN_SIGNAL_H_

#include "absl/status/status.h"

namespace dime {

// Waits for the signals by which a server is asked to stop, SIGTERM and SIGINT. The first one is
// only noted, so that the server can drain; after it both have their default action again, so that
// a second one ends the process at once.
// Signals belong to the process, hence functions rather than an object.

// Installs the handlers; to be called once, after what may be interrupted freely, such as loading.
// INTERNAL if the system refuses.
absl::Status InstallShutdownSignal();

// Blocks until one of the signals comes (or has come since the installation); gives its number.
int AwaitShutdownSignal();

}  // namespace dime

#endif  // DIME_SERVER_SHUTDOWN_SIGNAL_H_
