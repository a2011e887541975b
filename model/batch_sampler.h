#ifndef DIME_MODEL_BATCH_SAMPLER_H_
#define DIME_MODEL_BATCH_SAMPLER_H_

#include <cstdint>
#include <vector>

namespace dime {

// Chooses what each training step sees. An epoch shows every caption once: in each of its
// captions_per_image passes every image comes once, with a caption that it has not had in this
// epoch, so that no image is in a batch twice. Images may be drawn in groups of neighbours (near
// duplicates stand side by side in some data sets and make the hardest negatives). Everything
// follows from the seed and the step's number, so that training resumes exactly.
// Not thread-safe.
class BatchSampler {
 public:
  struct Options {
    int64_t num_images = 0;
    int captions_per_image = 5;
    int batch_size = 32;         // B, a multiple of group_size
    int group_size = 1;          // images k*g .. k*g+g-1 are drawn together
    int64_t extra_captions = 0;  // negatives only, drawn over all captions
    int64_t extra_images = 0;    // negatives only, drawn over all images
    uint64_t seed = 0;
  };
  // The first batch_size images and captions belong together; extra ones follow.
  struct Batch {
    std::vector<int64_t> images;
    std::vector<int64_t> captions;
  };

  // num_images must be at least batch_size.
  explicit BatchSampler(const Options& options);

  // Whole batches only: what is left over at the end of a pass is dropped.
  int64_t steps_per_epoch() const { return steps_per_pass_ * options_.captions_per_image; }
  // `step` counts from 0 through all epochs.
  Batch Sample(int64_t step);

 private:
  void PreparePass(int64_t pass);

  const Options options_;
  const int64_t steps_per_pass_;
  int64_t prepared_pass_ = -1;
  std::vector<int64_t> groups_;  // of the prepared pass, shuffled
};

}  // namespace dime

#endif  // DIME_MODEL_BATCH_SAMPLER_H_
