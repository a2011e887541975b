// A whole training step against finite differences, and exact resume.
#include <torch/torch.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "gtest/gtest.h"
#include "index/npy_file.h"
#include "index/safetensors_file.h"
#include "model/dime/losses.h"
#include "model/dime/mixed_precision.h"
#include "model/dime/trainer.h"
#include "model/dime/training_step.h"
#include "model/dime/weights.h"
#include "model/kernels/training_kernel.h"

namespace dime {
namespace {

DirectionConfig TinyConfig() {
  return {.embed_size = 8,
          .feature_dim = 6,
          .num_heads = 2,
          .feed_forward_size = 10,
          .router_size = 7,
          .lambda_softmax = 4};
}

TrainingBatch TinyBatch() {
  const auto options = torch::TensorOptions(torch::kFloat64);
  return {.features = torch::rand({5, 3, 6}, options),
          .states = torch::randn({6, 5, 12}, options),
          .lengths = torch::tensor({5, 3, 4, 2, 5, 3}),
          .pairs = 4};
}

class StepGradientTest : public testing::TestWithParam<Direction> {};

// Every parameter's gradient, along a random line through it.
TEST_P(StepGradientTest, AgreesWithFiniteDifferences) {
  torch::manual_seed(11);
  DirectionModel model(GetParam(), TinyConfig(), 12);
  model->to(torch::kFloat64);
  model->train();
  const TrainingBatch batch = TinyBatch();
  for (const LossOptions& options :
       {LossOptions{}, LossOptions{.hardest_negatives = false, .global_weight = 0.5},
        LossOptions{.contrastive = true}, LossOptions{.alignment_weight = 0.5}}) {
    model->zero_grad();
    ComputeStepLoss(*model, batch, options).total.backward();
    int checked = 0;
    for (const auto& item : model->named_parameters()) {
      torch::Tensor parameter = item.value();
      if (!parameter.grad().defined()) continue;  // dead weights and what the direction lacks
      const torch::Tensor line = torch::randn_like(parameter);
      const double expected = (parameter.grad() * line).sum().item<double>();
      constexpr double kStep = 1e-6;
      const auto loss_at = [&](double offset) {
        torch::NoGradGuard no_grad;
        const torch::Tensor before = parameter.clone();
        parameter.add_(line, offset);
        const double loss = ComputeStepLoss(*model, batch, options).total.item<double>();
        parameter.copy_(before);
        return loss;
      };
      const double actual = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
      EXPECT_NEAR(actual, expected, 1e-5 * (1 + std::abs(expected))) << item.key();
      ++checked;
    }
    EXPECT_GT(checked, 50);
  }
}

INSTANTIATE_TEST_SUITE_P(Directions, StepGradientTest, testing::ValuesIn(kDirections),
                         [](const auto& info) { return std::string(DirectionName(info.param)); });

TEST(RankingLossTest, TrueButUnpairedCaptionsAreNoNegatives) {
  const torch::Tensor scores = torch::tensor({{0.5f, 0.9f}, {0.1f, 0.6f}});
  // Image 0 and caption 1: 0.2 + 0.9 - 0.5 by row, 0.2 + 0.9 - 0.6 by column.
  EXPECT_NEAR(RankingLoss(scores, 0.2, true).item<float>(), 0.6 + 0.5, 1e-6);
  const torch::Tensor mask = torch::tensor({{false, true}, {false, false}});
  EXPECT_NEAR(RankingLoss(scores, 0.2, true, mask).item<float>(), 0, 1e-6);
}

TEST(ContrastiveLossTest, IsTheCrossEntropyOfBothSides) {
  const torch::Tensor scores = torch::tensor({{1.0f, 0.0f}, {0.0f, 1.0f}});
  EXPECT_NEAR(ContrastiveLoss(scores, 0.5).item<float>(), std::log(1 + std::exp(-2.0)), 1e-6);
}

TEST(GroupContrastiveLossTest, LooksWithinGroupsAlone) {
  const torch::Tensor scores =
      torch::tensor({{{1.0f, 0.0f}, {0.0f, 1.0f}}, {{0.5f, 0.5f}, {0.5f, 0.5f}}});
  const double sure = std::log(1 + std::exp(-2.0)), chance = std::log(2.0);
  EXPECT_NEAR(GroupContrastiveLoss(scores, 0.5).item<float>(), (sure + chance) / 2, 1e-6);
  // In the second group nothing is left to be told apart.
  torch::Tensor true_of_both = torch::zeros({2, 2, 2}, torch::kBool);
  true_of_both[1].fill_(true);
  EXPECT_NEAR(GroupContrastiveLoss(scores, 0.5, true_of_both).item<float>(), sure / 2, 1e-6);
}

TEST(AlignmentScoresTest, MeanOverValidWordsOfTheNearestRegion) {
  const torch::Tensor regions = torch::tensor({{{1.0f, 0.0f}, {0.0f, 1.0f}},     // image 0
                                               {{-1.0f, 0.0f}, {0.6f, 0.8f}}});  // image 1
  const torch::Tensor words = torch::tensor({{{1.0f, 0.0f}, {0.0f, 1.0f}, {9.0f, 9.0f}}});
  const torch::Tensor mask = torch::tensor({{true, true, false}});
  const torch::Tensor scores = AlignmentScores(regions, words, mask);
  ASSERT_EQ(scores.sizes(), (std::vector<int64_t>{2, 1}));
  EXPECT_NEAR(scores[0][0].item<float>(), 1, 1e-6);
  EXPECT_NEAR(scores[1][0].item<float>(), (0.6 + 0.8) / 2, 1e-6);
}

// A float32 model and batch of its own size, ordinary or within groups.
struct StepSubject {
  StepSubject(Direction direction, int64_t group_size) {
    torch::manual_seed(13);
    model = DirectionModel(direction, TinyConfig(), 12);
    batch.features = torch::rand({6, 3, 6});
    batch.states = torch::randn({6, 5, 12});
    batch.lengths = torch::tensor({5, 3, 4, 2, 5, 3});
    batch.pairs = 6;
    batch.group_size = group_size;
    if (group_size != 0) {
      const std::vector<int64_t> shape = {6 / group_size, group_size, group_size};
      batch.not_negative = torch::zeros(shape, torch::kBool);
    }
  }
  DirectionModel model{nullptr};
  TrainingBatch batch;
};

// All gradients of a step in one row.
torch::Tensor StepGradients(DirectionModelImpl& model, const TrainingBatch& batch,
                            const LossOptions& options, double* loss) {
  model.zero_grad();
  const torch::Tensor total = ComputeStepLoss(model, batch, options).total;
  total.backward();
  *loss = total.item<double>();
  std::vector<torch::Tensor> gradients;
  for (const torch::Tensor& parameter : model.parameters()) {
    if (parameter.grad().defined()) gradients.push_back(parameter.grad().flatten());
  }
  return torch::cat(gradients);
}

TEST(FusedStepTest, HasTheModulesLossAndGradients) {
  if (!kernels::SupportedFloat32().has_value()) GTEST_SKIP() << "this processor has no AVX2";
  for (Direction direction : kDirections) {
    for (const int64_t group_size : {0, 2, 3}) {
      StepSubject subject(direction, group_size);
      subject.model->train(group_size == 0);  // as the trainer has it
      LossOptions options;
      double fused_loss = 0, loss = 0;
      const torch::Tensor fused =
          StepGradients(*subject.model, subject.batch, options, &fused_loss);
      options.fused = false;
      const torch::Tensor modules = StepGradients(*subject.model, subject.batch, options, &loss);
      EXPECT_NEAR(fused_loss, loss, 1e-4 * std::abs(loss));
      ASSERT_EQ(fused.sizes(), modules.sizes());
      EXPECT_LE((fused - modules).norm().item<double>(), 1e-3 * modules.norm().item<double>());
    }
  }
}

// Rounded as bfloat16 rounds, a step still goes the same way.
TEST(MixedPrecisionTest, AStepGoesWhereItWouldInFloat32) {
  for (Direction direction : kDirections) {
    StepSubject subject(direction, 0);
    const LossOptions options{.contrastive = true, .temperature = 0.5};
    LossOptions rounded = options;
    rounded.mixed_precision = true;
    double mixed_loss = 0, loss = 0;
    const torch::Tensor mixed = StepGradients(*subject.model, subject.batch, rounded, &mixed_loss);
    EXPECT_FALSE(MixedPrecision::IsOn(torch::kCPU));
    const torch::Tensor exact = StepGradients(*subject.model, subject.batch, options, &loss);
    EXPECT_NEAR(mixed_loss, loss, 0.02 * std::abs(loss));
    EXPECT_NE(mixed_loss, loss);
    EXPECT_EQ(mixed.scalar_type(), torch::kFloat32);
    EXPECT_GT(torch::cosine_similarity(mixed, exact, 0).item<double>(), 0.98);
  }
}

// A step within groups scores the very pairs that the whole matrix has in its diagonal blocks.
TEST(GroupStepTest, ScoresAsTheWholeMatrixDoes) {
  for (Direction direction : kDirections) {
    torch::manual_seed(12);
    DirectionModel model(direction, TinyConfig(), 12);
    model->to(torch::kFloat64);
    model->eval();
    TrainingBatch batch = TinyBatch();
    batch.features = batch.features.narrow(0, 0, 4);
    batch.states = batch.states.narrow(0, 0, 4);
    batch.lengths = batch.lengths.narrow(0, 0, 4);
    const ImageHeadsImpl::Output images = model->image->forward(batch.features);
    const TextHeadsImpl::Output texts = model->text->forward(batch.states);
    const torch::Tensor mask = torch::arange(5).unsqueeze(0) < batch.lengths.unsqueeze(1);
    const torch::Tensor whole =
        model
            ->Score(images.regions.unsqueeze(1), images.image.unsqueeze(1),
                    texts.words.unsqueeze(0), texts.sentence.unsqueeze(0), mask.unsqueeze(0))
            .scores;
    const torch::Tensor blocks =
        torch::stack({whole.slice(0, 0, 2).slice(1, 0, 2), whole.slice(0, 2, 4).slice(1, 2, 4)});
    batch.group_size = 2;
    batch.not_negative = torch::zeros({2, 2, 2}, torch::kBool);
    const LossOptions options;
    const StepLoss loss = ComputeStepLoss(*model, batch, options);
    EXPECT_NEAR(loss.total.item<double>(),
                GroupContrastiveLoss(blocks, options.temperature).item<double>(), 1e-9);
    const double found =
        ((blocks.select(2, 0).argmax(1) == 0).sum() + (blocks.select(2, 1).argmax(1) == 1).sum())
            .item<double>() /
        4;
    EXPECT_NEAR(loss.found.item<double>(), found, 1e-6);
  }
}

// A little world in the precomputed layout, and a little BERT.
class TrainerTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "/trainer_test_" + std::to_string(getpid());
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_ + "/data");
    std::filesystem::create_directories(root_ + "/bert");
    torch::manual_seed(5);
    for (const std::string split : {"train", "dev"}) {
      const torch::Tensor features = torch::rand({8, 3, 6});
      auto writer = NpyWriter::Create(root_ + "/data/" + split + "_ims.npy", {3, 6});
      ASSERT_TRUE(writer.ok()) << writer.status();
      ASSERT_TRUE((*writer)
                      ->Append({features.data_ptr<float>(), static_cast<size_t>(features.numel())})
                      .ok());
      ASSERT_TRUE((*writer)->Finish().ok());
      std::ofstream captions(root_ + "/data/" + split + "_caps.txt");
      const char* words[] = {"red", "blue", "dog", "cat"};
      for (int i = 0; i < 40; ++i) {
        captions << words[i % 4] << " " << words[i / 4 % 4] << " " << words[i / 16] << "\n";
      }
    }
    std::ofstream(root_ + "/bert/vocab.txt") << "[PAD]\n[UNK]\n[CLS]\n[SEP]\nred\nblue\ndog\ncat\n";
    std::ofstream(root_ + "/bert/config.json")
        << R"({"vocab_size": 8, "hidden_size": 12, "num_hidden_layers": 1,
               "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 16})";
    auto config = BertConfig::Load(root_ + "/bert/config.json");
    ASSERT_TRUE(config.ok()) << config.status();
    Bert bert(*config);
    ASSERT_TRUE(SaveWeights(*bert, root_ + "/bert/model.safetensors").ok());
    options_.data = root_ + "/data";
    options_.bert = root_ + "/bert";
    options_.out = root_ + "/model";
    options_.device = "cpu";
    options_.model = TinyConfig();
    options_.max_words = 5;
    options_.batches.batch_size = 4;
    options_.batches.extra_captions = 4;
    options_.epochs = 1000;
    options_.max_steps = 6;
    options_.validation_steps = 3;
    options_.learning_rate = 1e-2;
  }
  absl::Status Train(const Trainer::Options& options) {
    auto trainer = Trainer::Create(options, nullptr);
    return trainer.ok() ? (*trainer)->Run() : trainer.status();
  }
  // Bytes of the state after the last step, weights and all.
  std::map<std::string, torch::Tensor> FinalState(const std::string& out) {
    torch::serialize::InputArchive archive, model;
    archive.load_from(out + "/training/i2t/state.pt");
    archive.read("model", model);
    DirectionModel loaded(Direction::kI2t, TinyConfig(), 12);
    loaded->load(model);
    std::map<std::string, torch::Tensor> state;
    for (const auto& item : loaded->named_parameters()) state[item.key()] = item.value();
    for (const auto& item : loaded->named_buffers()) state[item.key()] = item.value();
    return state;
  }
  std::string root_;
  Trainer::Options options_;
};

TEST_F(TrainerTest, ResumesExactly) {
  ASSERT_TRUE(Train(options_).ok());
  const auto whole = FinalState(options_.out);

  Trainer::Options parts = options_;
  parts.out = root_ + "/resumed";
  parts.max_steps = 3;
  ASSERT_TRUE(Train(parts).ok());
  parts.max_steps = 6;
  parts.resume = true;
  const absl::Status status = Train(parts);
  ASSERT_TRUE(status.ok()) << status;
  for (const auto& [name, tensor] : FinalState(parts.out)) {
    EXPECT_TRUE(tensor.equal(whole.at(name))) << name;
  }
}

TEST_F(TrainerTest, ResumesExactlyAmongStepsOnGroups) {
  options_.batches.group_size = 2;
  options_.batches.extra_captions = 0;
  options_.group_steps = 1;
  options_.group_batch_size = 6;
  options_.alignment_steps = 2;
  options_.alignment_batch_size = 8;
  options_.loss.alignment_weight = 0.1;
  ASSERT_TRUE(Train(options_).ok());
  const auto whole = FinalState(options_.out);

  Trainer::Options parts = options_;
  parts.out = root_ + "/resumed";
  for (int steps : {1, 4, 6}) {  // within alignment, after a step within groups, to the end
    parts.max_steps = steps;
    const absl::Status status = Train(parts);
    ASSERT_TRUE(status.ok()) << status;
    parts.resume = true;
  }
  for (const auto& [name, tensor] : FinalState(parts.out)) {
    EXPECT_TRUE(tensor.equal(whole.at(name))) << name;
  }
}

TEST_F(TrainerTest, StartsFromAModelsWeights) {
  ASSERT_TRUE(Train(options_).ok());
  Trainer::Options further = options_;
  further.out = root_ + "/further";
  further.initial_model = options_.out;
  further.max_steps = 1;
  further.learning_rate = 1e-12;
  ASSERT_TRUE(Train(further).ok());
  const auto network = Network::Load(options_.out, torch::kCPU);
  ASSERT_TRUE(network.ok()) << network.status();
  const auto start = (*network)->direction(Direction::kI2t).named_parameters();
  for (const auto& [name, tensor] : FinalState(further.out)) {
    if (const torch::Tensor* before = start.find(name)) {
      EXPECT_TRUE(tensor.allclose(*before, 1e-4, 1e-6)) << name;
    }
  }
  further.direction = Direction::kT2i;
  EXPECT_EQ(Train(further).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(TrainerTest, GroupsThatNothingTellsApartAreRefused) {
  options_.batches.group_size = 2;
  options_.group_steps = 1;
  options_.group_batch_size = 6;
  options_.positives = root_ + "/positives.json";
  std::ofstream positives(options_.positives);  // every caption is true of all eight images
  positives << "[";
  for (int i = 0; i < 40; ++i) positives << (i == 0 ? "" : ",") << "[0,1,2,3,4,5,6,7]";
  positives << "]";
  positives.close();
  EXPECT_EQ(Train(options_).code(), absl::StatusCode::kInvalidArgument);
  options_.positives.clear();
  options_.batches.group_size = 1;
  EXPECT_EQ(Train(options_).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(TrainerTest, BothDirectionsEndInOneModel) {
  ASSERT_TRUE(Train(options_).ok());
  Trainer::Options other = options_;
  other.direction = Direction::kT2i;
  other.batches.extra_captions = 0;
  other.batches.extra_images = 4;
  other.bert_dropout = false;
  const absl::Status status = Train(other);
  ASSERT_TRUE(status.ok()) << status;
  const auto network = Network::Load(options_.out, torch::kCPU);
  ASSERT_TRUE(network.ok()) << network.status();
  EXPECT_TRUE((*network)->Has(Direction::kI2t));
  EXPECT_TRUE((*network)->Has(Direction::kT2i));
  EXPECT_TRUE(std::filesystem::exists(options_.out + "/training/t2i/validation.csv"));
}

TEST_F(TrainerTest, AnotherRunsStateIsRefused) {
  ASSERT_TRUE(Train(options_).ok());
  Trainer::Options other = options_;
  other.learning_rate = 1e-3;
  other.resume = true;
  EXPECT_EQ(Train(other).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(TrainerTest, ADamagedStateIsRefused) {
  ASSERT_TRUE(Train(options_).ok());
  std::filesystem::resize_file(options_.out + "/training/i2t/state.pt", 1000);
  Trainer::Options other = options_;
  other.resume = true;
  EXPECT_EQ(Train(other).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(TrainerTest, LearnsTheTinyWorld) {
  options_.max_steps = 120;
  options_.validation_steps = 20;
  options_.data = root_ + "/data";
  options_.validation_split = "train";
  options_.batches.extra_captions = 0;
  ASSERT_TRUE(Train(options_).ok());
  std::ifstream csv(options_.out + "/training/i2t/validation.csv");
  std::string line;
  double first = -1, best = -1;
  std::getline(csv, line);
  while (std::getline(csv, line)) {
    std::vector<double> fields;
    std::stringstream stream(line);
    for (std::string field; std::getline(stream, field, ',');) fields.push_back(std::stod(field));
    if (first < 0) first = fields[7];
    best = std::max(best, fields[7]);
  }
  EXPECT_GT(best, first + 20) << "rsum on its own training images";
}

}  // namespace
}  // namespace dime
