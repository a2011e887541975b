#include "model/dime/coarse_trainer.h"

#include <torch/torch.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "index/npy_file.h"
#include "model/dime/weights.h"

namespace dime {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr int kNumThings = 12, kNumRegions = 3, kNumFeatures = 14, kNumImages = 48;

// Images of two things each, one in each of two regions, beside noise; five captions name them in
// some order. The model is untrained: a teacher, but a poor one.
class CoarseTrainerTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "/coarse_trainer_test_" + std::to_string(getpid());
    fs::remove_all(root_);
    fs::create_directories(root_ + "/data");
    fs::create_directories(root_ + "/model/bert");
    torch::manual_seed(5);
    MakeSplit("train", 0);
    MakeSplit("dev", 7);
    std::ofstream vocabulary(root_ + "/model/bert/vocab.txt");
    vocabulary << "[PAD]\n[UNK]\n[CLS]\n[SEP]\n";
    for (int thing = 0; thing < kNumThings; ++thing) vocabulary << Name(thing) << "\n";
    vocabulary.close();
    std::ofstream(root_ + "/model/bert/config.json")
        << R"({"vocab_size": 16, "hidden_size": 16, "num_hidden_layers": 1,
               "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 16})";
    const auto bert = BertConfig::Load(root_ + "/model/bert/config.json");
    ASSERT_TRUE(bert.ok()) << bert.status();
    ASSERT_TRUE(SaveWeights(*Bert(*bert), root_ + "/model/bert/model.safetensors").ok());
    ModelConfig config{.max_words = 5, .num_regions = kNumRegions};
    for (Direction direction : kDirections) {
      const DirectionConfig part{.weights = std::string(DirectionName(direction)) + ".safetensors",
                                 .embed_size = 8,
                                 .feature_dim = kNumFeatures,
                                 .num_heads = 2,
                                 .feed_forward_size = 10,
                                 .router_size = 7};
      config.directions[static_cast<int>(direction)] = part;
      ASSERT_TRUE(
          SaveWeights(*DirectionModel(direction, part, 16), root_ + "/model/" + part.weights).ok());
    }
    ASSERT_TRUE(config.Save(root_ + "/model/config.json").ok());
    options_.model = root_ + "/model";
    options_.data = root_ + "/data";
    options_.device = "cpu";
    options_.heads.coarse_dim = 16;
    options_.heads.hidden_size = 24;
    options_.heads.num_queries = 2;
    options_.batch_size = 24;
    options_.learning_rate = 5e-3;
    options_.warmup_steps = 2;
    options_.steps = 120;
    options_.validation_steps = 30;
    options_.validation_queries = 6;
    options_.teacher_queries = 4;
    options_.teacher_candidates = 6;
    options_.blocks_per_step = 2;
    options_.distillation_weight = 0.1;
  }
  void TearDown() override { fs::remove_all(root_); }

  static std::string Name(int thing) {
    return std::string("thing") + static_cast<char>('a' + thing);
  }

  void MakeSplit(const std::string& split, int shift) {
    torch::Tensor features = torch::rand({kNumImages, kNumRegions, kNumFeatures}) * 0.2;
    std::ofstream captions(root_ + "/data/" + split + "_caps.txt");
    for (int i = 0; i < kNumImages; ++i) {
      // All pairs differ: 12 * 11 / 2 = 66 of them, in an order of its own for each split.
      const int pair = (i * 5 + shift) % 66;
      int first = 0, second = pair;
      while (second >= kNumThings - 1 - first) second -= kNumThings - 1 - first++;
      second += first + 1;
      features[i][0][first] += 2;
      features[i][1][second] += 2;
      const std::string a = Name(first), b = Name(second);
      captions << a << " " << b << "\n" << b << " " << a << "\n";
      captions << a << " " << b << " " << a << "\n" << b << " " << b << " " << a << "\n";
      captions << b << " " << a << " " << b << "\n";
    }
    auto writer =
        NpyWriter::Create(root_ + "/data/" + split + "_ims.npy", {kNumRegions, kNumFeatures});
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE((*writer)
                    ->Append({features.data_ptr<float>(), static_cast<size_t>(features.numel())})
                    .ok());
    ASSERT_TRUE((*writer)->Finish().ok());
  }
  absl::StatusOr<CoarseTrainer::Validation> Train(const CoarseTrainer::Options& options) {
    auto trainer = CoarseTrainer::Create(options, nullptr);
    if (!trainer.ok()) return trainer.status();
    const absl::Status status = (*trainer)->Run();
    if (!status.ok()) return status;
    return (*trainer)->best();
  }
  static std::string Bytes(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  }
  std::string root_;
  CoarseTrainer::Options options_;
};

TEST_F(CoarseTrainerTest, FindsWhatItHasNotSeenFarBetterThanChanceAndThanItsStart) {
  CoarseTrainer::Options start = options_;
  start.steps = 1;
  start.distillation_weight = 0;
  const auto before = Train(start);
  ASSERT_TRUE(before.ok()) << before.status();
  const auto after = Train(options_);
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_TRUE(after->with_teacher);
  constexpr double kChance = 100.0 / kNumImages;
  EXPECT_GT(after->text_to_image.own[0], 10 * kChance);
  EXPECT_GT(after->image_to_text.own[0], 10 * kChance);
  EXPECT_GT(after->text_to_image.own[0], before->text_to_image.own[0] + 10);
  EXPECT_GT(after->image_to_text.own[0], before->image_to_text.own[0] + 10);
  // The heads are where the model looks for them.
  const auto network = Network::Load(options_.model, torch::kCPU);
  ASSERT_TRUE(network.ok()) << network.status();
  ASSERT_NE((*network)->coarse_heads(), nullptr);
  EXPECT_EQ((*network)->coarse_heads()->config().coarse_dim, 16);
}

TEST_F(CoarseTrainerTest, DistillationFollowsTheModelsOwnOrder) {
  CoarseTrainer::Options options = options_;
  options.validation_split = "train";  // what can be imitated of an untrained model is this alone
  options.validation_queries = kNumImages;
  options.teacher_queries = 40;
  options.teacher_candidates = 24;
  options.teacher_start = 0.1;
  options.teacher_temperature = 0.2;
  options.blocks_per_step = 8;
  options.steps = 60;
  options.distillation_weight = 20;
  const auto taught = Train(options);
  ASSERT_TRUE(taught.ok()) << taught.status();
  options.distillation_weight = 1e-9;
  const auto untaught = Train(options);
  ASSERT_TRUE(untaught.ok()) << untaught.status();
  // Of 240 captions 50 are a fifth: share found of the model's top 10.
  EXPECT_GT(taught->image_to_text.teacher[1], untaught->image_to_text.teacher[1] + 10);
}

TEST_F(CoarseTrainerTest, EqualSeedsGiveEqualHeads) {
  CoarseTrainer::Options options = options_;
  options.steps = 12;
  options.validation_steps = 4;
  options.out = root_ + "/first.safetensors";
  ASSERT_TRUE(Train(options).ok());
  options.out = root_ + "/second.safetensors";
  ASSERT_TRUE(Train(options).ok());
  EXPECT_EQ(Bytes(root_ + "/first.safetensors"), Bytes(root_ + "/second.safetensors"));
  options.out = root_ + "/third.safetensors";
  options.seed = 1;
  ASSERT_TRUE(Train(options).ok());
  EXPECT_NE(Bytes(root_ + "/first.safetensors"), Bytes(root_ + "/third.safetensors"));
  EXPECT_FALSE(fs::exists(options_.model + "/coarse.safetensors"));
}

TEST_F(CoarseTrainerTest, ReplacesHeadsThatTheModelHas) {
  CoarseTrainer::Options options = options_;
  options.steps = 4;
  options.validation_steps = 4;
  ASSERT_TRUE(Train(options).ok());
  options.heads.coarse_dim = 8;
  const auto again = Train(options);
  ASSERT_TRUE(again.ok()) << again.status();
  const auto network = Network::Load(options_.model, torch::kCPU);
  ASSERT_TRUE(network.ok()) << network.status();
  EXPECT_EQ((*network)->coarse_heads()->config().coarse_dim, 8);
}

TEST_F(CoarseTrainerTest, DamagedHeadsAreNoObstacleToNewOnes) {
  std::ofstream(options_.model + "/coarse.safetensors") << "damaged";
  CoarseTrainer::Options options = options_;
  options.steps = 4;
  options.validation_steps = 4;
  const auto trained = Train(options);
  EXPECT_TRUE(trained.ok()) << trained.status();
  EXPECT_TRUE(LoadCoarseHeads(options_.model + "/coarse.safetensors").ok());
}

TEST_F(CoarseTrainerTest, WhatCannotBeTrainedOnIsRefusedWithAName) {
  CoarseTrainer::Options options = options_;
  options.batch_size = kNumImages + 1;
  EXPECT_THAT(std::string(Train(options).status().message()), HasSubstr("batch size"));
  options = options_;
  options.positives = root_ + "/data/none.json";
  EXPECT_THAT(std::string(Train(options).status().message()), HasSubstr("none.json"));
  options = options_;
  options.train_split = "nowhere";
  EXPECT_EQ(Train(options).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(CoarseTrainerTest, AStopEndsIt) {
  std::atomic<bool> stop = false;
  auto trainer = CoarseTrainer::Create(options_, &stop);
  ASSERT_TRUE(trainer.ok()) << trainer.status();
  stop = true;
  EXPECT_EQ((*trainer)->Run().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace dime
