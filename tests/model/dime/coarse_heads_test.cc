#include "model/dime/coarse_heads.h"

#include <torch/torch.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/dime/losses.h"
#include "model/dime/modules_model.h"
#include "model/dime/weights.h"

namespace dime {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

constexpr int kBertSize = 12, kFeatureDim = 6, kWords = 5, kRegions = 3;

CoarseHeadsConfig TinyHeads() {
  return {.coarse_dim = 7,
          .hidden_size = 10,
          .num_queries = 3,
          .feature_dim = kFeatureDim,
          .bert_size = kBertSize};
}

CoarseHeads MakeHeads(const CoarseHeadsConfig& config) {
  torch::manual_seed(3);
  CoarseHeads heads(config);
  heads->eval();
  heads->image->SetInputStatistics(torch::rand({config.feature_dim}),
                                   torch::rand({config.feature_dim}) + 0.5);
  return heads;
}

TEST(CoarseHeadsTest, BothSidesGiveUnitRowsOfOneWidth) {
  CoarseHeads heads = MakeHeads(TinyHeads());
  const torch::Tensor images = heads->Images(torch::rand({4, kRegions, kFeatureDim}));
  const torch::Tensor captions =
      heads->Captions(torch::randn({2, kWords, kBertSize}), torch::tensor({5, 2}));
  EXPECT_EQ(images.sizes(), torch::IntArrayRef({4, 7}));
  EXPECT_EQ(captions.sizes(), torch::IntArrayRef({2, 7}));
  EXPECT_TRUE(torch::allclose(images.norm(2, 1), torch::ones({4})));
  EXPECT_TRUE(torch::allclose(captions.norm(2, 1), torch::ones({2})));
}

TEST(CoarseHeadsTest, PaddingDoesNotMatter) {
  CoarseHeads heads = MakeHeads(TinyHeads());
  const torch::Tensor lengths = torch::tensor({3, 3});
  torch::Tensor states = torch::randn({1, kWords, kBertSize}).repeat({2, 1, 1});
  states[1].narrow(0, 3, 2).mul_(100).add_(7);
  const torch::Tensor captions = heads->Captions(states, lengths);
  // To rounding: on some processors LibTorch's products differ by the row that they are in.
  EXPECT_TRUE(torch::allclose(captions[0], captions[1], 0, 1e-6));
  const torch::Tensor shorter = heads->Captions(states.narrow(1, 0, 3), lengths);
  EXPECT_TRUE(torch::allclose(shorter, captions, 0, 1e-6));
  // What is no padding does matter.
  EXPECT_FALSE(torch::allclose(heads->Captions(states, torch::tensor({4, 4}))[1], captions[1]));
}

TEST(CoarseHeadsTest, OrderOfRegionsDoesNotMatterButTheirContentDoes) {
  CoarseHeads heads = MakeHeads(TinyHeads());
  const torch::Tensor regions = torch::rand({1, kRegions, kFeatureDim});
  const torch::Tensor image = heads->Images(regions);
  EXPECT_TRUE(torch::allclose(heads->Images(regions.flip(1)), image, 0, 1e-6));
  EXPECT_FALSE(torch::allclose(heads->Images(regions.flip(2)), image, 0, 1e-3));
}

TEST(PoolingHeadTest, AnInputThatNeverChangesStaysFinite) {
  PoolingHead head(PoolingHeadImpl::Options{
      .input_size = 2, .hidden_size = 4, .num_queries = 1, .output_size = 3});
  head->SetInputStatistics(torch::tensor({1.0f, 2.0f}), torch::tensor({0.0f, 1.0f}));
  const torch::Tensor out = head->forward(torch::full({1, 3, 2}, 1e6));
  EXPECT_TRUE(out.isfinite().all().item<bool>()) << out;
}

TEST(ListDistillationLossTest, IsZeroForTheTaughtOrderAndPositiveForAnother) {
  torch::manual_seed(2);
  const torch::Tensor taught = torch::randn({2, 3, 4});
  EXPECT_NEAR(ListDistillationLoss(taught + 5, taught).item<float>(), 0, 1e-6);
  EXPECT_GT(ListDistillationLoss(-taught, taught).item<float>(), 0.1);
}

// A model directory with a direction, a little BERT and, on demand, heads.
class HeadsInModelTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "/coarse_heads_test_" + std::to_string(getpid());
    fs::remove_all(root_);
    fs::create_directories(root_ + "/bert");
    std::ofstream(root_ + "/bert/vocab.txt") << "[PAD]\n[UNK]\n[CLS]\n[SEP]\nred\nblue\ndog\ncat\n";
    std::ofstream(root_ + "/bert/config.json")
        << R"({"vocab_size": 8, "hidden_size": 12, "num_hidden_layers": 1,
               "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 16})";
    const auto bert = BertConfig::Load(root_ + "/bert/config.json");
    ASSERT_TRUE(bert.ok()) << bert.status();
    torch::manual_seed(4);
    ASSERT_TRUE(SaveWeights(*Bert(*bert), root_ + "/bert/model.safetensors").ok());
    ModelConfig config{.max_words = kWords, .num_regions = kRegions};
    const DirectionConfig direction{.weights = "i2t.safetensors",
                                    .embed_size = 8,
                                    .feature_dim = kFeatureDim,
                                    .num_heads = 2,
                                    .feed_forward_size = 10,
                                    .router_size = 7};
    config.directions[static_cast<int>(Direction::kI2t)] = direction;
    ASSERT_TRUE(config.Save(root_ + "/config.json").ok());
    ASSERT_TRUE(SaveWeights(*DirectionModel(Direction::kI2t, direction, kBertSize),
                            root_ + "/i2t.safetensors")
                    .ok());
  }
  void TearDown() override { fs::remove_all(root_); }

  std::string heads_path() const { return root_ + "/" + kCoarseHeadsName; }
  void PutHeads(const CoarseHeadsConfig& config) {
    const absl::Status status = SaveCoarseHeads(*MakeHeads(config), heads_path());
    ASSERT_TRUE(status.ok()) << status;
  }
  absl::StatusOr<std::unique_ptr<DimeModel>> Load() {
    return DimeModel::Load(root_, {.device = "cpu", .scorer = "modules"});
  }
  std::string root_;
};

TEST_F(HeadsInModelTest, ComeBackAsTheyWereSaved) {
  PutHeads(TinyHeads());
  auto loaded = LoadCoarseHeads(heads_path());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ((*loaded)->config().coarse_dim, 7);
  EXPECT_EQ((*loaded)->config().num_queries, 3);
  EXPECT_EQ((*loaded)->config().bert, "bert");
  const torch::Tensor features = torch::rand({2, kRegions, kFeatureDim});
  EXPECT_TRUE((*loaded)->Images(features).equal(MakeHeads(TinyHeads())->Images(features)));
}

TEST_F(HeadsInModelTest, MakeTheModelsCoarseEmbeddings) {
  const std::vector<std::string> captions = {"red dog", "blue cat dog"};
  const torch::Tensor features = torch::rand({2, kRegions, kFeatureDim});
  const absl::Span<const float> values(features.data_ptr<float>(), features.numel());

  const auto without = Load();
  ASSERT_TRUE(without.ok()) << without.status();
  EXPECT_FALSE((*without)->info().coarse_heads);
  EXPECT_EQ((*without)->info().coarse_dim, 8);
  const auto global = (*without)->caption_encoder().EncodeCaptions(captions);
  ASSERT_TRUE(global.ok()) << global.status();
  EXPECT_EQ(global->coarse_dim, 8);
  EXPECT_EQ(global->coarse.size(), 16);

  PutHeads(TinyHeads());
  const auto with = Load();
  ASSERT_TRUE(with.ok()) << with.status();
  EXPECT_TRUE((*with)->info().coarse_heads);
  EXPECT_EQ((*with)->info().coarse_dim, 7);
  const auto images = (*with)->image_encoder().EncodeImages(2, kRegions, values);
  ASSERT_TRUE(images.ok()) << images.status();
  const auto words = (*with)->caption_encoder().EncodeCaptions(captions);
  ASSERT_TRUE(words.ok()) << words.status();
  const auto network = Network::Load(root_, torch::kCPU);
  ASSERT_TRUE(network.ok()) << network.status();
  CoarseHeadsImpl& heads = *(*network)->coarse_heads();
  const auto tokens = TokenBatch::Make(*(*network)->coarse_backbone().tokenizer, captions, kWords);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  const torch::Tensor states =
      Bert((*network)->coarse_backbone().bert)->forward(tokens->ids, tokens->lengths);
  const auto expect_equal = [](const torch::Tensor& expected, const EncodedItems& items) {
    ASSERT_EQ(items.coarse_dim, 7);
    ASSERT_EQ(static_cast<int64_t>(items.coarse.size()), expected.numel());
    const torch::Tensor actual = torch::tensor(items.coarse).view(expected.sizes());
    EXPECT_TRUE(torch::allclose(actual, expected, 0, 1e-6)) << actual << expected;
  };
  expect_equal(heads.Images(features), *images);
  expect_equal(heads.Captions(states, tokens->lengths), *words);
  // What reranking takes is the same with and without them.
  EXPECT_EQ(words->directions[0].local, global->directions[0].local);
}

TEST_F(HeadsInModelTest, ArePartOfTheFingerprint) {
  const auto without = Load();
  ASSERT_TRUE(without.ok()) << without.status();
  PutHeads(TinyHeads());
  const auto with = Load();
  ASSERT_TRUE(with.ok()) << with.status();
  EXPECT_NE((*with)->info().fingerprint, (*without)->info().fingerprint);
  fs::remove(heads_path());
  const auto again = Load();
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*again)->info().fingerprint, (*without)->info().fingerprint);
}

TEST_F(HeadsInModelTest, OfOtherFeaturesAreRefusedByName) {
  CoarseHeadsConfig config = TinyHeads();
  config.feature_dim = 9;
  PutHeads(config);
  const auto model = Load();
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(model.status().message()),
              AllOf(HasSubstr("coarse.safetensors"), HasSubstr("image.position.weight"),
                    HasSubstr("dime_train_coarse")));
}

TEST_F(HeadsInModelTest, OfAnotherBertAreRefusedByName) {
  CoarseHeadsConfig config = TinyHeads();
  config.bert = "bert-t2i";
  PutHeads(config);
  EXPECT_THAT(std::string(Load().status().message()),
              AllOf(HasSubstr("coarse.safetensors"), HasSubstr("bert-t2i")));
  config = TinyHeads();
  config.bert_size = 20;
  PutHeads(config);
  EXPECT_THAT(std::string(Load().status().message()), HasSubstr("caption.position.weight"));
}

TEST_F(HeadsInModelTest, ADamagedFileIsRefused) {
  PutHeads(TinyHeads());
  fs::resize_file(heads_path(), fs::file_size(heads_path()) / 2);
  const auto model = Load();
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(model.status().message()), HasSubstr("coarse.safetensors"));
}

TEST_F(HeadsInModelTest, MetadataThatDoNotFitTheTensorsAreRefused) {
  const std::map<std::string, std::string> right = {{"format", "dime-coarse-heads"},
                                                    {"format_version", "1"},
                                                    {"bert", "bert"},
                                                    {"coarse_dim", "7"},
                                                    {"hidden_size", "10"},
                                                    {"num_queries", "3"},
                                                    {"feature_dim", "6"},
                                                    {"bert_size", "12"}};
  const struct {
    const char* field;
    const char* value;
    const char* named;
  } cases[] = {{"format", "other", "format"},
               {"format_version", "2", "format_version"},
               {"coarse_dim", "65000", "image.inner.weight"},
               {"hidden_size", "-1", "hidden_size"},
               {"num_queries", "many", "num_queries"},
               {"bert_size", "13", "caption.position.weight"}};
  for (const auto& wrong : cases) {
    auto metadata = right;
    metadata[wrong.field] = wrong.value;
    ASSERT_TRUE(SaveWeights(*MakeHeads(TinyHeads()), heads_path(), metadata).ok());
    const auto heads = LoadCoarseHeads(heads_path());
    EXPECT_EQ(heads.status().code(), absl::StatusCode::kInvalidArgument) << wrong.field;
    EXPECT_THAT(std::string(heads.status().message()),
                AllOf(HasSubstr("coarse.safetensors"), HasSubstr(wrong.named)));
  }
  ASSERT_TRUE(SaveWeights(*MakeHeads(TinyHeads()), heads_path(), right).ok());
  EXPECT_TRUE(LoadCoarseHeads(heads_path()).ok());
}

}  // namespace
}  // namespace dime
