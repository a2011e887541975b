#include "model/batch_sampler.h"

#include <algorithm>
#include <numeric>

#include "model/random_stream.h"

namespace dime {
namespace {

enum Purpose : uint64_t { kOrder = 1, kCaptionOrder = 2, kExtra = 3 };

}  // namespace

BatchSampler::BatchSampler(const Options& options)
    : options_(options),
      steps_per_pass_((options.num_images / options.group_size * options.group_size) /
                      options.batch_size) {}

void BatchSampler::PreparePass(int64_t pass) {
  if (pass == prepared_pass_) return;
  groups_.resize(options_.num_images / options_.group_size);
  std::iota(groups_.begin(), groups_.end(), 0);
  std::mt19937_64 stream = MakeStream(options_.seed, kOrder, pass);
  Shuffle(groups_, stream);
  prepared_pass_ = pass;
}

BatchSampler::Batch BatchSampler::Sample(int64_t step) {
  const int64_t pass = step / steps_per_pass_;
  PreparePass(pass);
  const int64_t epoch = pass / options_.captions_per_image;
  const int64_t pass_of_epoch = pass % options_.captions_per_image;
  Batch batch;
  const int64_t groups = options_.batch_size / options_.group_size;
  const int64_t first = (step % steps_per_pass_) * groups;
  for (int64_t g = first; g < first + groups; ++g) {
    for (int64_t k = 0; k < options_.group_size; ++k) {
      const int64_t image = groups_[g] * options_.group_size + k;
      // This image's order of captions in this epoch.
      std::vector<int64_t> order(options_.captions_per_image);
      std::iota(order.begin(), order.end(), 0);
      std::mt19937_64 stream =
          MakeStream(options_.seed, kCaptionOrder, epoch * options_.num_images + image);
      Shuffle(order, stream);
      batch.images.push_back(image);
      batch.captions.push_back(image * options_.captions_per_image + order[pass_of_epoch]);
    }
  }
  std::mt19937_64 stream = MakeStream(options_.seed, kExtra, step);
  for (int64_t i = 0; i < options_.extra_captions; ++i) {
    batch.captions.push_back(Below(stream, options_.num_images * options_.captions_per_image));
  }
  for (int64_t i = 0; i < options_.extra_images; ++i) {
    batch.images.push_back(Below(stream, options_.num_images));
  }
  return batch;
}

}  // namespace dime
