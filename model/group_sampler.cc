#include "model/group_sampler.h"

#include <algorithm>
#include <numeric>

#include "model/random_stream.h"

namespace dime {
namespace {

enum Purpose : uint64_t { kOrder = 11, kCaption = 12 };

}  // namespace

GroupSampler::GroupSampler(const Options& options,
                           const std::vector<std::vector<int64_t>>& positives)
    : options_(options) {
  for (int64_t first = 0; first + options_.group_size <= options_.num_images;
       first += options_.group_size) {
    std::vector<Member> group;
    for (int64_t image = first; image < first + options_.group_size; ++image) {
      Member member{.image = image, .captions = {}};
      for (int k = 0; k < options_.captions_per_image; ++k) {
        const int64_t caption = image * options_.captions_per_image + k;
        bool tells = positives.empty();
        for (int64_t mate = first; mate < first + options_.group_size && !tells; ++mate) {
          tells = mate != image &&
                  !std::binary_search(positives[caption].begin(), positives[caption].end(), mate);
        }
        if (tells) member.captions.push_back(caption);
      }
      if (!member.captions.empty()) group.push_back(std::move(member));
    }
    if (static_cast<int>(group.size()) == options_.group_size) groups_.push_back(std::move(group));
  }
}

BatchSampler::Batch GroupSampler::Sample(int64_t step) {
  const int64_t per_epoch = num_groups() / options_.num_groups;  // whole batches only
  const int64_t epoch = step / per_epoch;
  if (epoch != prepared_epoch_) {
    order_.resize(groups_.size());
    std::iota(order_.begin(), order_.end(), 0);
    std::mt19937_64 stream = MakeStream(options_.seed, kOrder, epoch);
    Shuffle(order_, stream);
    prepared_epoch_ = epoch;
  }
  std::mt19937_64 stream = MakeStream(options_.seed, kCaption, step);
  BatchSampler::Batch batch;
  const int64_t first = (step % per_epoch) * options_.num_groups;
  for (int64_t g = first; g < first + options_.num_groups; ++g) {
    for (const Member& member : groups_[order_[g]]) {
      batch.images.push_back(member.image);
      batch.captions.push_back(
          member.captions[Below(stream, static_cast<int64_t>(member.captions.size()))]);
    }
  }
  return batch;
}

}  // namespace dime
