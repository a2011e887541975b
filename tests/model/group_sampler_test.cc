#include "model/group_sampler.h"

#include <algorithm>
#include <set>

#include "gtest/gtest.h"

namespace dime {
namespace {

// Six images in twins, two captions each. True of the twin as well: both captions of image 2,
// and the first of image 4.
std::vector<std::vector<int64_t>> SomePositives() {
  std::vector<std::vector<int64_t>> positives(12);
  for (int64_t caption = 0; caption < 12; ++caption) positives[caption] = {caption / 2};
  positives[4] = {2, 3};
  positives[5] = {2, 3};
  positives[8] = {0, 4, 5};
  return positives;
}

GroupSampler::Options SmallGroups() {
  return {.num_images = 6, .captions_per_image = 2, .group_size = 2, .num_groups = 2, .seed = 5};
}

TEST(GroupSamplerTest, DrawsOnlyCaptionsThatTellTheirImageFromItsGroup) {
  GroupSampler sampler(SmallGroups(), SomePositives());
  EXPECT_EQ(sampler.num_groups(), 2);  // image 2 has no caption that tells it from image 3
  std::set<int64_t> seen;
  for (int64_t step = 0; step < 50; ++step) {
    const BatchSampler::Batch batch = sampler.Sample(step);
    ASSERT_EQ(batch.images.size(), 4u);
    ASSERT_EQ(batch.captions.size(), 4u);
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(batch.captions[i] / 2, batch.images[i]);
      if (i % 2 == 1) {
        EXPECT_EQ(batch.images[i], batch.images[i - 1] + 1);
      }
    }
    seen.insert(batch.captions.begin(), batch.captions.end());
  }
  EXPECT_EQ(seen, (std::set<int64_t>{0, 1, 2, 3, 9, 10, 11}));
}

TEST(GroupSamplerTest, WithoutPositivesEveryCaptionTells) {
  GroupSampler sampler(SmallGroups(), {});
  EXPECT_EQ(sampler.num_groups(), 3);
}

TEST(GroupSamplerTest, AnEpochShowsAGroupOnce) {
  GroupSampler::Options options = SmallGroups();
  options.num_groups = 1;
  GroupSampler sampler(options, {});
  for (int64_t epoch = 0; epoch < 4; ++epoch) {
    std::set<int64_t> images;
    for (int64_t step = 0; step < 3; ++step) {
      for (int64_t image : sampler.Sample(3 * epoch + step).images) images.insert(image);
    }
    EXPECT_EQ(images.size(), 6u);
  }
}

TEST(GroupSamplerTest, AStepIsTheSameWhateverWasDrawnBefore) {
  GroupSampler one(SmallGroups(), SomePositives());
  GroupSampler other(SmallGroups(), SomePositives());
  for (int64_t step = 0; step < 7; ++step) one.Sample(step);
  EXPECT_EQ(one.Sample(3).captions, other.Sample(3).captions);
  EXPECT_NE(one.Sample(3).captions, one.Sample(4).captions);
}

}  // namespace
}  // namespace dime
