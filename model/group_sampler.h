#ifndef DIME_MODEL_GROUP_SAMPLER_H_
#define DIME_MODEL_GROUP_SAMPLER_H_

#include <cstdint>
#include <vector>

#include "model/batch_sampler.h"

namespace dime {

// Chooses what steps within groups see: groups of neighbouring images (near duplicates), each image
// with a caption that tells it from another of its group. Captions that are true of the whole group
// would teach nothing there and are left out, and so are groups with an image that has no other.
// An epoch shows each remaining group once; everything follows from the seed and the step's number.
// Not thread-safe.
class GroupSampler {
 public:
  struct Options {
    int64_t num_images = 0;
    int captions_per_image = 5;
    int group_size = 2;   // images k*g .. k*g+g-1 belong together; at least 2
    int num_groups = 32;  // of a batch
    uint64_t seed = 0;
  };

  // `positives`: for each caption the sorted rows of the images that it is true of beside its own;
  // empty: every caption is taken to be true of its own image alone.
  GroupSampler(const Options& options, const std::vector<std::vector<int64_t>>& positives);

  // Groups that can be drawn.
  int64_t num_groups() const { return static_cast<int64_t>(groups_.size()); }
  // num_groups of the options, group by group, images and captions in pairs. `step` counts from 0;
  // num_groups() must be at least the options'.
  BatchSampler::Batch Sample(int64_t step);

 private:
  struct Member {
    int64_t image = 0;
    std::vector<int64_t> captions;  // those that tell it from another of its group
  };

  const Options options_;
  std::vector<std::vector<Member>> groups_;
  int64_t prepared_epoch_ = -1;
  std::vector<int64_t> order_;  // of groups_, in the prepared epoch
};

}  // namespace dime

#endif  // DIME_MODEL_GROUP_SAMPLER_H_
