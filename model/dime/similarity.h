#ifndef DIME_MODEL_DIME_SIMILARITY_H_
#define DIME_MODEL_DIME_SIMILARITY_H_

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/precomputed_dataset.h"
#include "model/dime/direction_model.h"
#include "model/dime/network.h"
#include "model/kernel_scorer.h"

namespace dime {

// One split, encoded by one direction; on the model's device.
struct EncodedSplit {
  torch::Tensor regions;             // (N, R, E)
  torch::Tensor image;               // (N, E)
  torch::Tensor words;               // (T, L, E)
  torch::Tensor sentence;            // (T, E)
  torch::Tensor word_mask;           // (T, L) bool, true where valid
  std::vector<int64_t> first_equal;  // (T): the first caption of the same text, often itself
};

// Called with the number of further items or pairs done.
using ProgressCallback = std::function<void(int64_t)>;

// Encodes all images and captions of a split, `max_images` images and their captions at most.
// `backbone` is in evaluation mode. Advances by one for each image and each caption.
absl::StatusOr<EncodedSplit> EncodeSplit(DirectionModelImpl& model, const TextBackbone& backbone,
                                         int max_words, torch::Device device,
                                         const PrecomputedDataset& dataset,
                                         std::optional<int64_t> max_images,
                                         const ProgressCallback& progress);

// Scores of some images against some captions, by their rows: (images, captions) float32 on the
// CPU, computed block by block so that memory beyond the result stays small. Captions of equal text
// get equal scores to the bit, so that ties are ties and not settled by rounding. Advances by the
// pairs of each block.
torch::Tensor Similarity(DirectionModelImpl& model, const EncodedSplit& split,
                         absl::Span<const int64_t> images, absl::Span<const int64_t> captions,
                         const ProgressCallback& progress);
// The same by the kernels; the split must be on the CPU.
torch::Tensor Similarity(const KernelScorer& scorer, Direction direction, const EncodedSplit& split,
                         absl::Span<const int64_t> images, absl::Span<const int64_t> captions,
                         const ProgressCallback& progress);
// Of images [first_image, +images) against captions [first_caption, +captions).
torch::Tensor Similarity(DirectionModelImpl& model, const EncodedSplit& split, int64_t first_image,
                         int64_t images, int64_t first_caption, int64_t captions,
                         const ProgressCallback& progress);

// The rows [first, first + count).
std::vector<int64_t> RowRange(int64_t first, int64_t count);

// For each caption, given by its row, the place in the list of the first one of the same text: its
// own place where there is none before it.
std::vector<int64_t> FirstOfText(absl::Span<const int64_t> first_equal,
                                 absl::Span<const int64_t> captions);
// For each of a split's captions, the row of the first one of the same text.
std::vector<int64_t> FirstEqual(absl::Span<const std::string> captions);

}  // namespace dime

#endif  // DIME_MODEL_DIME_SIMILARITY_H_
