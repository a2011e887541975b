#ifndef DIME_INDEX_THREAD_PRIORITY_H_
#define DIME_INDEX_THREAD_PRIORITY_H_

#include <optional>
#include <thread>
#include <utility>

namespace dime {

// Give the calling thread, and threads that it starts from then on, a lower priority for good.
// Low: it gets about a tenth of the processor where threads of ordinary priority want it too, so
// that what it does gets done; locks that others wait for should be held briefly.
void TakeLowPriority();
// Lowest: it runs where nobody else wants the processor. It should hold no lock that others wait
// for.
void TakeLowestPriority();

// Runs `work` on such a thread to its end; what starts threads there has them at this priority too.
// Gives what it gives.
template <typename Work>
auto RunAtLowestPriority(const Work& work) {
  std::optional<decltype(work())> result;
  std::thread([&] {
    TakeLowestPriority();
    result.emplace(work());
  }).join();
  return *std::move(result);
}

}  // namespace dime

#endif  // DIME_INDEX_THREAD_PRIORITY_H_
