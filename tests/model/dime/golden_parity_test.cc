// The modules, and the torch-free interfaces over them, against an independent implementation's
// numbers (tests/golden): no outside reference data needed.
#include <torch/torch.h>

#include <cmath>
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
#include "tests/model/dime/golden_tiny.h"

namespace dime {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr double kRounding = 1e-5;

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
    ASSERT_TRUE(dataset_->ReadFeatures(0, dataset_->num_images(), absl::MakeSpan(features_)).ok());
  }
  torch::Tensor Expected(const std::string& name) const {
    const auto view = expected_->Get(name);
    EXPECT_TRUE(view.ok()) << view.status();
    if (view->type == TensorType::kInt32) {
      return torch::from_blob(const_cast<std::byte*>(view->bytes.data()), view->shape,
                              torch::kInt32)
          .to(torch::kLong);
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
    fs::copy(kTinyModel, out, fs::copy_options::recursive);
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
    EXPECT_LT((actual - expected).abs().max().item<double>(), kRounding);
  }

  std::unique_ptr<SafetensorsFile> expected_;
  std::unique_ptr<PrecomputedDataset> dataset_;
  std::vector<float> features_;
};

TEST_P(GoldenParityTest, Tokens) {
  const auto network = Load(kTinyModel);
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
  const auto network = Load(kTinyModel);
  const EncodedSplit split = Encode(*network);
  ExpectClose(split.sentence, ExpectedOfDirection("sentence"));
  ExpectClose(split.words, ExpectedOfDirection("words"));
  ExpectClose(split.image, ExpectedOfDirection("image"));
  ExpectClose(split.regions, ExpectedOfDirection("regions"));
  ExpectClose(SimilarityOf(*network), ExpectedOfDirection("similarity"));
  c10::InferenceMode inference;
  const InteractionImpl::Output output =
      network->direction(GetParam())
          .Score(split.regions.unsqueeze(1), split.image.unsqueeze(1), split.words.unsqueeze(0),
                 split.sentence.unsqueeze(0), split.word_mask.unsqueeze(0));
  ExpectClose(output.path_weights, ExpectedOfDirection("paths"));
}

TEST_P(GoldenParityTest, EveryAttentionNorm) {
  for (const char* norm :
       {"clipped_l2norm", "l2norm", "clipped_l1norm", "l1norm", "clipped", "no_norm", "softmax"}) {
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
  const auto network = Load(kTinyModel);
  const EncodedSplit split = Encode(*network);
  c10::InferenceMode inference;
  const torch::Tensor paired = torch::tensor({0, 5, 10});
  const TextBackbone& backbone = network->backbone(GetParam());
  const auto tokens =
      TokenBatch::Make(*backbone.tokenizer, dataset_->captions(), network->config().max_words);
  const torch::Tensor states = Bert(backbone.bert)->forward(tokens->ids, tokens->lengths);
  ExpectClose(states, Expected("bert.hidden"));
  const torch::Tensor paths = ExpectedOfDirection("paths").index_select(1, paired).mean(
      GetParam() == Direction::kI2t ? 1 : 0);
  const torch::Tensor captions = NormalizeL2(states.index_select(0, paired).mean(1), -1);
  const torch::Tensor loss =
      PathRegularization(network->direction(GetParam()).interaction->EmbedPaths(paths), captions);
  ExpectClose(loss, ExpectedOfDirection("loss.path"));
}

TEST_P(GoldenParityTest, RankingLossAndItsGradient) {
  const torch::Tensor all = ExpectedOfDirection("similarity");
  const torch::Tensor own = all.index_select(1, torch::tensor({0, 5, 10}));
  const torch::Tensor extra_text =
      torch::cat({own, all.index_select(1, torch::tensor({1, 6, 11}))}, 1);
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
    auto model = DimeModel::Load(kTinyModel, {.device = "cpu", .scorer = "modules"});
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    auto captions = model_->caption_encoder().EncodeCaptions(dataset_->captions());
    ASSERT_TRUE(captions.ok()) << captions.status();
    captions_ = *std::move(captions);
    auto images = model_->image_encoder().EncodeImages(dataset_->num_images(), 7, features_);
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
      EXPECT_NEAR(scores.scores[d][k], similarity[image_rows[k]][4 * q].item<float>(), kRounding);
      EXPECT_NEAR(combined[k], Expected("ensemble.similarity")[image_rows[k]][4 * q].item<float>(),
                  kRounding);
    }
    EXPECT_EQ(scores.paths[d].size(), q == 1 ? image_rows.size() * kNumPathWeights : 0);
  }
  const PairScores& reverse = results->back();
  EXPECT_TRUE(reverse.scores[1 - d].empty());
  for (size_t k = 0; k < caption_rows.size(); ++k) {
    EXPECT_NEAR(reverse.scores[d][k], similarity[1][caption_rows[k]].item<float>(), kRounding);
    for (int w = 0; w < kNumPathWeights; ++w) {
      EXPECT_NEAR(reverse.paths[d][k * kNumPathWeights + w],
                  paths[1][caption_rows[k]][w].item<float>(), kRounding);
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
    expected +=
        (Expected(std::string(name) + ".image")[0] * Expected(std::string(name) + ".sentence")[0])
            .sum()
            .item<double>() /
        2;
  }
  EXPECT_NEAR(square, 1, 1e-5);
  EXPECT_NEAR(dot, expected, 1e-5);
}

TEST_P(DimeModelTest, WrongRequestsAreRefused) {
  const auto bank = model_->pair_scorer().MakeBank(images_.view());
  const std::vector<int64_t> beyond = {3};
  ScoringRequest request{
      .query = captions_.view().Slice(0, 1), .bank = bank->get(), .rows = beyond};
  EXPECT_EQ(model_->pair_scorer().Score({&request, 1}).status().code(),
            absl::StatusCode::kInvalidArgument);
  request.query = images_.view().Slice(0, 1);
  request.rows = {};
  EXPECT_EQ(model_->pair_scorer().Score({&request, 1}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(model_->image_encoder().EncodeImages(1, 7, {features_.data(), 10}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_P(DimeModelTest, BesideTheKernelsACaptionIsTheSameBitsWhateverElseIsEncoded) {
  const int d = static_cast<int>(GetParam());
  const auto loaded = DimeModel::Load(kTinyModel, {.device = "cpu", .scorer_threads = 2});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const DimeModel& model = **loaded;
  if (model.info().scorer == "modules") GTEST_SKIP() << "this processor has no AVX2";
  // `last_bits`: what may differ.
  const auto expect = [d](const EncodedItems& all, const EncodedItems& modules, int64_t row,
                          const EncodedItems& alone, float last_bits) {
    const auto same = [&](const std::vector<float>& one, const std::vector<float>& of_all,
                          const std::vector<float>& by_modules) {
      ASSERT_EQ(of_all.size(), by_modules.size());
      ASSERT_EQ(of_all.size(), one.size() * all.count);
      for (size_t i = 0; i < one.size(); ++i) {
        EXPECT_LE(std::abs(one[i] - of_all[row * one.size() + i]), last_bits) << row;
        EXPECT_NEAR(one[i], by_modules[row * one.size() + i], 5e-3) << row;
      }
    };
    EXPECT_EQ(alone.lengths[0], all.lengths[row]);
    same(alone.directions[d].local, all.directions[d].local, modules.directions[d].local);
    same(alone.directions[d].global, all.directions[d].global, modules.directions[d].global);
    same(alone.coarse, all.coarse, modules.coarse);
  };
  const auto captions = model.caption_encoder().EncodeCaptions(dataset_->captions());
  ASSERT_TRUE(captions.ok()) << captions.status();
  for (int64_t c = 0; c < captions->count; ++c) {
    const auto alone = model.caption_encoder().EncodeCaptions({&dataset_->captions()[c], 1});
    ASSERT_TRUE(alone.ok()) << alone.status();
    expect(*captions, captions_, c, *alone, 0);
  }
  const auto images = model.image_encoder().EncodeImages(dataset_->num_images(), 7, features_);
  ASSERT_TRUE(images.ok()) << images.status();
  const size_t size = features_.size() / dataset_->num_images();
  for (int64_t i = 0; i < images->count; ++i) {
    const auto alone = model.image_encoder().EncodeImages(1, 7, {&features_[i * size], size});
    ASSERT_TRUE(alone.ok()) << alone.status();
    expect(*images, images_, i, *alone, 1e-6f);
  }
}

TEST_P(DimeModelTest, AnExplanationIsOfTheScoreAndOfTheGoldenPaths) {
  const int d = static_cast<int>(GetParam());
  const auto bank = model_->pair_scorer().MakeBank(images_.view());
  const torch::Tensor paths = ExpectedOfDirection("paths");
  for (int64_t i = 0; i < images_.count; ++i) {
    for (int64_t c = 0; c < captions_.count; ++c) {
      const EncodedItemsView caption = captions_.view().Slice(c, 1);
      const auto explanation = model_->pair_explainer().Explain(images_.view().Slice(i, 1), caption,
                                                                ScoreMode::kEnsemble);
      ASSERT_TRUE(explanation.ok()) << explanation.status();
      const auto words = model_->pair_explainer().Words(dataset_->captions()[c]);
      ASSERT_TRUE(words.ok()) << words.status();
      EXPECT_EQ(explanation->num_words, static_cast<int>(words->size()));
      EXPECT_EQ(explanation->num_words, captions_.lengths[c]);
      EXPECT_EQ(words->front(), "[CLS]");
      EXPECT_EQ(words->back(), "[SEP]");
      EXPECT_EQ(explanation->num_regions, 7);

      const std::vector<int64_t> rows = {i};
      const ScoringRequest request{.query = caption, .bank = bank->get(), .rows = rows};
      const auto scores = model_->pair_scorer().Score({&request, 1});
      ASSERT_TRUE(scores.ok()) << scores.status();
      const PairExplanation::Part& part = *explanation->directions[d];
      EXPECT_NEAR(part.score, scores->front().scores[d][0], 1e-6);
      ASSERT_EQ(part.paths.size(), static_cast<size_t>(kNumPathWeights));
      for (int w = 0; w < kNumPathWeights; ++w) {
        EXPECT_NEAR(part.paths[w], paths[i][c][w].item<float>(), kRounding);
      }
      // The cell is the fourth: its shares stand at 3, 7, 11, 15 of a layer's 16, its gate last.
      for (int layer = 0; layer < 2; ++layer) {
        float sum = 0;
        for (int path = 0; path < 4; ++path) sum += part.paths[16 * layer + 4 * path + 3];
        EXPECT_FLOAT_EQ(part.layers[layer].weight, sum / 4);
      }
      EXPECT_EQ(part.layers[2].weight, part.paths[35]);
    }
  }
}

TEST_P(DimeModelTest, AttentionSharesOutEachPositionAmongTheOtherSide) {
  const int d = static_cast<int>(GetParam());
  for (int64_t c = 0; c < captions_.count; ++c) {
    const auto explanation = model_->pair_explainer().Explain(
        images_.view().Slice(1, 1), captions_.view().Slice(c, 1), ScoreMode::kEnsemble);
    ASSERT_TRUE(explanation.ok()) << explanation.status();
    for (const PairExplanation::Layer& layer : explanation->directions[d]->layers) {
      const torch::Tensor attention =
          torch::tensor(layer.attention).view({explanation->num_words, explanation->num_regions});
      // Were anything of the padding attended to, the valid words would not make up the whole.
      const torch::Tensor sums = attention.sum(GetParam() == Direction::kI2t ? 0 : 1);
      EXPECT_LT((sums - 1).abs().max().item<float>(), 1e-5);
      EXPECT_GT(attention.min().item<float>(), 0);
    }
  }
}

// In layer 0 the cells' input is the bare local sequence, so the attention is a formula of what the
// encoders gave: softmax of lambda times the clipped and normalised products.
TEST_P(DimeModelTest, AttentionOfLayerZeroIsTheFormula) {
  const int d = static_cast<int>(GetParam());
  const int64_t e = images_.directions[d].embed_size;
  const float lambda = model_->info().directions[d].lambda_softmax;
  for (const int64_t c : {0, 7, 14}) {
    const int64_t words = captions_.lengths[c];
    const torch::Tensor word = torch::tensor(captions_.directions[d].local)
                                   .view({captions_.count, captions_.positions, e})[c];
    const torch::Tensor region =
        torch::tensor(images_.directions[d].local).view({images_.count, 7, e})[2];
    const bool i2t = GetParam() == Direction::kI2t;
    const torch::Tensor local = i2t ? region : word;  // the padded words too
    const torch::Tensor context = i2t ? word.narrow(0, 0, words) : region;
    torch::Tensor raw = context.mm(local.t());  // (C, M)
    raw = torch::where(raw > 0, raw, 0.1 * raw);
    raw = raw / raw.square().sum(1, /*keepdim=*/true).sqrt();
    const torch::Tensor exponential = (lambda * raw).exp();
    const torch::Tensor share = exponential / exponential.sum(0, /*keepdim=*/true);  // (C, M)
    const torch::Tensor expected = i2t ? share : share.t().narrow(0, 0, words);

    const auto explanation = model_->pair_explainer().Explain(
        images_.view().Slice(2, 1), captions_.view().Slice(c, 1), ScoreMode::kEnsemble);
    ASSERT_TRUE(explanation.ok()) << explanation.status();
    ExpectClose(torch::tensor(explanation->directions[d]->layers[0].attention).view({words, 7}),
                expected);
  }
}

// The later layers' inputs are mixtures within the network; there the modules' own attention, with
// the inputs that they are given, must be what comes out.
TEST_P(DimeModelTest, AttentionOfLaterLayersIsOfTheirInputs) {
  const int d = static_cast<int>(GetParam());
  const auto network = Load(kTinyModel);
  const EncodedSplit split = Encode(*network);
  c10::InferenceMode inference;
  InteractionImpl::Attention attention;
  network->direction(GetParam())
      .Score(split.regions.unsqueeze(1), split.image.unsqueeze(1), split.words.unsqueeze(0),
             split.sentence.unsqueeze(0), split.word_mask.unsqueeze(0), &attention);
  const auto explanation = model_->pair_explainer().Explain(
      images_.view().Slice(0, 1), captions_.view().Slice(4, 1), ScoreMode::kEnsemble);
  ASSERT_TRUE(explanation.ok()) << explanation.status();
  const int64_t words = captions_.lengths[4];
  for (int layer = 0; layer < kNumRoutingLayers; ++layer) {
    torch::Tensor expected = attention[layer].expand({3, 15, -1, -1})[0][4];
    if (GetParam() == Direction::kI2t) {
      EXPECT_EQ(expected.narrow(1, words, captions_.positions - words).abs().sum().item<float>(), 0)
          << "padded words";
      expected = expected.t();
    }
    ExpectClose(torch::tensor(explanation->directions[d]->layers[layer].attention).view({words, 7}),
                expected.narrow(0, 0, words));
  }
  EXPECT_GT((attention[0].expand_as(attention[2]) - attention[2]).abs().max().item<float>(), 1e-3);
}

TEST_P(DimeModelTest, ExplanationsThatCannotBeAreRefused) {
  const EncodedItemsView image = images_.view().Slice(0, 1), caption = captions_.view().Slice(0, 1);
  const PairExplainer& explainer = model_->pair_explainer();
  const auto refuses = [&](const EncodedItemsView& i, const EncodedItemsView& c) {
    return explainer.Explain(i, c, ScoreMode::kEnsemble).status().code() ==
           absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refuses(caption, image));
  EXPECT_TRUE(refuses(images_.view(), caption));
  EncodedItemsView narrow = caption;
  narrow.directions[static_cast<int>(GetParam())].embed_size = 3;
  EXPECT_TRUE(refuses(image, narrow));
  const std::vector<int32_t> too_long = {11};
  EncodedItemsView overlong = caption;
  overlong.lengths = too_long;
  EXPECT_TRUE(refuses(image, overlong));
  EXPECT_EQ(explainer.Words("caf\xe9").status().code(), absl::StatusCode::kInvalidArgument);
}

// One direction is explained alone, as by a model that has no other.
TEST_P(DimeModelTest, AModeExplainsItsDirectionsAlone) {
  const int d = static_cast<int>(GetParam());
  const auto explanation = model_->pair_explainer().Explain(
      images_.view().Slice(0, 1), captions_.view().Slice(0, 1),
      GetParam() == Direction::kI2t ? ScoreMode::kI2t : ScoreMode::kT2i);
  ASSERT_TRUE(explanation.ok()) << explanation.status();
  EXPECT_TRUE(explanation->directions[d].has_value());
  EXPECT_FALSE(explanation->directions[1 - d].has_value());
}

INSTANTIATE_TEST_SUITE_P(Directions, DimeModelTest, testing::ValuesIn(kDirections),
                         [](const auto& info) { return std::string(DirectionName(info.param)); });

// Directories that cannot be loaded say what is wrong with them.
class LoadErrorTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "/broken_model";
    fs::remove_all(directory_);
    fs::copy(kTinyModel, directory_, fs::copy_options::recursive);
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
