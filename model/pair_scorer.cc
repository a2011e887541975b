#include "model/pair_scorer.h"

#include <vector>

namespace dime {

std::vector<float> PairScores::Combined() const {
  const std::vector<float>& i2t = scores[static_cast<int>(Direction::kI2t)];
  const std::vector<float>& t2i = scores[static_cast<int>(Direction::kT2i)];
  if (t2i.empty()) return i2t;
  if (i2t.empty()) return t2i;
  std::vector<float> mean(i2t.size());
  for (size_t k = 0; k < mean.size(); ++k) mean[k] = (i2t[k] + t2i[k]) / 2;
  return mean;
}

}  // namespace dime
