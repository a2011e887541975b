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
#include "model/dime/trainer.h"
#include "model/dime/training_step.h"
#include "model/dime/weights.h"

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
        LossOptions{.contrastive = true}}) {
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
                      ->Append({features.data_ptr<float>(),
                                static_cast<size_t>(features.numel())})
                      .ok());
      ASSERT_TRUE((*writer)->Finish().ok());
      std::ofstream captions(root_ + "/data/" + split + "_caps.txt");
      const char* words[] = {"red", "blue", "dog", "cat"};
      for (int i = 0; i < 40; ++i) {
        captions << words[i % 4] << " " << words[i / 4 % 4] << " " << words[i / 16] << "\n";
      }
    }
    std::ofstream(root_ + "/bert/vocab.txt")
        << "[PAD]\n[UNK]\n[CLS]\n[SEP]\nred\nblue\ndog\ncat\n";
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
