#ifndef DIME_MODEL_DIME_TRAINER_H_
#define DIME_MODEL_DIME_TRAINER_H_

#include <torch/torch.h>

#include <atomic>
#include <cstdint>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "index/precomputed_dataset.h"
#include "model/batch_sampler.h"
#include "model/dime/bert_state_cache.h"
#include "model/dime/direction_model.h"
#include "model/dime/network.h"
#include "model/dime/positives.h"
#include "model/dime/training_step.h"
#include "model/group_sampler.h"
#include "model/retrieval_metrics.h"

namespace dime {

// Trains one direction of DIME over a frozen BERT (dime-model.md, 6), on one device. The best model
// by validation is kept in `out`, a model directory; a second run with the other direction and the
// same BERT adds to it. Beside it, out/training/<direction>/ holds steps.csv, validation.csv and
// state.pt, from which a stopped run resumes exactly.
// Not thread-safe; seeds LibTorch's global random generator.
class Trainer {
 public:
  struct Options {
    std::string out;   // model directory to make or to add to
    std::string data;  // precomputed layout
    std::string train_split = "train";
    std::string validation_split = "dev";
    std::string bert;           // HuggingFace directory
    std::string initial_model;  // model directory whose weights are the start; empty: none
    bool link_bert = false;     // a symbolic link in `out` in place of a copy
    std::string device = "auto";
    bool resume = false;  // go on from state.pt
    Direction direction = Direction::kI2t;
    DirectionConfig model;  // feature_dim is the data's
    int max_words = 32;
    BatchSampler::Options batches;  // num_images, captions_per_image are the data's
    int64_t epochs = 30;
    int64_t max_steps = 0;  // stop there; 0 = by epochs alone
    double learning_rate = 2e-4;
    double learning_rate_epochs = 15;  // x0.1 every so many epochs
    int64_t warmup_steps = 0;          // learning rate grows linearly over these
    double gradient_clip = 2;          // largest norm; 0 = off
    LossOptions loss;
    int64_t contrastive_steps = 0;  // the first ordinary steps use the contrastive loss
    // bfloat16 where products allow it (MixedPrecision), else float32 throughout; unset: on CUDA
    // devices alone.
    std::optional<bool> mixed_precision;
    bool bert_dropout = true;                      // BERT's dropout stays active, as published
    int64_t state_cache_bytes = int64_t{4} << 30;  // without dropout, BERT's states of all captions
                                                   // are kept (float16) if they fit
    std::string state_cache;  // file for those states, for other runs too; empty: in memory
    // After each ordinary step so many steps within groups (see GroupSampler; a group is
    // batches.group_size): a caption against the images of its group alone, so that a pass takes
    // many more of them. Batch normalisation keeps its running statistics there, which are of
    // ordinary batches, where most pairs are false.
    int64_t group_steps = 0;
    int64_t group_batch_size = 192;  // images of such a step
    int64_t alignment_steps = 0;  // the first so many train the encoders alone, see training_step.h
    int64_t alignment_batch_size = 128;
    std::string positives;  // JSON: for each caption, the images that it is true of
    int64_t validation_steps = 2000;
    int64_t validation_images = 0;  // the first so many; 0 = all
  };

  // `stop`, looked at after every step, ends training early with the state saved; may be null.
  static absl::StatusOr<std::unique_ptr<Trainer>> Create(const Options& options,
                                                         const std::atomic<bool>* stop);

  // Trains to the end, or to a stop. CANCELLED after a stop: run again with `resume`.
  absl::Status Run();

 private:
  Trainer(Options options, const std::atomic<bool>* stop)
      : options_(std::move(options)), stop_(stop) {}

  absl::Status Prepare();
  absl::Status PrepareOutput();
  absl::Status PrepareSamplers();
  absl::StatusOr<std::unique_ptr<GroupSampler>> MakeGroupSampler(int64_t batch_size,
                                                                 uint64_t seed) const;
  absl::Status LoadInitialModel();
  // `group_size` 0: an ordinary step's batch.
  absl::StatusOr<TrainingBatch> MakeBatch(const BatchSampler::Batch& batch, int64_t group_size);
  torch::Tensor NotNegative(const BatchSampler::Batch& batch) const;
  bool IsTrueOf(int64_t caption, int64_t image) const;
  // Whether step `step` is one within groups.
  bool IsGroupStep(int64_t step) const {
    return step >= options_.alignment_steps &&
           (step - options_.alignment_steps) % (options_.group_steps + 1) != 0;
  }
  double Epoch(int64_t step) const;
  double LearningRate(int64_t step) const;
  absl::Status Step();
  absl::Status Validate();
  absl::Status SaveModel();
  absl::Status SaveState();
  absl::Status LoadState();
  // What must be the same for a state to be resumed, as text.
  std::string OptionsKey() const;

  const Options options_;
  const std::atomic<bool>* const stop_;
  torch::Device device_ = torch::kCPU;
  bool mixed_precision_ = false;
  std::string directory_;  // out/training/<direction>
  ModelConfig config_;     // of `out`, with this direction in it
  std::unique_ptr<PrecomputedDataset> train_, validation_;
  TextBackbone backbone_;
  std::shared_ptr<DirectionModelImpl> model_;
  std::unique_ptr<torch::optim::Adam> optimizer_;
  std::unique_ptr<BatchSampler> sampler_;
  std::unique_ptr<BatchSampler> alignment_sampler_;  // null without alignment steps, or with groups
  std::unique_ptr<GroupSampler> alignment_group_sampler_;  // null without alignment or groups
  std::unique_ptr<GroupSampler> group_sampler_;            // null without steps within groups
  Positives positives_;                                    // of the training captions; may be empty
  std::unique_ptr<BertStateCache> states_;                 // of the training captions
  std::ofstream steps_csv_, validation_csv_;
  int64_t step_ = 0, total_steps_ = 0;
  double best_ = -1;          // selection score of the model in `out`
  double running_loss_ = 0;   // of ordinary steps, smoothed, for the progress bar
  double running_found_ = 0;  // share of captions told from their group, smoothed
  RetrievalMetrics last_validation_;
};

}  // namespace dime

#endif  // DIME_MODEL_DIME_TRAINER_H_
