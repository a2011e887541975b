// dime_train_coarse: gives a model the heads of its first stage. See --help.
#include <atomic>
#include <csignal>
#include <iostream>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "model/dime/coarse_trainer.h"
#include "model/dime/device.h"
#include "model/dime_model.h"

namespace {

std::atomic<bool> stop_requested{false};

void RequestStop(int signal) {
  stop_requested = true;
  std::signal(signal, SIG_DFL);  // a second one ends the program at once
}

void Print(const char* name, const dime::CoarseTrainer::Found& found, bool with_teacher) {
  std::cout << absl::StrFormat("%-14s %6.1f %6.1f %6.1f %6.1f", name, found.own[0], found.own[1],
                               found.own[2], found.own[3]);
  if (with_teacher) {
    std::cout << absl::StrFormat("   %6.1f %6.1f %6.1f", found.teacher[0], found.teacher[1],
                                 found.teacher[2]);
  }
  std::cout << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  dime::KeepFreedMemory();
  dime::CoarseTrainer::Options options;
  CLI::App app{
      "Trains the heads of a model's first stage: one embedding for an image or a caption, by "
      "which "
      "recall finds the candidates that the model then reranks. The model's own weights stay as "
      "they "
      "are; its fingerprint changes, so that galleries have to be built again."};
  app.get_formatter()->column_width(42);
  app.add_option("--model", options.model, "Model folder; the heads go into it")->required();
  app.add_option("--data", options.data,
                 "Folder with SPLIT_ims.npy and SPLIT_caps.txt for both splits")
      ->required();
  app.add_option("--train-split", options.train_split)->capture_default_str();
  app.add_option("--validation-split", options.validation_split)->capture_default_str();
  app.add_option("--device", options.device, "cpu, cuda, cuda:N or auto")->capture_default_str();
  app.add_option("--scorer", options.scorer, dime::kScorerHelp)->capture_default_str();
  app.add_option("--out", options.out,
                 "File to write the heads to (default: coarse.safetensors in the model folder)");
  app.add_option("--state-cache", options.state_cache,
                 "File name to keep BERT's states under, which dime_train uses too");

  auto* heads = app.add_option_group("heads");
  heads->add_option("--dim", options.heads.coarse_dim, "Width of the embedding, C")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  heads
      ->add_option("--hidden-size", options.heads.hidden_size,
                   "Width of the layer at each position")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  heads->add_option("--pooling-queries", options.heads.num_queries, "Attention pooling queries")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();

  auto* schedule = app.add_option_group("schedule");
  schedule->add_option("--steps", options.steps)->check(CLI::PositiveNumber)->capture_default_str();
  schedule->add_option("--batch-size", options.batch_size, "Images of a step, with a caption each")
      ->capture_default_str();
  schedule
      ->add_option("--learning-rate", options.learning_rate, "Of AdamW; falls to 0 along a cosine")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  schedule->add_option("--warmup-steps", options.warmup_steps)
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  schedule->add_option("--weight-decay", options.weight_decay)
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  schedule->add_option("--val-step", options.validation_steps, "Steps between validations")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  schedule
      ->add_option("--val-queries", options.validation_queries,
                   "Validation queries of each kind that the model answers exhaustively, to see "
                   "how many of its hits the heads find; 0 = none")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  schedule->add_option("--seed", options.seed)->capture_default_str();

  auto* loss = app.add_option_group("loss");
  loss->add_option("--positives", options.positives,
                   "JSON file: for each training caption the rows of the images it is true of, "
                   "which are then no negatives");
  loss->add_option("--temperature", options.temperature,
                   "Of the contrastive loss at the start; then it is learned")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  loss->add_option("--distillation-weight", options.distillation_weight,
                   "Weight of imitating the model's rerank scores; 0 = contrastive loss alone")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  loss->add_option("--teacher-start", options.teacher_start,
                   "Share of the steps after which pairs are mined and scored")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  loss->add_option("--teacher-queries", options.teacher_queries,
                   "Captions, with their images, around which pairs are mined")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  loss->add_option("--teacher-candidates", options.teacher_candidates,
                   "Images and captions mined around each; the model scores all pairs of them")
      ->check(CLI::Range(2, 65536))
      ->capture_default_str();
  loss->add_option("--teacher-temperature", options.teacher_temperature,
                   "Of the order that is imitated, in standard deviations of the scores")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  loss->add_option("--blocks-per-step", options.blocks_per_step,
                   "Mined queries, with their candidates, that a step imitates")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  std::signal(SIGINT, RequestStop);
  std::signal(SIGTERM, RequestStop);
  auto trainer = dime::CoarseTrainer::Create(options, &stop_requested);
  const absl::Status status = trainer.ok() ? (*trainer)->Run() : trainer.status();
  if (!status.ok()) {
    std::cerr << "dime_train_coarse: " << status.message() << "\n";
    return absl::IsCancelled(status) ? 130 : 1;
  }
  const dime::CoarseTrainer::Validation& best = (*trainer)->best();
  std::cout << "               own item in the first"
            << (best.with_teacher ? "        model's top 10 in the first" : "") << "\n"
            << "                    1     10     50    100"
            << (best.with_teacher ? "       2%     50    100" : "") << "\n";
  Print("image to text", best.image_to_text, best.with_teacher);
  Print("text to image", best.text_to_image, best.with_teacher);
  std::cerr << "the heads are in " << (*trainer)->out()
            << "; galleries of this model have to be built again, by dime_build_gallery\n";
  return 0;
}
