#include "model/dime/coarse_trainer.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "index/progress_bar.h"
#include "index/status_macros.h"
#include "model/dime/device.h"
#include "model/dime/losses.h"
#include "model/dime/similarity.h"
#include "model/random_stream.h"

namespace dime {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kReadAtOnce = 256;
constexpr int64_t kTop = 10;  // hits of the model that the heads should find
constexpr std::array<int64_t, 4> kOwnDepths = {1, 10, 50, 100};
constexpr int64_t kStatisticsImages = 500;  // that inputs are standardised by, and as many captions
constexpr double kLargestScale = 100;       // inverse temperature

// Purposes of random streams.
constexpr uint64_t kSeedStream = 11, kRankStream = 12, kOrderStream = 13;

// Within its life, float32 products may use bfloat16 or TF32 units where the processor has them:
// several times as fast, and nothing here hangs on the last digits.
class CoarsePrecision {
 public:
  CoarsePrecision() : before_(at::globalContext().float32MatmulPrecision()) {
    at::globalContext().setFloat32MatmulPrecision("medium");
  }
  ~CoarsePrecision() {
    at::globalContext().setFloat32MatmulPrecision(
        before_ == at::Float32MatmulPrecision::HIGHEST ? "highest"
        : before_ == at::Float32MatmulPrecision::HIGH  ? "high"
                                                       : "medium");
  }
  CoarsePrecision(const CoarsePrecision&) = delete;
  CoarsePrecision& operator=(const CoarsePrecision&) = delete;

 private:
  const at::Float32MatmulPrecision before_;
};

// `count` rows spread evenly over [0, size); all of them if there are no more.
std::vector<int64_t> Spread(int64_t size, int64_t count) {
  count = std::min(size, count);
  std::vector<int64_t> rows(count);
  for (int64_t i = 0; i < count; ++i) rows[i] = i * size / count;
  return rows;
}

// `count` different rows of `scores` (N) whose ranks are spread evenly by their logarithm, as many
// from the 10th to the 100th as from the 1,000th to the 10,000th: the order near the top is what
// matters, but a hit that the heads have far down must be met too. `own` is always one of them.
std::vector<int64_t> DrawByRank(const torch::Tensor& scores, int64_t own, int64_t count,
                                std::mt19937_64& stream) {
  const torch::Tensor order = scores.argsort(/*dim=*/0, /*descending=*/true).to(torch::kCPU);
  const int64_t* rows = order.data_ptr<int64_t>();
  const int64_t size = order.numel();
  std::vector<bool> taken(size, false);
  std::vector<int64_t> drawn = {own};
  taken[own] = true;
  while (static_cast<int64_t>(drawn.size()) < std::min(count, size)) {
    const double u = static_cast<double>(stream() >> 11) * 0x1p-53;
    int64_t rank = static_cast<int64_t>(std::pow(static_cast<double>(size + 1), u)) - 1;
    while (taken[rows[rank % size]]) ++rank;  // the next one that is left
    taken[rows[rank % size]] = true;
    drawn.push_back(rows[rank % size]);
  }
  return drawn;
}

// For each query (Q, N) the rank from 0 of its best item among `own` (Q, K).
torch::Tensor BestRank(const torch::Tensor& scores, const torch::Tensor& own) {
  const torch::Tensor best = scores.gather(1, own).amax(1, /*keepdim=*/true);
  return (scores > best).sum(1);
}

double ShareBelow(const torch::Tensor& ranks, int64_t depth) {
  return 100 * (ranks < depth).to(torch::kFloat64).mean().item<double>();
}

// Where the items of `wanted` (Q, K) stand in the order of `scores` (Q, N), from 0.
torch::Tensor RanksOf(const torch::Tensor& scores, const torch::Tensor& wanted) {
  return scores.argsort(/*dim=*/1, /*descending=*/true)
      .argsort(/*dim=*/1, /*descending=*/false)
      .gather(1, wanted);
}

}  // namespace

double CoarseTrainer::Validation::selection() const {
  const auto of = [&](const Found& found) {
    return with_teacher ? found.teacher[0] + found.teacher[2] : found.own[0] + found.own[1];
  };
  return of(image_to_text) + of(text_to_image);
}

absl::StatusOr<std::unique_ptr<CoarseTrainer>> CoarseTrainer::Create(
    const Options& options, const std::atomic<bool>* stop) {
  std::unique_ptr<CoarseTrainer> trainer(new CoarseTrainer(options, stop));
  try {
    RETURN_IF_ERROR(trainer->Prepare());
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("LibTorch: ", error.what_without_backtrace()));
  }
  return trainer;
}

absl::Status CoarseTrainer::Prepare() {
  UseAvailableCores();
  ASSIGN_OR_RETURN(device_, ParseDevice(options_.device));
  ASSIGN_OR_RETURN(network_, Network::Load(options_.model, device_, {.coarse_heads = false}));
  ASSIGN_OR_RETURN(train_, PrecomputedDataset::Open(options_.data, options_.train_split));
  ASSIGN_OR_RETURN(validation_, PrecomputedDataset::Open(options_.data, options_.validation_split));
  for (const PrecomputedDataset* split : {train_.get(), validation_.get()}) {
    if (split->num_captions() == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(options_.data, ": a split without captions cannot be trained on"));
    }
    if (split->feature_dim() != network_->feature_dim()) {
      return absl::InvalidArgumentError(
          absl::StrCat(options_.data, ": features are ", split->feature_dim(),
                       " wide, those that the model takes ", network_->feature_dim()));
    }
  }
  if (options_.batch_size < 2 || options_.batch_size > train_->num_images()) {
    return absl::InvalidArgumentError(absl::StrCat("the batch size must be from 2 to the ",
                                                   train_->num_images(), " images of ",
                                                   options_.train_split));
  }
  if (!options_.positives.empty()) {
    ASSIGN_OR_RETURN(positives_, LoadPositives(options_.positives, train_->num_captions()));
  }
  out_ = options_.out.empty() ? absl::StrCat(options_.model, "/", kCoarseHeadsName) : options_.out;
  sampler_ = std::make_unique<BatchSampler>(
      BatchSampler::Options{.num_images = train_->num_images(),
                            .captions_per_image = train_->captions_per_image(),
                            .batch_size = static_cast<int>(options_.batch_size),
                            .seed = options_.seed});

  CoarseHeadsConfig config = options_.heads;
  config.feature_dim = network_->feature_dim();
  const Direction first = network_->Has(Direction::kI2t) ? Direction::kI2t : Direction::kT2i;
  config.bert = network_->config().of(first)->bert;
  config.bert_size = network_->backbone(first).hidden_size;
  torch::manual_seed(static_cast<int64_t>(options_.seed));
  heads_ = CoarseHeads(config);

  const auto states = [&](const PrecomputedDataset& dataset, const std::string& split) {
    return BertStateCache::Create(network_->backbone(first), device_, dataset.captions(),
                                  {.bert = absl::StrCat(options_.model, "/", config.bert),
                                   .data = options_.data,
                                   .split = split,
                                   .max_words = network_->config().max_words,
                                   .max_bytes = options_.state_cache_bytes,
                                   .file = options_.state_cache,
                                   .part_tag = "coarse"},
                                  stop_);
  };
  ASSIGN_OR_RETURN(train_states_, states(*train_, options_.train_split));
  ASSIGN_OR_RETURN(validation_states_, states(*validation_, options_.validation_split));
  RETURN_IF_ERROR(SetInputStatistics());
  heads_->to(device_);

  log_scale_ = torch::full({}, -std::log(options_.temperature), device_).requires_grad_();
  teacher_log_scale_ = log_scale_.detach().clone().requires_grad_();
  std::vector<torch::Tensor> matrices, others = {log_scale_, teacher_log_scale_};
  for (const torch::Tensor& parameter : heads_->parameters()) {
    (parameter.dim() > 1 ? matrices : others).push_back(parameter);
  }
  const auto with_decay = [&](double decay) {
    return std::make_unique<torch::optim::AdamWOptions>(
        torch::optim::AdamWOptions(options_.learning_rate).weight_decay(decay));
  };
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::move(matrices), with_decay(options_.weight_decay));
  groups.emplace_back(std::move(others), with_decay(0));
  optimizer_ = std::make_unique<torch::optim::AdamW>(std::move(groups));

  const std::string directory = absl::StrCat(options_.model, "/training/coarse");
  std::error_code error;
  fs::create_directories(directory, error);
  steps_csv_.open(directory + "/steps.csv");
  steps_csv_ << "step,learning_rate,loss,contrastive,distillation,found,gradient_norm,temperature,"
                "seconds\n";
  validation_csv_.open(directory + "/validation.csv");
  validation_csv_ << "step";
  for (const char* way : {"i2t", "t2i"}) {
    for (int64_t depth : kOwnDepths) validation_csv_ << absl::StrFormat(",%s_r%d", way, depth);
    for (const char* depth : {"2pc", "50", "100"}) {
      validation_csv_ << absl::StrFormat(",%s_top10_in_%s", way, depth);
    }
  }
  validation_csv_ << ",best\n";
  if (!steps_csv_ || !validation_csv_) {
    return absl::UnavailableError(absl::StrCat("cannot write CSV files in ", directory));
  }
  return ScoreValidation();
}

absl::Status CoarseTrainer::SetInputStatistics() {
  c10::InferenceMode inference;
  ASSIGN_OR_RETURN(
      const torch::Tensor features,
      ReadImages(*train_, Spread(train_->num_images(), kStatisticsImages), torch::kCPU));
  const torch::Tensor regions = features.flatten(0, 1);
  heads_->image->SetInputStatistics(regions.mean(0), regions.std(0));
  torch::Tensor lengths;
  const torch::Tensor states =
      train_states_->States(Spread(train_->num_captions(), kStatisticsImages), &lengths);
  const torch::Tensor words = states.index(
      {torch::arange(states.size(1), lengths.options()).unsqueeze(0) < lengths.unsqueeze(1)});
  heads_->caption->SetInputStatistics(words.mean(0).cpu(), words.std(0).cpu());
  return absl::OkStatus();
}

absl::Status CoarseTrainer::ScoreValidation() {
  if (options_.distillation_weight == 0 || options_.validation_queries == 0) {
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const auto teacher,
                   CoarseTeacher::Create(*network_, heads_->config().bert, *validation_,
                                         *validation_states_, options_.scorer));
  const int64_t images = validation_->num_images(), captions = validation_->num_captions();
  query_captions_ = Spread(captions, options_.validation_queries);
  query_images_ = Spread(images, options_.validation_queries);
  ProgressBar bar("scoring validation", (images * static_cast<int64_t>(query_captions_.size()) +
                                         captions * static_cast<int64_t>(query_images_.size())) *
                                            teacher->num_directions());
  const auto advance = [&](int64_t n) { bar.Advance(n); };
  const auto top = [](const torch::Tensor& scores) {
    return std::get<1>(scores.topk(std::min(kTop, scores.size(1)), 1));
  };
  ASSIGN_OR_RETURN(const torch::Tensor by_caption,
                   teacher->Score(RowRange(0, images), query_captions_, advance));
  text_to_image_top_ = top(by_caption.t());
  RETURN_IF_ERROR(Stopped());
  ASSIGN_OR_RETURN(const torch::Tensor by_image,
                   teacher->Score(query_images_, RowRange(0, captions), advance));
  image_to_text_top_ = top(by_image);
  bar.Finish();
  return absl::OkStatus();
}

absl::Status CoarseTrainer::Stopped() const {
  if (stop_ == nullptr || !*stop_) return absl::OkStatus();
  return absl::CancelledError("stopped");
}

absl::StatusOr<CoarseTrainer::Embedded> CoarseTrainer::Embed(const PrecomputedDataset& dataset,
                                                             const BertStateCache& states) {
  c10::InferenceMode inference;
  heads_->eval();
  std::vector<torch::Tensor> images, captions;
  for (int64_t first = 0; first < dataset.num_images(); first += kReadAtOnce) {
    ASSIGN_OR_RETURN(
        const torch::Tensor features,
        ReadImages(dataset, RowRange(first, std::min(kReadAtOnce, dataset.num_images() - first)),
                   device_));
    images.push_back(heads_->Images(features));
  }
  for (int64_t first = 0; first < dataset.num_captions(); first += kReadAtOnce) {
    torch::Tensor lengths;
    const torch::Tensor of_batch = states.States(
        RowRange(first, std::min(kReadAtOnce, dataset.num_captions() - first)), &lengths);
    captions.push_back(heads_->Captions(of_batch, lengths));
  }
  heads_->train();
  return Embedded{.images = torch::cat(images), .captions = torch::cat(captions)};
}

absl::Status CoarseTrainer::Mine() {
  ASSIGN_OR_RETURN(const auto teacher,
                   CoarseTeacher::Create(*network_, heads_->config().bert, *train_, *train_states_,
                                         options_.scorer));
  ASSIGN_OR_RETURN(const Embedded embedded, Embed(*train_, *train_states_));
  c10::InferenceMode inference;
  std::mt19937_64 seeds = MakeStream(options_.seed, kSeedStream, 0);
  const int64_t size = options_.teacher_candidates;
  ProgressBar bar("scoring mined pairs", options_.teacher_queries * size * size);
  int64_t pairs = 0;
  double sum = 0, squares = 0;
  blocks_.clear();
  for (int64_t b = 0; b < options_.teacher_queries; ++b) {
    RETURN_IF_ERROR(Stopped());
    std::mt19937_64 ranks = MakeStream(options_.seed, kRankStream, b);
    const int64_t caption = Below(seeds, train_->num_captions());
    const int64_t image = train_->ImageOfCaption(caption);
    Block block;
    block.images =
        DrawByRank(torch::mv(embedded.images, embedded.captions[caption]), image, size, ranks);
    block.captions =
        DrawByRank(torch::mv(embedded.captions, embedded.images[image]), caption, size, ranks);
    ASSIGN_OR_RETURN(block.scores, teacher->Score(block.images, block.captions, [](int64_t) {}));
    pairs += block.scores.numel();
    const torch::Tensor exact = block.scores.to(torch::kFloat64);
    sum += exact.sum().item<double>();
    squares += exact.square().sum().item<double>();
    block.scores = block.scores.to(device_);
    blocks_.push_back(std::move(block));
    bar.Advance(size * size);
  }
  bar.Finish();
  const double mean = sum / static_cast<double>(pairs);
  teacher_deviation_ =
      std::max(1e-6, std::sqrt(std::max(0.0, squares / static_cast<double>(pairs) - mean * mean)));
  return absl::OkStatus();
}

bool CoarseTrainer::IsTrueOf(int64_t caption, int64_t image) const {
  return image == train_->ImageOfCaption(caption) ||
         (!positives_.empty() &&
          std::binary_search(positives_[caption].begin(), positives_[caption].end(), image));
}

double CoarseTrainer::LearningRate(int64_t step) const {
  const double warm =
      std::min(1.0, static_cast<double>(step + 1) / static_cast<double>(options_.warmup_steps + 1));
  const double done = static_cast<double>(step) / static_cast<double>(options_.steps);
  return options_.learning_rate * warm * (1 + std::cos(done * M_PI)) / 2;
}

absl::StatusOr<torch::Tensor> CoarseTrainer::BatchLoss(torch::Tensor* found) {
  const BatchSampler::Batch batch = sampler_->Sample(step_);
  ASSIGN_OR_RETURN(const torch::Tensor features, ReadImages(*train_, batch.images, device_));
  torch::Tensor lengths;
  const torch::Tensor states = train_states_->States(batch.captions, &lengths);
  const int64_t size = options_.batch_size;
  torch::Tensor truth = torch::zeros({size, size}, torch::kBool);
  auto marks = truth.accessor<bool, 2>();
  for (int64_t c = 0; c < size; ++c) {
    for (int64_t i = 0; i < size; ++i) {
      marks[i][c] = IsTrueOf(batch.captions[c], batch.images[i]);
    }
  }
  truth = truth.to(device_);
  const torch::Tensor cosines =
      torch::matmul(heads_->Images(features), heads_->Captions(states, lengths).t());
  *found = (cosines.argmax(0) == torch::arange(size, device_)).to(torch::kFloat32).mean();
  const torch::Tensor scores = cosines * log_scale_.clamp_max(std::log(kLargestScale)).exp();
  return ContrastiveLoss(scores, /*temperature=*/1, truth);
}

absl::StatusOr<torch::Tensor> CoarseTrainer::DistillationLoss() {
  std::mt19937_64 stream = MakeStream(options_.seed, kOrderStream, step_);
  std::vector<int64_t> images, captions;
  std::vector<torch::Tensor> taught;
  const int64_t count = std::min<int64_t>(options_.blocks_per_step, blocks_.size());
  std::vector<int64_t> order = RowRange(0, static_cast<int64_t>(blocks_.size()));
  Shuffle(order, stream);
  for (int64_t b = 0; b < count; ++b) {
    const Block& block = blocks_[order[b]];
    images.insert(images.end(), block.images.begin(), block.images.end());
    captions.insert(captions.end(), block.captions.begin(), block.captions.end());
    taught.push_back(block.scores);
  }
  ASSIGN_OR_RETURN(const torch::Tensor features, ReadImages(*train_, images, device_));
  torch::Tensor lengths;
  const torch::Tensor states = train_states_->States(captions, &lengths);
  const torch::Tensor image = heads_->Images(features);
  const torch::Tensor caption = heads_->Captions(states, lengths);
  const torch::Tensor scores =
      torch::bmm(image.view({count, -1, image.size(1)}),
                 caption.view({count, -1, image.size(1)}).transpose(1, 2)) *
      teacher_log_scale_.clamp_max(std::log(kLargestScale)).exp();
  return ListDistillationLoss(
      scores, torch::stack(taught) / (options_.teacher_temperature * teacher_deviation_));
}

absl::Status CoarseTrainer::Step() {
  const CoarsePrecision precision;
  const absl::Time start = absl::Now();
  const double rate = LearningRate(step_);
  for (auto& group : optimizer_->param_groups()) {
    static_cast<torch::optim::AdamWOptions&>(group.options()).lr(rate);
  }
  optimizer_->zero_grad();
  torch::Tensor found;
  ASSIGN_OR_RETURN(const torch::Tensor contrastive, BatchLoss(&found));
  torch::Tensor loss = contrastive, distillation;
  if (!blocks_.empty()) {
    ASSIGN_OR_RETURN(distillation, DistillationLoss());
    loss = loss + options_.distillation_weight * distillation;
  }
  const double value = loss.item<double>();
  if (!std::isfinite(value)) {
    return absl::InternalError(
        absl::StrCat("the loss of step ", step_, " is ", value, "; try a lower learning rate"));
  }
  loss.backward();
  const double norm = torch::nn::utils::clip_grad_norm_(heads_->parameters(), 1.0);
  optimizer_->step();
  steps_csv_ << absl::StrFormat(
      "%d,%.3g,%.6g,%.6g,%s,%.4g,%.4g,%.4g,%.3f\n", step_ + 1, rate, value,
      contrastive.item<double>(),
      distillation.defined() ? absl::StrFormat("%.6g", distillation.item<double>()) : "",
      found.item<double>(), norm, std::exp(-log_scale_.item<double>()),
      absl::ToDoubleSeconds(absl::Now() - start));
  running_loss_ = running_loss_ == 0 ? value : 0.95 * running_loss_ + 0.05 * value;
  ++step_;
  return absl::OkStatus();
}

absl::Status CoarseTrainer::Validate() {
  ASSIGN_OR_RETURN(const Embedded embedded, Embed(*validation_, *validation_states_));
  c10::InferenceMode inference;
  const torch::Tensor scores =
      torch::matmul(embedded.images, embedded.captions.t()).to(torch::kCPU);  // (N, T)
  const int64_t images = scores.size(0), captions = scores.size(1);
  const int64_t per_image = validation_->captions_per_image();
  Validation now;
  now.with_teacher = text_to_image_top_.defined();
  const torch::Tensor own_captions =
      torch::arange(captions).view({images, per_image});  // of each image
  const torch::Tensor own_image = torch::arange(captions).div(per_image, "floor").unsqueeze(1);
  const auto fill = [](const torch::Tensor& own_ranks, const torch::Tensor& teacher_ranks,
                       int64_t size, Found& found) {
    for (size_t k = 0; k < kOwnDepths.size(); ++k) {
      found.own[k] = ShareBelow(own_ranks, kOwnDepths[k]);
    }
    if (!teacher_ranks.defined()) return;
    const int64_t two_percent = std::max<int64_t>(1, size / 50);
    found.teacher = {ShareBelow(teacher_ranks, two_percent), ShareBelow(teacher_ranks, 50),
                     ShareBelow(teacher_ranks, 100)};
  };
  torch::Tensor of_images, of_captions;
  if (now.with_teacher) {
    of_images = RanksOf(scores.index_select(0, torch::tensor(query_images_)), image_to_text_top_);
    of_captions =
        RanksOf(scores.t().index_select(0, torch::tensor(query_captions_)), text_to_image_top_);
  }
  fill(BestRank(scores, own_captions), of_images, captions, now.image_to_text);
  fill(BestRank(scores.t(), own_image), of_captions, images, now.text_to_image);
  last_ = now;
  const bool better = !has_best_ || now.selection() > best_.selection();
  validation_csv_ << step_;
  for (const Found* found : {&now.image_to_text, &now.text_to_image}) {
    for (double share : found->own) validation_csv_ << absl::StrFormat(",%.2f", share);
    for (double share : found->teacher) {
      validation_csv_ << (now.with_teacher ? absl::StrFormat(",%.2f", share) : ",");
    }
  }
  validation_csv_ << "," << better << std::endl;
  steps_csv_.flush();
  if (!better) return absl::OkStatus();
  best_ = now;
  has_best_ = true;
  return SaveCoarseHeads(*heads_, out_);
}

absl::Status CoarseTrainer::Run() {
  try {
    const bool teach = options_.distillation_weight > 0;
    const auto mine_at =
        static_cast<int64_t>(options_.teacher_start * static_cast<double>(options_.steps));
    heads_->train();
    ProgressBar bar("training coarse heads", options_.steps);
    while (step_ < options_.steps) {
      if (teach && step_ == mine_at) RETURN_IF_ERROR(Mine());
      RETURN_IF_ERROR(Step());
      if (step_ % options_.validation_steps == 0 || step_ == options_.steps) {
        RETURN_IF_ERROR(Validate());
      }
      std::string note = absl::StrFormat("loss %.3f", running_loss_);
      if (has_best_) {
        absl::StrAppendFormat(&note, ", R@10 i2t %.1f t2i %.1f", last_.image_to_text.own[1],
                              last_.text_to_image.own[1]);
      }
      bar.SetNote(std::move(note));
      bar.Advance();
      RETURN_IF_ERROR(Stopped());
    }
    bar.Finish();
    return absl::OkStatus();
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("LibTorch: ", error.what_without_backtrace()));
  }
}

}  // namespace dime
