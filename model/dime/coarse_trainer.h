#ifndef DIME_MODEL_DIME_COARSE_TRAINER_H_
#define DIME_MODEL_DIME_COARSE_TRAINER_H_

#include <torch/torch.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "index/precomputed_dataset.h"
#include "model/batch_sampler.h"
#include "model/dime/bert_state_cache.h"
#include "model/dime/coarse_heads.h"
#include "model/dime/coarse_teacher.h"
#include "model/dime/network.h"
#include "model/dime/positives.h"

namespace dime {

// Trains the coarse heads of a finished model, whose other weights stay as they are, on one device.
// Two losses: a contrastive one over large batches of images with a caption each, and, from
// `teacher_start` on, distillation of the model's own rerank scores. For it, blocks of images and
// captions are mined with the heads of that moment, all pairs of a block are scored by the model
// once, and the heads learn the order within each row and column of a block.
// The heads that are best on the validation split go to `out`; steps.csv and validation.csv stand
// in training/coarse/ of the model directory. Equal options and data give equal heads on one
// machine. Not thread-safe; seeds LibTorch's global random generator.
class CoarseTrainer {
 public:
  struct Options {
    std::string model;  // model directory
    std::string data;   // precomputed layout
    std::string train_split = "train";
    std::string validation_split = "dev";
    std::string out;  // file; empty: coarse.safetensors in the model directory
    std::string device = "auto";
    std::string scorer = "auto";  // what scores for the teacher, see DimeModel::Options
    std::string state_cache;      // file for BERT's states, see BertStateCache
    int64_t state_cache_bytes = int64_t{8} << 30;
    std::string positives;    // JSON: for each caption, the images that it is true of
    CoarseHeadsConfig heads;  // feature_dim, bert_size and bert are the model's
    int64_t steps = 1200;
    int64_t batch_size = 512;  // images, with a caption each
    double learning_rate = 1e-3;
    double weight_decay = 0.01;
    int64_t warmup_steps = 50;
    double temperature = 0.05;         // of the contrastive loss at the start; then learned
    double distillation_weight = 1;    // 0: no teacher
    double teacher_start = 0.5;        // mine after this share of the steps
    double teacher_temperature = 0.5;  // in standard deviations of the scores of all mined pairs
    int64_t teacher_queries = 256;     // blocks: a caption and its image, around which is mined
    int64_t teacher_candidates = 48;   // images of a block, and captions
    int64_t blocks_per_step = 4;
    int64_t validation_steps = 200;
    int64_t validation_queries =
        100;  // of each kind, whose exhaustive top 10 the heads should find
    uint64_t seed = 0;
  };

  // What a validation finds of one search direction, in percent.
  struct Found {
    std::array<double, 4> own = {};      // of queries whose own item is in the first 1, 10, 50, 100
    std::array<double, 3> teacher = {};  // of the model's top 10 in the first 2%, 50, 100
  };
  struct Validation {
    Found image_to_text, text_to_image;
    bool with_teacher = false;
    // What the best heads are kept by.
    double selection() const;
  };

  // `stop`, looked at after every step, ends training early; may be null.
  static absl::StatusOr<std::unique_ptr<CoarseTrainer>> Create(const Options& options,
                                                               const std::atomic<bool>* stop);

  // Trains to the end. CANCELLED after a stop: the best heads so far, if there are any, are in
  // place.
  absl::Status Run();

  // Of the heads that were kept.
  const Validation& best() const { return best_; }
  // Where they are.
  const std::string& out() const { return out_; }

 private:
  // Images and captions of which the model has scored all pairs.
  struct Block {
    std::vector<int64_t> images;
    std::vector<int64_t> captions;
    torch::Tensor scores;  // (images, captions)
  };
  // One side's embeddings of a whole split.
  struct Embedded {
    torch::Tensor images;    // (N, C)
    torch::Tensor captions;  // (T, C)
  };

  CoarseTrainer(Options options, const std::atomic<bool>* stop)
      : options_(std::move(options)), stop_(stop) {}

  absl::Status Prepare();
  absl::Status SetInputStatistics();
  absl::Status ScoreValidation();
  absl::Status Mine();
  absl::Status Step();
  absl::StatusOr<torch::Tensor> BatchLoss(torch::Tensor* found);
  absl::StatusOr<torch::Tensor> DistillationLoss();
  absl::Status Validate();
  absl::StatusOr<Embedded> Embed(const PrecomputedDataset& dataset, const BertStateCache& states);
  bool IsTrueOf(int64_t caption, int64_t image) const;
  double LearningRate(int64_t step) const;
  absl::Status Stopped() const;

  const Options options_;
  const std::atomic<bool>* const stop_;
  std::string out_;
  torch::Device device_ = torch::kCPU;
  std::unique_ptr<Network> network_;
  std::unique_ptr<PrecomputedDataset> train_, validation_;
  std::unique_ptr<BertStateCache> train_states_, validation_states_;
  Positives positives_;  // of the training captions; may be empty
  CoarseHeads heads_{nullptr};
  torch::Tensor log_scale_, teacher_log_scale_;  // logarithms of inverse temperatures, learned
  std::unique_ptr<torch::optim::AdamW> optimizer_;
  std::unique_ptr<BatchSampler> sampler_;
  std::vector<Block> blocks_;
  double teacher_deviation_ = 1;
  // The model's scores of some validation queries against everything.
  std::vector<int64_t> query_captions_, query_images_;
  torch::Tensor text_to_image_top_, image_to_text_top_;  // (queries, 10): rows found, int64
  std::ofstream steps_csv_, validation_csv_;
  int64_t step_ = 0;
  double running_loss_ = 0;  // smoothed, for the progress bar
  Validation last_, best_;
  bool has_best_ = false;
};

}  // namespace dime

#endif  // DIME_MODEL_DIME_COARSE_TRAINER_H_
