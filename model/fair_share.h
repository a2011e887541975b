#ifndef DIME_MODEL_FAIR_SHARE_H_
#define DIME_MODEL_FAIR_SHARE_H_

#include <cstdint>
#include <vector>

namespace dime {

// Of a queue whose members take turns: how much work is done until a newcomer of size `own` is,
// when the others have `left`: each of them gets its turns as long as the newcomer does, so at most
// as much as that. The newcomer's own work is part of it.
int64_t WorkUntilDone(const std::vector<int64_t>& left, int64_t own);

// The largest newcomer for which that is at most `work`; 0 if there is none.
int64_t LargestDoneWithin(std::vector<int64_t> left, double work);

}  // namespace dime

#endif  // DIME_MODEL_FAIR_SHARE_H_
