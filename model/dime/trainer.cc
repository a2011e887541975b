#include "model/dime/trainer.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "index/progress_bar.h"
#include "index/safetensors_file.h"
#include "index/status_macros.h"
#include "model/dime/device.h"
#include "model/dime/mixed_precision.h"
#include "model/dime/similarity.h"
#include "model/dime/tensor_ops.h"
#include "model/dime/weights.h"

namespace dime {
namespace {

namespace fs = std::filesystem;

absl::Status CopyOrLinkBert(const std::string& from, const std::string& to, bool link) {
  std::error_code error;
  if (link) {
    fs::create_directory_symlink(fs::canonical(from, error), to, error);
    // A run for the other direction may have made it a moment ago.
    if (error == std::errc::file_exists) error.clear();
  } else {
    fs::create_directories(to, error);
    for (const char* name : {"config.json", "bert_config.json", "model.safetensors", "vocab.txt"}) {
      if (error || !fs::exists(fs::path(from) / name)) continue;
      fs::copy_file(fs::path(from) / name, fs::path(to) / name, error);
    }
  }
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("cannot put ", from, " at ", to, ": ", error.message()));
  }
  return absl::OkStatus();
}

// Opens a CSV file whose first column is the step, with its rows up to `last_step` kept: those that
// a stopped run wrote after its last state are made again.
void OpenCsv(const std::string& path, const std::string& header, int64_t last_step,
             std::ofstream& out) {
  std::vector<std::string> kept;
  if (last_step > 0) {
    std::ifstream before(path);
    std::string line;
    std::getline(before, line);
    while (std::getline(before, line)) {
      int64_t step = 0;
      if (absl::SimpleAtoi(line.substr(0, line.find(',')), &step) && step <= last_step) {
        kept.push_back(line);
      }
    }
  }
  out.open(path);
  out << header << "\n";
  for (const std::string& line : kept) out << line << "\n";
}

}  // namespace

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(const Options& options,
                                                         const std::atomic<bool>* stop) {
  std::unique_ptr<Trainer> trainer(new Trainer(options, stop));
  try {
    RETURN_IF_ERROR(trainer->Prepare());
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("LibTorch: ", error.what_without_backtrace()));
  }
  return trainer;
}

absl::Status Trainer::Prepare() {
  UseAvailableCores();
  ASSIGN_OR_RETURN(device_, ParseDevice(options_.device));
  mixed_precision_ = options_.mixed_precision.value_or(device_.is_cuda());
  ASSIGN_OR_RETURN(train_, PrecomputedDataset::Open(options_.data, options_.train_split));
  ASSIGN_OR_RETURN(validation_, PrecomputedDataset::Open(options_.data, options_.validation_split));
  for (const PrecomputedDataset* split : {train_.get(), validation_.get()}) {
    if (split->num_captions() == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(options_.data, ": a split without captions cannot be trained on"));
    }
    if (split->feature_dim() != train_->feature_dim()) {
      return absl::InvalidArgumentError(absl::StrCat(
          options_.data, ": the splits' features differ in width: ", train_->feature_dim(), " and ",
          split->feature_dim()));
    }
  }
  const BatchSampler::Options& batches = options_.batches;
  if (batches.batch_size < 2 || batches.group_size < 1 ||
      batches.batch_size % batches.group_size != 0) {
    return absl::InvalidArgumentError(
        "the batch size must be at least 2 and a multiple of the group size");
  }
  if (!options_.positives.empty()) {
    ASSIGN_OR_RETURN(positives_, LoadPositives(options_.positives, train_->num_captions()));
  }
  RETURN_IF_ERROR(PrepareSamplers());
  total_steps_ = options_.alignment_steps +
                 options_.epochs * sampler_->steps_per_epoch() * (options_.group_steps + 1);
  if (options_.max_steps > 0) total_steps_ = std::min(total_steps_, options_.max_steps);

  ASSIGN_OR_RETURN(backbone_, TextBackbone::Load(options_.bert, {}, device_));
  RETURN_IF_ERROR(PrepareOutput());

  torch::manual_seed(static_cast<int64_t>(batches.seed));
  const DirectionConfig& model = *config_.of(options_.direction);
  model_ = std::make_shared<DirectionModelImpl>(options_.direction, model, backbone_.hidden_size);
  RETURN_IF_ERROR(LoadInitialModel());
  model_->to(device_);
  optimizer_ = std::make_unique<torch::optim::Adam>(
      model_->parameters(), torch::optim::AdamOptions(options_.learning_rate));
  backbone_.bert->train(options_.bert_dropout);

  if (options_.resume) RETURN_IF_ERROR(LoadState());
  ASSIGN_OR_RETURN(
      states_, BertStateCache::Create(backbone_, device_, train_->captions(),
                                      {.bert = options_.bert,
                                       .data = options_.data,
                                       .split = options_.train_split,
                                       .max_words = options_.max_words,
                                       .keep = !options_.bert_dropout,
                                       .max_bytes = options_.state_cache_bytes,
                                       .file = options_.state_cache,
                                       .part_tag = std::string(DirectionName(options_.direction))},
                                      stop_));

  OpenCsv(directory_ + "/steps.csv",
          "step,within_groups,epoch,learning_rate,loss,rank_loss,path_loss,global_loss,"
          "alignment_loss,found,gradient_norm,seconds",
          step_, steps_csv_);
  OpenCsv(directory_ + "/validation.csv",
          "step,i2t_r1,i2t_r5,i2t_r10,t2i_r1,t2i_r5,t2i_r10,rsum,best", step_, validation_csv_);
  if (!steps_csv_ || !validation_csv_) {
    return absl::UnavailableError(absl::StrCat("cannot write CSV files in ", directory_));
  }
  return absl::OkStatus();
}

absl::Status Trainer::PrepareOutput() {
  const std::string& out = options_.out;
  directory_ = absl::StrCat(out, "/training/", DirectionName(options_.direction));
  std::error_code error;
  fs::create_directories(directory_, error);
  if (error) {
    return absl::UnavailableError(absl::StrCat("cannot make ", directory_, ": ", error.message()));
  }
  config_.max_words = options_.max_words;
  config_.num_regions = train_->num_regions();
  if (fs::exists(out + "/config.json")) {
    ASSIGN_OR_RETURN(const ModelConfig before, ModelConfig::Load(out + "/config.json"));
    if (before.max_words != config_.max_words || before.num_regions != config_.num_regions) {
      return absl::FailedPreconditionError(
          absl::StrCat(out, " holds a model of ", before.max_words, " words and ",
                       before.num_regions, " regions, this run would make one of ",
                       config_.max_words, " and ", config_.num_regions, "; choose another --out"));
    }
    config_ = before;
  }
  const std::string bert = out + "/bert";
  if (!fs::exists(bert)) {
    RETURN_IF_ERROR(CopyOrLinkBert(options_.bert, bert, options_.link_bert));
  }
  ASSIGN_OR_RETURN(const std::string given, BertFingerprint(options_.bert));
  ASSIGN_OR_RETURN(const std::string kept, BertFingerprint(bert));
  if (given != kept) {
    return absl::FailedPreconditionError(
        absl::StrCat(bert, " is another BERT than ", options_.bert, "; choose another --out"));
  }
  DirectionConfig direction = options_.model;
  direction.weights = absl::StrCat(DirectionName(options_.direction), ".safetensors");
  direction.bert = "bert";
  direction.feature_dim = train_->feature_dim();
  config_.directions[static_cast<int>(options_.direction)] = direction;
  for (const std::optional<DirectionConfig>& part : config_.directions) {
    if (part.has_value() && part->feature_dim != direction.feature_dim) {
      return absl::FailedPreconditionError(
          absl::StrCat(out, " holds a model of features ", part->feature_dim, " wide, the data's ",
                       "are ", direction.feature_dim, "; choose another --out"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<GroupSampler>> Trainer::MakeGroupSampler(int64_t batch_size,
                                                                        uint64_t seed) const {
  const int group_size = options_.batches.group_size;
  if (group_size < 2 || batch_size < group_size || batch_size % group_size != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "steps on groups need groups of at least 2 images and batches that are a multiple of "
        "that; the group size is ",
        group_size, ", the batch size ", batch_size));
  }
  auto sampler = std::make_unique<GroupSampler>(
      GroupSampler::Options{.num_images = train_->num_images(),
                            .captions_per_image = train_->captions_per_image(),
                            .group_size = group_size,
                            .num_groups = static_cast<int>(batch_size / group_size),
                            .seed = seed},
      positives_);
  if (sampler->num_groups() * group_size < batch_size) {
    return absl::InvalidArgumentError(
        absl::StrCat("split ", options_.train_split, " has ", sampler->num_groups(),
                     " groups whose captions tell their images apart, fewer than a batch of ",
                     batch_size, " images takes"));
  }
  return sampler;
}

absl::Status Trainer::PrepareSamplers() {
  BatchSampler::Options batches = options_.batches;
  batches.num_images = train_->num_images();
  batches.captions_per_image = train_->captions_per_image();
  const auto check_size = [&](int64_t size) {
    if (batches.num_images / batches.group_size * batches.group_size >= size) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(absl::StrCat("split ", options_.train_split, " has ",
                                                   batches.num_images,
                                                   " images, fewer than a batch of ", size));
  };
  RETURN_IF_ERROR(check_size(batches.batch_size));
  sampler_ = std::make_unique<BatchSampler>(batches);
  if (options_.group_steps > 0) {
    ASSIGN_OR_RETURN(group_sampler_, MakeGroupSampler(options_.group_batch_size, batches.seed));
  }
  if (options_.alignment_steps == 0) return absl::OkStatus();
  if (batches.group_size > 1) {
    ASSIGN_OR_RETURN(alignment_group_sampler_,
                     MakeGroupSampler(options_.alignment_batch_size, batches.seed + 1));
    return absl::OkStatus();
  }
  if (options_.alignment_batch_size < 2) {
    return absl::InvalidArgumentError("the alignment batch size must be at least 2");
  }
  RETURN_IF_ERROR(check_size(options_.alignment_batch_size));
  batches.batch_size = static_cast<int>(options_.alignment_batch_size);
  batches.extra_captions = batches.extra_images = 0;
  alignment_sampler_ = std::make_unique<BatchSampler>(batches);
  return absl::OkStatus();
}

absl::Status Trainer::LoadInitialModel() {
  const std::string& from = options_.initial_model;
  if (from.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const ModelConfig config, ModelConfig::Load(from + "/config.json"));
  const std::optional<DirectionConfig>& part = config.of(options_.direction);
  if (!part.has_value()) {
    return absl::FailedPreconditionError(
        absl::StrCat(from, " has no ", DirectionName(options_.direction), " model to start from"));
  }
  ASSIGN_OR_RETURN(const auto file, SafetensorsFile::Open(absl::StrCat(from, "/", part->weights)));
  return LoadWeights(*file, *model_, [](absl::string_view name) {
    return absl::EndsWith(name, "num_batches_tracked");
  });
}

// Pairs that are true though not on the diagonal: a caption drawn as a negative may belong to an
// image of the batch, or be known to describe it.
torch::Tensor Trainer::NotNegative(const BatchSampler::Batch& batch) const {
  const auto images = static_cast<int64_t>(batch.images.size());
  const auto captions = static_cast<int64_t>(batch.captions.size());
  torch::Tensor mask = torch::zeros({images, captions}, torch::kBool);
  auto marks = mask.accessor<bool, 2>();
  for (int64_t c = 0; c < captions; ++c) {
    const int64_t caption = batch.captions[c];
    for (int64_t i = 0; i < images; ++i) {
      marks[i][c] = IsTrueOf(caption, batch.images[i]);
    }
  }
  return mask.to(device_);
}

bool Trainer::IsTrueOf(int64_t caption, int64_t image) const {
  return image == train_->ImageOfCaption(caption) ||
         (!positives_.empty() &&
          std::binary_search(positives_[caption].begin(), positives_[caption].end(), image));
}

absl::StatusOr<TrainingBatch> Trainer::MakeBatch(const BatchSampler::Batch& batch,
                                                 int64_t group_size) {
  TrainingBatch made;
  const auto images = static_cast<int64_t>(batch.images.size());
  const int64_t row_size = int64_t{train_->num_regions()} * train_->feature_dim();
  const torch::Tensor features =
      torch::empty({images, train_->num_regions(), train_->feature_dim()});
  for (int64_t i = 0; i < images; ++i) {
    RETURN_IF_ERROR(train_->ReadFeatures(
        batch.images[i], 1,
        {features.data_ptr<float>() + i * row_size, static_cast<size_t>(row_size)}));
  }
  made.features = features.to(device_);
  {
    std::optional<MixedPrecision> mixed;
    if (mixed_precision_) mixed.emplace(device_.type());
    made.states = states_->States(batch.captions, &made.lengths);
  }
  made.group_size = group_size;
  if (group_size == 0) {
    made.not_negative = NotNegative(batch);
    made.pairs = options_.batches.batch_size;
    return made;
  }
  made.pairs = images;
  made.not_negative = torch::zeros({images / group_size, group_size, group_size}, torch::kBool);
  auto marks = made.not_negative.accessor<bool, 3>();
  for (int64_t g = 0; g < images / group_size; ++g) {
    for (int64_t i = 0; i < group_size; ++i) {
      for (int64_t c = 0; c < group_size; ++c) {
        marks[g][i][c] =
            IsTrueOf(batch.captions[g * group_size + c], batch.images[g * group_size + i]);
      }
    }
  }
  made.not_negative = made.not_negative.to(device_);
  return made;
}

double Trainer::Epoch(int64_t step) const {
  return static_cast<double>(step) /
         static_cast<double>(sampler_->steps_per_epoch() * (options_.group_steps + 1));
}

double Trainer::LearningRate(int64_t step) const {
  const double epoch = Epoch(step);
  const double rate =
      options_.learning_rate * std::pow(0.1, std::floor(epoch / options_.learning_rate_epochs));
  if (step >= options_.warmup_steps) return rate;
  return rate * static_cast<double>(step + 1) / static_cast<double>(options_.warmup_steps);
}

absl::Status Trainer::Step() {
  const absl::Time start = absl::Now();
  const double rate = LearningRate(step_);
  for (auto& group : optimizer_->param_groups()) {
    static_cast<torch::optim::AdamOptions&>(group.options()).lr(rate);
  }
  const bool aligning = step_ < options_.alignment_steps;
  const int64_t step = step_ - options_.alignment_steps;  // of those with the interaction
  const int64_t ordinary = step / (options_.group_steps + 1);
  const bool grouped = IsGroupStep(step_);
  TrainingBatch batch;
  if (aligning) {
    ASSIGN_OR_RETURN(batch, MakeBatch(alignment_group_sampler_ != nullptr
                                          ? alignment_group_sampler_->Sample(step_)
                                          : alignment_sampler_->Sample(step_),
                                      /*group_size=*/0));
    batch.alignment_group = alignment_group_sampler_ != nullptr ? options_.batches.group_size : 1;
  } else if (grouped) {
    ASSIGN_OR_RETURN(
        batch, MakeBatch(group_sampler_->Sample(step - ordinary - 1), options_.batches.group_size));
  } else {
    ASSIGN_OR_RETURN(batch, MakeBatch(sampler_->Sample(ordinary), /*group_size=*/0));
  }
  LossOptions loss_options = options_.loss;
  loss_options.contrastive = ordinary < options_.contrastive_steps;
  loss_options.mixed_precision = mixed_precision_;
  model_->train(!grouped);
  optimizer_->zero_grad();
  const StepLoss loss = ComputeStepLoss(*model_, batch, loss_options);
  const double value = loss.total.item<double>();
  if (!std::isfinite(value)) {
    return absl::InternalError(
        absl::StrCat("the loss of step ", step_, " is ", value, "; try a lower learning rate"));
  }
  loss.total.backward();
  const double limit =
      options_.gradient_clip > 0 ? options_.gradient_clip : std::numeric_limits<double>::infinity();
  const double norm = torch::nn::utils::clip_grad_norm_(model_->parameters(), limit);
  if (!std::isfinite(norm)) {  // the last saved state is still whole
    return absl::InternalError(absl::StrCat("the gradient of step ", step_, " has the norm ", norm,
                                            "; try a lower learning rate"));
  }
  optimizer_->step();

  const auto number = [](const torch::Tensor& x) {
    return x.defined() ? absl::StrFormat("%.6g", x.item<double>()) : std::string();
  };
  steps_csv_ << absl::StrFormat(
      "%d,%d,%.4f,%.3g,%.6g,%s,%s,%s,%s,%s,%.4g,%.3f\n", step_ + 1, grouped, Epoch(step_), rate,
      value, number(loss.rank), number(loss.path), number(loss.global), number(loss.alignment),
      number(loss.found), norm, absl::ToDoubleSeconds(absl::Now() - start));
  const auto smooth = [](double before, double now) {
    return before == 0 ? now : 0.98 * before + 0.02 * now;
  };
  if (grouped || (aligning && loss.found.defined())) {
    running_found_ = smooth(running_found_, loss.found.item<double>());
  } else {
    running_loss_ = smooth(running_loss_, value);
  }
  ++step_;
  return absl::OkStatus();
}

absl::Status Trainer::Validate() {
  model_->eval();
  backbone_.bert->eval();
  const int64_t images = options_.validation_images > 0
                             ? std::min(options_.validation_images, validation_->num_images())
                             : validation_->num_images();
  const int64_t captions = images * validation_->captions_per_image();
  ASSIGN_OR_RETURN(const EncodedSplit split,
                   EncodeSplit(*model_, backbone_, options_.max_words, device_, *validation_,
                               images, [](int64_t) {}));
  const torch::Tensor similarity =
      Similarity(*model_, split, 0, images, 0, captions, [](int64_t) {});
  last_validation_ =
      ComputeMetrics({similarity.data_ptr<float>(), static_cast<size_t>(similarity.numel())},
                     images, captions, validation_->captions_per_image());
  backbone_.bert->train(options_.bert_dropout);
  const RankMetrics& i2t = last_validation_.image_to_text;
  const RankMetrics& t2i = last_validation_.text_to_image;
  const bool better = last_validation_.selection() > best_;
  validation_csv_ << absl::StrFormat("%d,%.2f,%.2f,%.2f,%.2f,%.2f,%.2f,%.2f,%d\n", step_, i2t.r1,
                                     i2t.r5, i2t.r10, t2i.r1, t2i.r5, t2i.r10,
                                     last_validation_.rsum(), better);
  validation_csv_.flush();
  steps_csv_.flush();
  if (better) {
    best_ = last_validation_.selection();
    RETURN_IF_ERROR(SaveModel());
  }
  return SaveState();
}

absl::Status Trainer::SaveModel() {
  RETURN_IF_ERROR(SaveWeights(
      *model_, absl::StrCat(options_.out, "/", config_.of(options_.direction)->weights)));
  // The other direction may have come in the meantime.
  const std::string path = options_.out + "/config.json";
  ModelConfig config = config_;
  if (fs::exists(path)) {
    ASSIGN_OR_RETURN(config, ModelConfig::Load(path));
    config.directions[static_cast<int>(options_.direction)] = config_.of(options_.direction);
  }
  return config.Save(path);
}

std::string Trainer::OptionsKey() const {
  const BatchSampler::Options& b = options_.batches;
  const DirectionConfig& m = options_.model;
  const LossOptions& l = options_.loss;
  return absl::StrCat(
      DirectionName(options_.direction), " sizes ", m.embed_size, " ", m.num_heads, " ",
      m.feed_forward_size, " ", m.router_size, " ", m.raw_feature_norm, " ", m.lambda_softmax,
      " words ", options_.max_words, " batch ", b.batch_size, " ", b.group_size, " ",
      b.extra_captions, " ", b.extra_images, " seed ", b.seed, " images ", train_->num_images(),
      " rate ", options_.learning_rate, " ", options_.learning_rate_epochs, " ",
      options_.warmup_steps, " clip ", options_.gradient_clip, " loss ", l.margin, " ",
      l.hardest_negatives, " ", l.path_weight, " ", l.temperature, " ", l.global_weight, " ",
      options_.contrastive_steps, " dropout ", options_.bert_dropout, " groups ",
      options_.group_steps, " ", options_.group_batch_size, " alignment ", options_.alignment_steps,
      " ", options_.alignment_batch_size, " ", l.alignment_weight, " ", l.alignment_temperature,
      mixed_precision_ ? " bf16" : "");
}

absl::Status Trainer::SaveState() {
  const std::string path = directory_ + "/state.pt";
  torch::serialize::OutputArchive archive, model, optimizer;
  model_->save(model);
  optimizer_->save(optimizer);
  archive.write("model", model);
  archive.write("optimizer", optimizer);
  archive.write("step", torch::IValue(step_));
  archive.write("best", torch::IValue(best_));
  archive.write("running_loss", torch::IValue(running_loss_));
  archive.write("options", torch::IValue(OptionsKey()));
  archive.write("cpu_random", at::detail::getDefaultCPUGenerator().get_state());
  if (device_.is_cuda()) {
    archive.write("cuda_random", at::globalContext().defaultGenerator(device_).get_state());
  }
  archive.save_to(path + ".part");
  std::error_code error;
  fs::rename(path + ".part", path, error);
  if (error) return absl::UnavailableError(absl::StrCat("cannot write ", path));
  return absl::OkStatus();
}

absl::Status Trainer::LoadState() {
  const std::string path = directory_ + "/state.pt";
  if (!fs::exists(path)) {
    return absl::NotFoundError(absl::StrCat("there is no ", path, " to resume from"));
  }
  torch::serialize::InputArchive archive, model, optimizer;
  try {
    archive.load_from(path, device_);
    torch::IValue value;
    archive.read("options", value);
    if (value.toStringRef() != OptionsKey()) {
      return absl::FailedPreconditionError(absl::StrCat(
          path, " was made with other options: ", value.toStringRef(), "; now: ", OptionsKey()));
    }
    archive.read("model", model);
    model_->load(model);
    archive.read("optimizer", optimizer);
    optimizer_->load(optimizer);
    archive.read("step", value);
    step_ = value.toInt();
    archive.read("best", value);
    best_ = value.toDouble();
    archive.read("running_loss", value);
    running_loss_ = value.toDouble();
    torch::Tensor random;
    archive.read("cpu_random", random);
    auto cpu = at::detail::getDefaultCPUGenerator();
    cpu.set_state(random.cpu());
    if (device_.is_cuda() && archive.try_read("cuda_random", random)) {
      auto generator = at::globalContext().defaultGenerator(device_);
      generator.set_state(random.cpu());
    }
  } catch (const c10::Error& error) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is damaged: ", error.what_without_backtrace()));
  }
  return absl::OkStatus();
}

absl::Status Trainer::Run() {
  try {
    ProgressBar bar(absl::StrCat("training ", DirectionName(options_.direction)), total_steps_);
    bar.AdvanceTo(step_);
    while (step_ < total_steps_) {
      RETURN_IF_ERROR(Step());
      if (step_ % options_.validation_steps == 0 || step_ == total_steps_) {
        RETURN_IF_ERROR(Validate());
      }
      std::string note = absl::StrFormat("loss %.3f", running_loss_);
      if (group_sampler_ != nullptr) {
        absl::StrAppendFormat(&note, ", told apart %.1f%%", 100 * running_found_);
      }
      if (best_ >= 0) {
        absl::StrAppendFormat(&note, ", R@1 i2t %.1f t2i %.1f", last_validation_.image_to_text.r1,
                              last_validation_.text_to_image.r1);
      }
      bar.SetNote(std::move(note));
      bar.Advance();
      if (stop_ != nullptr && *stop_ && step_ < total_steps_) {
        RETURN_IF_ERROR(SaveState());
        steps_csv_.flush();
        return absl::CancelledError(
            absl::StrCat("stopped at step ", step_, "; the same command with --resume goes on"));
      }
    }
    bar.Finish();
    return absl::OkStatus();
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("LibTorch: ", error.what_without_backtrace()));
  }
}

}  // namespace dime
