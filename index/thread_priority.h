#ifndef DIME_INDEX_THREAD_PRIORITY_H_
#define DIME_INDEX_THREAD_PRIORITY_H_

namespace dime {

// Gives the calling thread, and threads that it starts from then on, the lowest priority: it runs
// where nobody else wants the processor. It should hold no lock that others wait for.
void TakeLowestPriority();

}  // namespace dime

#endif  // DIME_INDEX_THREAD_PRIORITY_H_
