#include "model/batch_sampler.h"

#include <algorithm>
#include <set>

#include "gtest/gtest.h"

namespace dime {
namespace {

BatchSampler::Options SmallOptions() {
  return {.num_images = 12, .captions_per_image = 5, .batch_size = 4, .group_size = 2, .seed = 3};
}

TEST(BatchSamplerTest, AnEpochShowsEveryCaptionOnce) {
  BatchSampler sampler(SmallOptions());
  ASSERT_EQ(sampler.steps_per_epoch(), 15);
  std::multiset<int64_t> captions;
  for (int64_t step = 15; step < 30; ++step) {
    const BatchSampler::Batch batch = sampler.Sample(step);
    captions.insert(batch.captions.begin(), batch.captions.end());
  }
  EXPECT_EQ(captions.size(), 60u);
  EXPECT_EQ(std::set<int64_t>(captions.begin(), captions.end()).size(), 60u);
}

TEST(BatchSamplerTest, CaptionsBelongToTheirImagesAndGroupsStayTogether) {
  BatchSampler sampler(SmallOptions());
  for (int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
    const BatchSampler::Batch batch = sampler.Sample(step);
    ASSERT_EQ(batch.images.size(), 4u);
    EXPECT_EQ(std::set<int64_t>(batch.images.begin(), batch.images.end()).size(), 4u);
    for (size_t i = 0; i < batch.images.size(); ++i) {
      EXPECT_EQ(batch.captions[i] / 5, batch.images[i]);
      if (i % 2 == 1) {
        EXPECT_EQ(batch.images[i], batch.images[i - 1] + 1);
      }
    }
  }
}

TEST(BatchSamplerTest, ExtraItemsFollowThePairs) {
  BatchSampler::Options options = SmallOptions();
  options.extra_captions = 7;
  options.extra_images = 3;
  BatchSampler sampler(options);
  const BatchSampler::Batch batch = sampler.Sample(0);
  EXPECT_EQ(batch.captions.size(), 11u);
  EXPECT_EQ(batch.images.size(), 7u);
}

TEST(BatchSamplerTest, AStepIsTheSameWhateverCameBefore) {
  BatchSampler one(SmallOptions()), other(SmallOptions());
  for (int64_t step = 0; step < 20; ++step) one.Sample(step);
  const BatchSampler::Batch expected = one.Sample(20), resumed = other.Sample(20);
  EXPECT_EQ(expected.images, resumed.images);
  EXPECT_EQ(expected.captions, resumed.captions);
}

TEST(BatchSamplerTest, EpochsAndSeedsDiffer) {
  BatchSampler::Options options = SmallOptions();
  BatchSampler sampler(options);
  options.seed = 4;
  BatchSampler other(options);
  EXPECT_NE(sampler.Sample(0).images, sampler.Sample(sampler.steps_per_epoch()).images);
  EXPECT_NE(sampler.Sample(0).images, other.Sample(0).images);
}

}  // namespace
}  // namespace dime
