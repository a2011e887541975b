#ifndef DIME_MODEL_DIME_COARSE_TEACHER_H_
#define DIME_MODEL_DIME_COARSE_TEACHER_H_

#include <torch/torch.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "index/precomputed_dataset.h"
#include "model/dime/bert_state_cache.h"
#include "model/dime/network.h"
#include "model/dime/similarity.h"
#include "model/kernel_scorer.h"

namespace dime {

// Rows of a split's region features, (B, R, D), on the device.
absl::StatusOr<torch::Tensor> ReadImages(const PrecomputedDataset& dataset,
                                         const std::vector<int64_t>& images, torch::Device device);

// What the coarse heads are taught to imitate: the rerank scores of a model, the mean of its
// directions, for all pairs of some images and some captions of one split.
// By the kernels where `scorer` (see DimeModel::Options) finds them, which makes it an order of
// magnitude cheaper.
// Not thread-safe. Network, split and states must outlive it.
class CoarseTeacher {
 public:
  // `states`: of the split's captions, by the backbone that the coarse heads take. Directions with
  // another backbone have theirs computed anew each time.
  static absl::StatusOr<std::unique_ptr<CoarseTeacher>> Create(const Network& network,
                                                               const std::string& backbone,
                                                               const PrecomputedDataset& dataset,
                                                               const BertStateCache& states,
                                                               const std::string& scorer);

  // (images, captions) float32 on the CPU. Advances by the pairs of each block that is scored, of
  // which there are images * captions * num_directions() in all.
  absl::StatusOr<torch::Tensor> Score(const std::vector<int64_t>& images,
                                      const std::vector<int64_t>& captions,
                                      const ProgressCallback& progress) const;
  int num_directions() const { return static_cast<int>(directions_.size()); }

 private:
  CoarseTeacher(const Network& network, const PrecomputedDataset& dataset)
      : network_(network), dataset_(dataset) {}

  const Network& network_;
  const PrecomputedDataset& dataset_;
  std::unique_ptr<const KernelScorer> kernels_;  // null: the modules score
  std::vector<Direction> directions_;
  std::map<std::string, const BertStateCache*> states_;  // by backbone
  std::vector<std::unique_ptr<BertStateCache>> own_states_;
};

}  // namespace dime

#endif  // DIME_MODEL_DIME_COARSE_TEACHER_H_
