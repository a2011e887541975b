#include "model/fair_share.h"

#include <algorithm>
#include <cstddef>

namespace dime {

int64_t WorkUntilDone(const std::vector<int64_t>& left, int64_t own) {
  int64_t work = own;
  for (const int64_t other : left) work += std::min(other, own);
  return work;
}

int64_t LargestDoneWithin(std::vector<int64_t> left, double work) {
  // With the others in order of size, those before the newcomer's cost what they have, those behind
  // it as much as it has itself.
  std::sort(left.begin(), left.end());
  double smaller = 0;
  for (size_t i = 0; i <= left.size(); ++i) {
    const double sharers = static_cast<double>(left.size() - i) + 1;
    const double own = (work - smaller) / sharers;
    if (i == left.size() || own <= static_cast<double>(left[i])) {
      return std::max<int64_t>(0, static_cast<int64_t>(own));
    }
    smaller += static_cast<double>(left[i]);
  }
  return 0;
}

}  // namespace dime
