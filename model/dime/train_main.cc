// dime_train: trains one direction of DIME on precomputed features (dime-model.md, 6).
#include <atomic>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <string>

#include "CLI/CLI.hpp"
#include "model/dime/device.h"
#include "model/dime/trainer.h"

namespace {

std::atomic<bool> stop_requested{false};

void RequestStop(int signal) {
  stop_requested = true;
  std::signal(signal, SIG_DFL);  // a second one ends the program at once
}

}  // namespace

int main(int argc, char** argv) {
  dime::KeepFreedMemory();
  dime::Trainer::Options options;
  CLI::App app{
      "Trains one direction of DIME over a frozen BERT; run it once for i2t and once for "
      "t2i with the same --out for a model with both."};
  app.get_formatter()->column_width(42);
  std::string direction;
  app.add_option("--data", options.data,
                 "Folder with SPLIT_ims.npy and SPLIT_caps.txt for both splits")
      ->required();
  app.add_option("--bert", options.bert, "BERT folder: config.json, model.safetensors, vocab.txt")
      ->required();
  app.add_option("--out", options.out, "Model folder to make, or to add a direction to")
      ->required();
  app.add_option("--direction", direction, "Which model to train")
      ->required()
      ->check(CLI::IsMember({"i2t", "t2i"}));
  app.add_option("--device", options.device, "cpu, cuda, cuda:N or auto")->capture_default_str();
  std::string precision = "auto";
  app.add_option("--precision", precision,
                 "bf16: products in bfloat16, the rest in float32, on a CUDA device or on a CPU with "
                 "AMX or AVX512-BF16; auto: bf16 on CUDA devices")
      ->check(CLI::IsMember({"auto", "float32", "bf16"}))
      ->capture_default_str();
  app.add_flag("!--no-fused-scores", options.loss.fused,
               "Score by the modules alone, which on a CPU with AVX2 is slower");
  app.add_option("--train-split", options.train_split)->capture_default_str();
  app.add_option("--validation-split", options.validation_split)->capture_default_str();
  app.add_flag("--link-bert", options.link_bert, "Link to the BERT folder rather than copy it");
  app.add_option("--init", options.initial_model,
                 "Model folder of the same sizes whose weights are the start");
  app.add_option("--state-cache", options.state_cache,
                 "With --no-bert-dropout: file name to keep BERT's states under, which the other "
                 "direction's run can use");
  app.add_flag("--resume", options.resume,
               "Go on exactly where an earlier run with the same options stopped");

  auto* model = app.add_option_group("model");
  model->add_option("--embed-size", options.model.embed_size, "E")->capture_default_str();
  model->add_option("--heads", options.model.num_heads, "Heads of the intra-modal cell")
      ->capture_default_str();
  model->add_option("--feed-forward-size", options.model.feed_forward_size)->capture_default_str();
  model->add_option("--router-size", options.model.router_size)->capture_default_str();
  model
      ->add_option("--raw-feature-norm", options.model.raw_feature_norm,
                   "Attention norm of the refinement cell")
      ->check(CLI::IsMember({"clipped_l2norm", "l2norm", "clipped_l1norm", "l1norm", "clipped",
                             "no_norm", "softmax"}))
      ->capture_default_str();
  CLI::Option* lambda = model->add_option("--lambda-softmax", options.model.lambda_softmax,
                                          "Temperature of that attention; 4 for i2t, 9 for t2i "
                                          "unless given");
  model->add_option("--max-words", options.max_words, "Token positions of a caption, L")
      ->check(CLI::Range(3, 512))
      ->capture_default_str();
  model->add_flag("--no-imgnorm", options.model.no_imgnorm,
                  "Leave the image vector's length alone");
  model->add_flag("--use-abs", options.model.use_abs, "Take the image vector's magnitudes");

  auto* schedule = app.add_option_group("schedule");
  schedule->add_option("--batch-size", options.batches.batch_size, "B")->capture_default_str();
  schedule->add_option("--epochs", options.epochs)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  schedule->add_option("--max-steps", options.max_steps, "Stop after so many steps; 0 = by epochs")
      ->capture_default_str();
  schedule->add_option("--learning-rate", options.learning_rate, "Of Adam")->capture_default_str();
  schedule
      ->add_option("--lr-update", options.learning_rate_epochs,
                   "The learning rate drops to a tenth every so many epochs")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  schedule
      ->add_option("--warmup-steps", options.warmup_steps,
                   "The learning rate grows over these steps")
      ->capture_default_str();
  schedule->add_option("--grad-clip", options.gradient_clip, "Largest gradient norm; 0 = off")
      ->capture_default_str();
  schedule->add_option("--val-step", options.validation_steps, "Steps between validations")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  schedule
      ->add_option("--val-images", options.validation_images,
                   "Validate on the first so many images; 0 = all")
      ->capture_default_str();
  schedule->add_option("--seed", options.batches.seed)->capture_default_str();

  auto* loss = app.add_option_group("loss");
  loss->add_option("--margin", options.loss.margin)->capture_default_str();
  loss->add_flag("--max-violation,!--sum-violation", options.loss.hardest_negatives,
                 "Hardest negatives (default), or sums over all");
  loss->add_option("--extra-stc", options.batches.extra_captions,
                   "Further random captions as negatives, in batches");
  loss->add_option("--extra-img", options.batches.extra_images,
                   "Further random images as negatives, in batches");
  loss->add_option("--trade-off", options.loss.path_weight, "Weight of path regularisation")
      ->capture_default_str();
  loss->add_option("--contrastive-steps", options.contrastive_steps,
                   "Start with so many steps of a softmax contrastive loss")
      ->capture_default_str();
  loss->add_option("--temperature", options.loss.temperature, "Of contrastive terms")
      ->capture_default_str();
  loss->add_option("--global-weight", options.loss.global_weight,
                   "Weight of a contrastive term on the global vectors, by which recall searches")
      ->capture_default_str();
  loss->add_option("--group-size", options.batches.group_size,
                   "Draw so many neighbouring images together, as hard negatives")
      ->capture_default_str();
  loss->add_option("--group-steps", options.group_steps,
                   "After each step so many further steps that score captions against the images "
                   "of their own group alone")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  loss->add_option("--group-batch-size", options.group_batch_size, "Images of such a step")
      ->capture_default_str();
  loss->add_option("--alignment-steps", options.alignment_steps,
                   "Start with so many steps of the encoders alone, on how well words and regions "
                   "meet (late interaction)")
      ->capture_default_str();
  loss->add_option("--alignment-batch-size", options.alignment_batch_size)->capture_default_str();
  loss->add_option("--alignment-weight", options.loss.alignment_weight,
                   "Weight of that term in ordinary steps thereafter")
      ->capture_default_str();
  loss->add_option("--positives", options.positives,
                   "JSON file: for each training caption the rows of the images it is true of, "
                   "which are then no negatives");
  bool no_dropout = false;
  loss->add_flag(
      "--no-bert-dropout", no_dropout,
      "Switch BERT's dropout off; its states are then computed once and kept as float16");
  CLI11_PARSE(app, argc, argv);

  options.direction = direction == "i2t" ? dime::Direction::kI2t : dime::Direction::kT2i;
  options.bert_dropout = !no_dropout;
  if (precision != "auto") options.mixed_precision = precision == "bf16";
  if (lambda->count() == 0) options.model.lambda_softmax = direction == "i2t" ? 4 : 9;
  options.batches.extra_captions *= options.batches.batch_size;
  options.batches.extra_images *= options.batches.batch_size;
  if (options.model.num_heads < 1 || options.model.embed_size % options.model.num_heads != 0) {
    std::cerr << "dime_train: --heads must divide --embed-size\n";
    return 2;
  }

  std::signal(SIGINT, RequestStop);
  std::signal(SIGTERM, RequestStop);
  auto trainer = dime::Trainer::Create(options, &stop_requested);
  absl::Status status = trainer.ok() ? (*trainer)->Run() : trainer.status();
  if (!status.ok()) {
    std::cerr << "dime_train: " << status.message() << "\n";
    return absl::IsCancelled(status) ? 130 : 1;
  }
  std::cerr << "the best model is in " << options.out << "; next: dime_evaluate --model "
            << options.out << " --data " << options.data << " --split test\n";
  return 0;
}
