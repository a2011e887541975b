#ifndef DIME_MODEL_DIME_BERT_STATE_CACHE_H_
#define DIME_MODEL_DIME_BERT_STATE_CACHE_H_

#include <torch/torch.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "index/precomputed_dataset.h"
#include "model/dime/network.h"

namespace dime {

// SHA-256 over the weights and the vocabulary of a BERT directory.
absl::StatusOr<std::string> BertFingerprint(const std::string& directory);

// The frozen BERT's states of a split's captions, for training. They are computed once and kept as
// float16, in memory or in a file that further runs over the same captions take them from; or,
// where that is not wanted or there is no room, computed anew each time. Not thread-safe. The
// backbone must outlive it.
class BertStateCache {
 public:
  struct Options {
    std::string bert;  // the backbone's directory
    std::string data;  // precomputed layout
    std::string split;
    int max_words = 32;
    bool keep = true;  // false for states that differ each time, as with dropout
    int64_t max_bytes = int64_t{4} << 30;  // larger ones are not kept
    // Start of the file's name; what the states are of follows. Empty: in memory.
    std::string file;
    std::string part_tag;  // tells the unfinished file from that of a run beside this one
  };

  // `captions`: those of the split. `stop`, looked at while states are computed, may be null:
  // CANCELLED. INVALID_ARGUMENT if a file is asked for and the states are not to be kept.
  static absl::StatusOr<std::unique_ptr<BertStateCache>> Create(
      const TextBackbone& backbone, torch::Device device, const std::vector<std::string>& captions,
      const Options& options, const std::atomic<bool>* stop);

  int64_t num_captions() const { return token_ids_.size(0); }
  // X (B, L, H) float32 of these captions and their `lengths` (B) int64, on the device.
  torch::Tensor States(const std::vector<int64_t>& captions, torch::Tensor* lengths) const;

 private:
  BertStateCache(const TextBackbone& backbone, torch::Device device)
      : backbone_(backbone), device_(device) {}

  absl::Status Keep(const Options& options, const std::atomic<bool>* stop);
  absl::Status Fill(const std::atomic<bool>* stop);

  const TextBackbone& backbone_;
  const torch::Device device_;
  torch::Tensor token_ids_, token_lengths_;  // (T, L), (T), int64
  torch::Tensor states_;                     // (T, L, H) float16; undefined if not kept
};

}  // namespace dime

#endif  // DIME_MODEL_DIME_BERT_STATE_CACHE_H_
