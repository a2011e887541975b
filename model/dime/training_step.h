#ifndef DIME_MODEL_DIME_TRAINING_STEP_H_
#define DIME_MODEL_DIME_TRAINING_STEP_H_

#include <torch/torch.h>

#include "model/dime/direction_model.h"

namespace dime {

// What one step trains on: B images with a caption each, then negatives-only images or captions.
struct TrainingBatch {
  torch::Tensor features;      // (B + extra images, R, D)
  torch::Tensor states;        // (B + extra captions, L, H): the frozen BERT's, X
  torch::Tensor lengths;       // (B + extra captions) int64
  torch::Tensor not_negative;  // (images, captions) bool, see losses.h; may be undefined
  int64_t pairs = 0;           // B
  // If not 0: neighbours of so many pairs form a group, and pairs are scored within groups alone.
  // not_negative is then (groups, group_size, group_size).
  int64_t group_size = 0;
  // If not 0: the step trains the encoders alone, by AlignmentScores within the batch and within
  // groups of so many neighbours (1: within the batch alone). group_size is 0 then.
  int64_t alignment_group = 0;
};

struct LossOptions {
  double margin = 0.2;
  bool hardest_negatives = true;  // else sums over all negatives
  double path_weight = 0.5;       // of path regularisation; 0 = off
  bool contrastive = false;       // ContrastiveLoss in place of the ranking loss
  double temperature = 0.05;      // of contrastive terms
  double alignment_weight = 0;    // of a contrastive term on AlignmentScores, in ordinary steps
  double alignment_temperature = 0.02;
  double global_weight = 0;  // of a contrastive term on the global vectors, which otherwise
                             // never learn to find neighbours: the first stage's training

  // How scores are computed: by FusedScores() where that can be, or by the modules alone; heads and
  // modules in MixedPrecision or as their tensors are.
  bool fused = true;
  bool mixed_precision = false;
};

struct StepLoss {
  torch::Tensor total;      // what is differentiated
  torch::Tensor rank;       // ranking or contrastive term
  torch::Tensor path;       // path regularisation, before its weight; undefined if off
  torch::Tensor global;     // term on the global vectors, before its weight; undefined if off
  torch::Tensor alignment;  // term on the alignment scores, before its weight; undefined if off
  torch::Tensor found;      // share of captions that score their own image highest
};

// The whole loss of one step, differentiable by the model's parameters (dime-model.md, 6). All
// pairs of the batch are scored in one pass: by FusedScores() where that can be, else by the
// modules.
// A step within groups has the contrastive term alone, at options.temperature.
StepLoss ComputeStepLoss(DirectionModelImpl& model, const TrainingBatch& batch,
                         const LossOptions& options);

}  // namespace dime

#endif  // DIME_MODEL_DIME_TRAINING_STEP_H_
