// The modules, and the torch-free interfaces over them, against an independent implementation's
// numbers (tests/golden): no outside reference data needed.
#include <torch/torch.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "index/precomputed_dataset.h"
#include "index/safetensors_file.h"
#include "model/dime/losses.h"
#include "model/dime/network.h"
#include "model/dime/similarity.h"
#include "model/dime/tensor_ops.h"
#include "model/dime_model.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr double kTolerance = 1e-5;
const char kTiny[] = DIME_SOURCE_DIR "/tests/golden/tiny";

class GoldenParityTest : public testing::TestWithParam<Direction> {
 protected:
  void SetUp() override {
    auto expected = SafetensorsFile::Open(std::string(kTiny) + "/expected.safetensors");
    ASSERT_TRUE(expected.ok()) << expected.status();
    expected_ = *std::move(expected);
    auto dataset = PrecomputedDataset::Open(std::string(kTiny) + "/data", "test");
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    dataset_ = *std::move(dataset);
    features_.resize(dataset_->num_images() * dataset_->num_regions() * dataset_->feature_dim());
    ASSERT_TRUE(
        dataset_->ReadFeatures(0, dataset_->num_images(), absl::MakeSpan(features_)).ok());
  }
  torch::Tensor Expected(const std::string& name) const {
    const auto view = expected_->Get(name);
    EXPECT_TRUE(view.ok()) << view.status();
    if (view->type == TensorType::kInt32) {
      return torch::from_blob(const_cast<std::byte*>(view->bytes.data()), view->shape,
                              torch::kInt32).to(torch::kLong);
    }
    std::vector<float> values = *view->ToFloats();
    return torch::from_blob(values.data(), view->shape).clone();
  }
  torch::Tensor ExpectedOfDirection(const std::string& name) const {
    return Expected(std::string(DirectionName(GetParam())) + "." + name);
  }
  // A copy of the tiny model with one field of every direction changed.
  std::string ModelWith(const std::string& field, const nlohmann::json& value) const {
    const std::string out = testing::TempDir() + "/tiny_variant";
    fs::remove_all(out);
    fs::copy(std::string(kTiny) + "/model", out, fs::copy_options::recursive);
    nlohmann::json config = nlohmann::json::parse(std::ifstream(out + "/config.json"));
    for (auto& [name, direction] : config["directions"].items()) direction[field] = value;
    std::ofstream(out + "/config.json") << config;
    return out;
  }
  static std::unique_ptr<Network> Load(const std::string& directory) {
    auto network = Network::Load(directory, torch::kCPU);
    EXPECT_TRUE(network.ok()) << network.status();
    return *std::move(network);
  }
  EncodedSplit Encode(const Network& network) const {
    auto split = EncodeSplit(network.direction(GetParam()), network.backbone(GetParam()),
                             network.config().max_words, torch::kCPU, *dataset_, std::nullopt,
                             [](int64_t) {});
    EXPECT_TRUE(split.ok()) << split.status();
    return *split;
  }
  torch::Tensor SimilarityOf(const Network& network) const {
    return Similarity(network.direction(GetParam()), Encode(network), 0, dataset_->num_images(), 0,
                      dataset_->num_captions(), [](int64_t) {});
  }
  static void ExpectClose(const torch::Tensor& actual, const torch::Tensor& expected) {
    ASSERT_EQ(actual.sizes(), expected.sizes());
    EXPECT_LT((actual - expected).abs().max().item<double>(), kTolerance);
  }

  std::unique_ptr<SafetensorsFile> expected_;
  std::unique_ptr<PrecomputedDataset> dataset_;
  std::vector<float> features_;
};

TEST_P(GoldenParityTest, Tokens) {
  const auto network = Load(std::string(kTiny) + "/model");
  const auto tokens = TokenBatch::Make(*network->backbone(GetParam()).tokenizer,
                                       dataset_->captions(), network->config().max_words);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_TRUE(tokens->ids.equal(Expected("input_ids")));
  EXPECT_TRUE(tokens->lengths.equal(Expected("lengths")));
  const auto splitting = WordPieceTokenizer::Load(std::string(kTiny) + "/model/bert/vocab.txt",
                                                  {.split_chinese = true});
  const auto split =
      TokenBatch::Make(**splitting, dataset_->captions(), network->config().max_words);
  EXPECT_TRUE(split->ids.equal(Expected("split_chinese.input_ids")));
}

TEST_P(GoldenParityTest, EncodersScoresAndPaths) {
  const auto network = Load(std::string(kTiny) + "/model");
  const EncodedSplit split = Encode(*network);
  ExpectClose(split.sentence, ExpectedOfDirection("sentence"));
  ExpectClose(split.words, ExpectedOfDirection("words"));
  ExpectClose(split.image, ExpectedOfDirection("image"));
  ExpectClose(split.regions, ExpectedOfDirection("regions"));
  ExpectClose(SimilarityOf(*network), ExpectedOfDirection("similarity"));
  c10::InferenceMode inference;
  const InteractionImpl::Output output = network->direction(GetParam()).Score(
      split.regions.unsqueeze(1), split.image.unsqueeze(1), split.words.unsqueeze(0),
      split.sentence.unsqueeze(0), split.word_mask.unsqueeze(0));
  ExpectClose(output.path_weights, ExpectedOfDirection("paths"));
}

TEST_P(GoldenParityTest, EveryAttentionNorm) {
  for (const char* norm : {"clipped_l2norm", "l2norm", "clipped_l1norm", "l1norm", "clipped",
                           "no_norm", "softmax"}) {
    SCOPED_TRACE(norm);
    const auto network = Load(ModelWith("raw_feature_norm_CMRC", norm));
    ExpectClose(SimilarityOf(*network),
                Expected(std::string("norm.") + norm + "." +
                         std::string(DirectionName(GetParam())) + ".similarity"));
  }
}

TEST_P(GoldenParityTest, ImageVectorOptions) {
  for (const char* option : {"no_imgnorm", "use_abs"}) {
    SCOPED_TRACE(option);
    const auto network = Load(ModelWith(option, true));
    const std::string prefix =
        std::string(option) + "." + std::string(DirectionName(GetParam())) + ".";
    ExpectClose(Encode(*network).image, Expected(prefix + "image"));
    ExpectClose(SimilarityOf(*network), Expected(prefix + "similarity"));
  }
}

TEST_P(GoldenParityTest, PathRegularizationOfTheBatch) {
  const auto network = Load(std::string(kTiny) + "/model");
  const EncodedSplit split = Encode(*network);
  c10::InferenceMode inference;
  const torch::Tensor paired = torch::tensor({0, 5, 10});
  const TextBackbone& backbone = network->backbone(GetParam());
  const auto tokens =
      TokenBatch::Make(*backbone.tokenizer, dataset_->captions(), network->config().max_words);
  const torch::Tensor states = Bert(backbone.bert)->forward(tokens->ids, tokens->lengths);
  ExpectClose(states, Expected("bert.hidden"));
  const torch::Tensor paths =
      ExpectedOfDirection("paths").index_select(1, paired).mean(GetParam() == Direction::kI2t ? 1
                                                                                              : 0);
  const torch::Tensor captions = NormalizeL2(states.index_select(0, paired).mean(1), -1);
  const torch::Tensor loss = PathRegularization(
      network->direction(GetParam()).interaction->EmbedPaths(paths), captions);
  ExpectClose(loss, ExpectedOfDirection("loss.path"));
}

TEST_P(GoldenParityTest, RankingLossAndItsGradient) {
  const torch::Tensor all = ExpectedOfDirection("similarity");
  const torch::Tensor own = all.index_select(1, torch::tensor({0, 5, 10}));
  const torch::Tensor extra_text = torch::cat({own, all.index_select(1, torch::tensor({1, 6, 11}))}, 1);
  const torch::Tensor extra_image = torch::cat(
      {own, ExpectedOfDirection("extra.similarity").index_select(1, torch::tensor({0, 5, 10}))}, 0);
  const std::vector<std::pair<std::string, torch::Tensor>> cases = {
      {"loss.", own}, {"loss.extra_text.", extra_text}, {"loss.extra_image.", extra_image}};
  for (const auto& [prefix, matrix] : cases) {
    for (const bool hardest : {true, false}) {
      const std::string name = prefix + (hardest ? "max_violation" : "sum");
      SCOPED_TRACE(name);
      const torch::Tensor scores = matrix.clone().set_requires_grad(true);
      const torch::Tensor loss = RankingLoss(scores, 0.2, hardest);
      ExpectClose(loss.detach(), ExpectedOfDirection(name));
      loss.backward();
      ExpectClose(scores.grad(), ExpectedOfDirection(name + ".grad"));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Directions, GoldenParityTest, testing::ValuesIn(kDirections),
                         [](const auto& info) { return std::string(DirectionName(info.param)); });

// The interfaces that the service uses: encoders, banks, scorer.
class DimeModelTest : public GoldenParityTest {
 protected:
  void SetUp() override {
    GoldenParityTest::SetUp();
    auto model = DimeModel::Load(std::string(kTiny) + "/model", {.device = "cpu"});
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    auto captions = model_->caption_encoder().EncodeCaptions(dataset_->captions());
    ASSERT_TRUE(captions.ok()) << captions.status();
    captions_ = *std::move(captions);
    auto images =
        model_->image_encoder().EncodeImages(dataset_->num_images(), 7, features_);
    ASSERT_TRUE(images.ok()) << images.status();
    images_ = *std::move(images);
  }
  std::unique_ptr<DimeModel> model_;
  EncodedItems captions_, images_;
};

TEST_P(DimeModelTest, ACaptionAgainstImagesAndAnImageAgainstCaptions) {
  const int d = static_cast<int>(GetParam());
  const torch::Tensor similarity = ExpectedOfDirection("similarity");
  const torch::Tensor paths = ExpectedOfDirection("paths");
  const auto image_bank = model_->pair_scorer().MakeBank(images_.view());
  const auto caption_bank = model_->pair_scorer().MakeBank(captions_.view());
  ASSERT_TRUE(image_bank.ok() && caption_bank.ok());
  const std::vector<int64_t> image_rows = {2, 0, 1, 2};
  const std::vector<int64_t> caption_rows = {14, 3, 3, 0, 7, 9};
  std::vector<ScoringRequest> requests;
  for (int64_t c = 0; c < 15; c += 4) {
    requests.push_back({.query = captions_.view().Slice(c, 1),
                        .bank = image_bank->get(),
                        .rows = image_rows,
                        .mode = ScoreMode::kEnsemble,
                        .want_paths = c == 4});
  }
  requests.push_back({.query = images_.view().Slice(1, 1),
                      .bank = caption_bank->get(),
                      .rows = caption_rows,
                      .mode = GetParam() == Direction::kI2t ? ScoreMode::kI2t : ScoreMode::kT2i,
                      .want_paths = true});
  const auto results = model_->pair_scorer().Score(requests);
  ASSERT_TRUE(results.ok()) << results.status();
  ASSERT_EQ(results->size(), 5u);
  for (int q = 0; q < 4; ++q) {
    const PairScores& scores = (*results)[q];
    ASSERT_EQ(scores.scores[d].size(), image_rows.size());
    const std::vector<float> combined = scores.Combined();
    for (size_t k = 0; k < image_rows.size(); ++k) {
      EXPECT_NEAR(scores.scores[d][k], similarity[image_rows[k]][4 * q].item<float>(), kTolerance);
      EXPECT_NEAR(combined[k], Expected("ensemble.similarity")[image_rows[k]][4 * q].item<float>(),
                  kTolerance);
    }
    EXPECT_EQ(scores.paths[d].size(), q == 1 ? image_rows.size() * kNumPathWeights : 0);
  }
  const PairScores& reverse = results->back();
  EXPECT_TRUE(reverse.scores[1 - d].empty());
  for (size_t k = 0; k < caption_rows.size(); ++k) {
    EXPECT_NEAR(reverse.scores[d][k], similarity[1][caption_rows[k]].item<float>(), kTolerance);
    for (int w = 0; w < kNumPathWeights; ++w) {
      EXPECT_NEAR(reverse.paths[d][k * kNumPathWeights + w],
                  paths[1][caption_rows[k]][w].item<float>(), kTolerance);
    }
  }
}

TEST_P(DimeModelTest, CoarseEmbeddingsAreUnitAndMeanOfTheDirections) {
  ASSERT_EQ(images_.coarse_dim, 16 + 24);
  double dot = 0, square = 0, expected = 0;
  for (int c = 0; c < images_.coarse_dim; ++c) {
    dot += images_.coarse[c] * captions_.coarse[c];
    square += images_.coarse[c] * images_.coarse[c];
  }
  for (const char* name : {"i2t", "t2i"}) {
    expected += (Expected(std::string(name) + ".image")[0] *
                 Expected(std::string(name) + ".sentence")[0]).sum().item<double>() / 2;
  }
  EXPECT_NEAR(square, 1, 1e-5);
  EXPECT_NEAR(dot, expected, 1e-5);
}

TEST_P(DimeModelTest, WrongRequestsAreRefused) {
  const auto bank = model_->pair_scorer().MakeBank(images_.view());
  const std::vector<int64_t> beyond = {3};
  ScoringRequest request{.query = captions_.view().Slice(0, 1), .bank = bank->get(), .rows = beyond};
  EXPECT_EQ(model_->pair_scorer().Score({&request, 1}).status().code(),
            absl::StatusCode::kInvalidArgument);
  request.query = images_.view().Slice(0, 1);
  request.rows = {};
  EXPECT_EQ(model_->pair_scorer().Score({&request, 1}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(model_->image_encoder().EncodeImages(1, 7, {features_.data(), 10}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Directions, DimeModelTest, testing::ValuesIn(kDirections),
                         [](const auto& info) { return std::string(DirectionName(info.param)); });

// Directories that cannot be loaded say what is wrong with them.
class LoadErrorTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "/broken_model";
    fs::remove_all(directory_);
    fs::copy(std::string(kTiny) + "/model", directory_, fs::copy_options::recursive);
  }
  absl::Status Load() { return DimeModel::Load(directory_, {.device = "cpu"}).status(); }
  void Edit(const std::function<void(nlohmann::json&)>& edit) {
    nlohmann::json config = nlohmann::json::parse(std::ifstream(directory_ + "/config.json"));
    edit(config);
    std::ofstream(directory_ + "/config.json") << config;
  }
  std::string directory_;
};

TEST_F(LoadErrorTest, EveryBadFieldIsNamed) {
  Edit([](nlohmann::json& config) {
    config["max_words"] = 1;
    config["directions"]["i2t"].erase("embed_size");
    config["directions"]["t2i"]["raw_feature_norm_CMRC"] = "l3norm";
    config["directions"]["t2i"]["weights"] = "../../etc/passwd";
  });
  const std::string message(Load().message());
  for (const char* field : {"max_words", "directions.i2t.embed_size",
                            "directions.t2i.raw_feature_norm_CMRC", "directions.t2i.weights"}) {
    EXPECT_THAT(message, HasSubstr(field));
  }
}

TEST_F(LoadErrorTest, EveryTensorThatDoesNotFitIsNamed) {
  Edit([](nlohmann::json& config) { config["directions"]["i2t"]["hid_router"] = 99; });
  const std::string message(Load().message());
  EXPECT_THAT(message, HasSubstr("interaction.dynamic_itr_l0.ric.router.mlp.0.weight"));
  EXPECT_THAT(message, HasSubstr("interaction.dynamic_itr_l2.cmrc.router.mlp.2.weight"));
}

TEST_F(LoadErrorTest, ATruncatedFileIsNamed) {
  fs::resize_file(directory_ + "/t2i.safetensors", 5000);
  const absl::Status status = Load();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("t2i.safetensors"));
}

TEST_F(LoadErrorTest, MissingPartsAreNamed) {
  fs::remove_all(directory_ + "/bert");
  EXPECT_THAT(std::string(Load().message()), HasSubstr("broken_model/bert"));
  fs::remove_all(directory_);
  EXPECT_EQ(Load().code(), absl::StatusCode::kNotFound);
}

TEST_F(LoadErrorTest, UnknownAndAbsentDevices) {
  EXPECT_EQ(DimeModel::Load(directory_, {.device = "tpu"}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DimeModel::Load(directory_, {.device = "cuda:99"}).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace dime
