#ifndef DIME_MODEL_DIME_MODULES_MODEL_H_
#define DIME_MODEL_DIME_MODULES_MODEL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/cuda/cuda_scorer.h"
#include "model/dime/network.h"
#include "model/dime_model.h"
#include "model/kernel_scorer.h"
#include "model/thread_team.h"

namespace dime {

// A DimeModel that computes with the modules themselves, batch by batch; but pairs are scored, and
// BERT's layers computed, by the kernels where Load() was asked for them. All of encoding then runs
// on the kernels' threads, none of it on LibTorch's. LibTorch's exceptions end here. Thread-safe.
class ModulesModel : public DimeModel,
                     private CaptionEncoder,
                     private ImageEncoder,
                     private PairScorer,
                     private PairExplainer {
 public:
  // As DimeModel::Load, for those who also want the modules.
  static absl::StatusOr<std::unique_ptr<ModulesModel>> Load(const std::string& directory,
                                                            const Options& options);
  // `name`: what ModelInfo says of it.
  ModulesModel(std::unique_ptr<Network> network, std::string name, RankingSettings ranking);

  const ModelInfo& info() const override { return info_; }
  const CaptionEncoder& caption_encoder() const override { return *this; }
  const ImageEncoder& image_encoder() const override { return *this; }
  const PairScorer& pair_scorer() const override {
    if (kernel_scorer_ != nullptr) return *kernel_scorer_;
    if (cuda_scorer_ != nullptr) return *cuda_scorer_;
    return *this;
  }
  // The yardstick, whatever serves.
  const PairScorer& modules_scorer() const { return *this; }
  // Null if the CPU's kernels do not score.
  const KernelScorer* kernel_scorer() const { return kernel_scorer_.get(); }
  const PairExplainer& pair_explainer() const override { return *this; }
  const Network& network() const { return *network_; }

 private:
  absl::StatusOr<EncodedItems> EncodeCaptions(
      absl::Span<const std::string> captions) const override;
  absl::StatusOr<bool> IsTruncated(const std::string& caption) const override;
  absl::StatusOr<EncodedItems> EncodeImages(int64_t count, int num_regions,
                                            absl::Span<const float> features) const override;
  absl::StatusOr<std::unique_ptr<FeatureBank>> MakeBank(
      const EncodedItemsView& features) const override;
  absl::StatusOr<std::unique_ptr<FeatureBank>> MakeSlabBank(const EncodedItemsView& shape,
                                                            int64_t capacity) const override;
  absl::StatusOr<std::vector<PairScores>> Score(
      absl::Span<const ScoringRequest> requests) const override;
  absl::StatusOr<PairExplanation> Explain(const EncodedItemsView& image,
                                          const EncodedItemsView& caption,
                                          ScoreMode mode) const override;
  absl::StatusOr<std::vector<std::string>> Words(const std::string& caption) const override;

  // Of the tokenizer whose lengths the encoded captions have, should the directions differ in it.
  const WordPieceTokenizer& tokenizer() const;
  absl::Status CheckRequest(const ScoringRequest& request) const;
  absl::Status CheckItem(const EncodedItemsView& item, Modality modality, ScoreMode mode) const;
  void ScoreDirection(absl::Span<const ScoringRequest> requests, Direction direction,
                      absl::Span<PairScores> results) const;

  // What is made of items [first, first + count) of a pass.
  using ItemsTask = std::function<void(int64_t first, int64_t count)>;
  // Each task for all of a pass's items; with a team for so many together, side by side, each in
  // one thread.
  void ForItems(int64_t items, int64_t together, const std::vector<ItemsTask>& tasks) const;
  // Room for the features of `items`, whose sizes are set.
  void Allocate(EncodedItems& items) const;
  // Has the kernels of these instructions score pairs and encode captions from now on, on so many
  // threads.
  void UseKernels(kernels::Instructions instructions, int threads);
  // The same of the CUDA device's.
  absl::Status UseCudaKernels(const torch::Device& device);

  const std::unique_ptr<Network> network_;
  ModelInfo info_;
  std::shared_ptr<ThreadTeam> team_;  // of the CPU's kernels, and of the heads beside them
  // The modules score where both are null.
  std::unique_ptr<const KernelScorer> kernel_scorer_;
  std::unique_ptr<const CudaScorer> cuda_scorer_;
};

}  // namespace dime

#endif  // DIME_MODEL_DIME_MODULES_MODEL_H_
