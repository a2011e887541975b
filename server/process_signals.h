#ifndef DIME_SERVER_PROCESS_SIGNALS_H_
#define DIME_SERVER_PROCESS_SIGNALS_H_

#include "absl/status/status.h"

namespace dime {

// Waits for the signals by which a server is told something: SIGTERM and SIGINT to stop, SIGHUP to
// load its model and gallery anew. Of the first two the first one is only noted, so that the server
// can drain; after it both have their default action again, so that a second one ends the process
// at once.
// Signals belong to the process, hence functions rather than an object.

// Installs the handlers; to be called once, after what may be interrupted freely, such as loading.
// INTERNAL if the system refuses.
absl::Status InstallSignals();

// Blocks until one of the signals comes (or has come since the installation, in their order); gives
// its number.
int AwaitSignal();

}  // namespace dime

#endif  // DIME_SERVER_PROCESS_SIGNALS_H_
