#ifndef DIME_MODEL_FAIR_SHARE_H_
#define DIME_MODEL_FAIR_SHARE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace dime {

// Of a queue whose members take turns: how much work is done until a newcomer of size `own` is,
// when the others have `left`: each of them gets its turns as long as the newcomer does, so at most
// as much as that. The newcomer's own work is part of it.
int64_t WorkUntilDone(const std::vector<int64_t>& left, int64_t own);

// The largest newcomer for which that is at most `work`; 0 if there is none.
int64_t LargestDoneWithin(std::vector<int64_t> left, double work);

// The most that one client may have of something bounded, when `others` more clients have some of
// it: an equal share of three quarters, so that there is always room for one who comes anew.
inline double ShareOf(double capacity, size_t others) {
  return 0.75 * capacity / (1 + static_cast<double>(others));
}

}  // namespace dime

#endif  // DIME_MODEL_FAIR_SHARE_H_
