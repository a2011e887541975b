#ifndef DIME_TESTS_MODEL_DIME_SCORER_SUBJECT_H_
#define DIME_TESTS_MODEL_DIME_SCORER_SUBJECT_H_

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "model/dime/direction_model.h"
#include "model/dime/interaction_weights_reader.h"
#include "model/kernels/instructions.h"
#include "model/pair_scorer.h"

// Random models that scorers of other making are held against, on the modules' word.
namespace dime {

struct Sizes {
  int regions = 7;
  int words = 10;
  int embed_size = 24;
  int num_heads = 3;
  int feed_forward_size = 40;
  int router_size = 20;
};
inline constexpr Sizes kFull = {36, 32, 256, 16, 512, 512};

// What kernels can be held against the modules here, as a parameter of tests.
inline std::vector<kernels::Instructions> SupportedInstructions() {
  std::vector<kernels::Instructions> supported;
  for (const kernels::Instructions instructions : kernels::kAllInstructions) {
    if (kernels::IsSupported(instructions)) supported.push_back(instructions);
  }
  return supported;
}
// Of these, those that training takes.
inline std::vector<kernels::Instructions> TrainingInstructions() {
  std::vector<kernels::Instructions> supported = SupportedInstructions();
  std::erase_if(supported, [](kernels::Instructions instructions) {
    return kernels::OperandsOf(instructions) == kernels::Operands::kInt8;
  });
  return supported;
}
using InstructionsAndDirection = std::tuple<kernels::Instructions, Direction>;
inline std::string NameOf(const testing::TestParamInfo<InstructionsAndDirection>& info) {
  return std::string(kernels::InstructionsName(std::get<0>(info.param))) +
         std::string(DirectionName(std::get<1>(info.param)));
}

// Sets the routers so that gates differ from pair to pair and about half of them are shut.
inline void ShutGates(DirectionModelImpl& model) {
  torch::NoGradGuard no_grad;
  for (auto& parameter : model.named_parameters()) {
    if (parameter.key().find("router.mlp.2.bias") != std::string::npos) parameter.value().zero_();
    if (parameter.key().find("router.mlp.2.weight") != std::string::npos) {
      parameter.value().mul_(20);
    }
  }
}

// Random weights, always the same ones. `lambda` 0: the published one.
inline DirectionModel MakeRandomModel(Direction direction, const Sizes& sizes,
                                      const std::string& norm, double lambda = 0) {
  torch::manual_seed(7);
  DirectionConfig config;
  config.embed_size = sizes.embed_size;
  config.feature_dim = 5;
  config.num_heads = sizes.num_heads;
  config.feed_forward_size = sizes.feed_forward_size;
  config.router_size = sizes.router_size;
  config.raw_feature_norm = norm;
  config.lambda_softmax = lambda != 0 ? lambda : direction == Direction::kI2t ? 4 : 9;
  DirectionModel model(direction, config, 6);
  torch::NoGradGuard no_grad;
  for (auto& buffer : model->named_buffers()) {
    if (buffer.key() == "interaction.bn.running_mean") buffer.value().uniform_(-0.1, 0.1);
    if (buffer.key() == "interaction.bn.running_var") buffer.value().uniform_(0.5, 2);
  }
  return model;
}

// One direction with random weights and items, against which scorers made of it are held.
class Subject {
 public:
  static constexpr int kImages = 11, kCaptions = 9;

  Subject(Direction direction, const Sizes& sizes, const std::string& norm = "clipped_l2norm")
      : direction_(direction), sizes_(sizes) {
    model_ = MakeRandomModel(direction, sizes, norm);
    model_->eval();
    info_.num_regions = sizes.regions;
    info_.max_words = sizes.words;
    info_.directions[static_cast<int>(direction)].embed_size = sizes.embed_size;
    images_ = MakeItems(Modality::kImage, kImages, sizes.regions);
    captions_ = MakeItems(Modality::kCaption, kCaptions, sizes.words);
  }

  void ShutGates() { dime::ShutGates(*model_); }

  // What kernels are made of.
  InteractionWeightsReader ReadWeights() const {
    return InteractionWeightsReader(*model_, sizes_.regions, sizes_.words);
  }

  // The modules' scores (images, captions) and path weights (images, captions, 36).
  InteractionImpl::Output Expected() {
    torch::NoGradGuard no_grad;
    const auto of = [this](const EncodedItems& items) { return items.view().of(direction_); };
    const int64_t e = sizes_.embed_size;
    const auto tensor = [](absl::Span<const float> values, std::vector<int64_t> shape) {
      return torch::from_blob(const_cast<float*>(values.data()), shape);
    };
    torch::Tensor mask = torch::zeros({1, kCaptions, sizes_.words}, torch::kBool);
    for (int c = 0; c < kCaptions; ++c) mask[0][c].narrow(0, 0, captions_.lengths[c]).fill_(true);
    return model_->Score(tensor(of(images_).local, {kImages, 1, sizes_.regions, e}),
                         tensor(of(images_).global, {kImages, 1, e}),
                         tensor(of(captions_).local, {1, kCaptions, sizes_.words, e}),
                         tensor(of(captions_).global, {1, kCaptions, e}), mask);
  }

  ScoringRequest Request(const FeatureBank* bank, int64_t query, absl::Span<const int64_t> rows,
                         bool want_paths = false) const {
    const EncodedItemsView items =
        bank->modality() == Modality::kImage ? captions_.view() : images_.view();
    return {.query = items.Slice(query, 1),
            .bank = bank,
            .rows = rows,
            .mode = direction_ == Direction::kI2t ? ScoreMode::kI2t : ScoreMode::kT2i,
            .want_paths = want_paths};
  }

  const ModelInfo& info() const { return info_; }
  const EncodedItems& images() const { return images_; }
  const EncodedItems& captions() const { return captions_; }
  int d() const { return static_cast<int>(direction_); }

 private:
  EncodedItems MakeItems(Modality modality, int64_t count, int positions) {
    EncodedItems items{.modality = modality, .count = count, .positions = positions};
    for (int64_t i = 0; i < count; ++i) {
      items.lengths.push_back(
          modality == Modality::kImage ? positions : 1 + static_cast<int32_t>(i * 5 % positions));
    }
    DirectionFeatures& part = items.directions[d()];
    part.embed_size = sizes_.embed_size;
    const auto unit = [](std::vector<int64_t> shape) {
      const torch::Tensor x = torch::randn(shape);
      return (x / x.norm(2, -1, true)).contiguous();
    };
    const torch::Tensor local = unit({count * positions, sizes_.embed_size});
    const torch::Tensor global = unit({count, sizes_.embed_size});
    part.local.assign(local.data_ptr<float>(), local.data_ptr<float>() + local.numel());
    part.global.assign(global.data_ptr<float>(), global.data_ptr<float>() + global.numel());
    part.global[0] = 0;  // where the guide is zero, the guidance cell is too
    return items;
  }

  const Direction direction_;
  const Sizes sizes_;
  DirectionModel model_{nullptr};
  ModelInfo info_;
  EncodedItems images_, captions_;
};

inline std::vector<int64_t> AllRows(int64_t count) {
  std::vector<int64_t> rows(count);
  for (int64_t i = 0; i < count; ++i) rows[i] = i;
  return rows;
}

// Holds scores and path weights of a subject, from both searches, against the modules': those of
// each `every`-th query.
inline void ExpectAgreement(Subject& subject, const PairScorer& scorer, float tolerance,
                            int every = 1) {
  const InteractionImpl::Output expected = subject.Expected();
  const torch::Tensor scores = expected.scores.contiguous();
  const torch::Tensor paths = expected.path_weights.contiguous();
  for (const EncodedItems* items : {&subject.images(), &subject.captions()}) {
    const bool images = items->modality == Modality::kImage;
    const auto bank = scorer.MakeBank(items->view());
    ASSERT_TRUE(bank.ok()) << bank.status();
    const std::vector<int64_t> rows = AllRows(items->count);
    const int queries = images ? Subject::kCaptions : Subject::kImages;
    std::vector<ScoringRequest> requests;
    for (int q = 0; q < queries; q += every) {
      requests.push_back(subject.Request(bank->get(), q, rows, /*want_paths=*/q % 2 == 0));
    }
    const auto results = scorer.Score(requests);
    ASSERT_TRUE(results.ok()) << results.status();
    for (int q = 0; q < queries; q += every) {
      const PairScores& answer = (*results)[q / every];
      ASSERT_EQ(answer.scores[subject.d()].size(), rows.size());
      EXPECT_EQ(answer.paths[subject.d()].size(), q % 2 == 0 ? rows.size() * kNumPathWeights : 0);
      for (size_t k = 0; k < rows.size(); ++k) {
        const int64_t i = images ? rows[k] : q, c = images ? q : rows[k];
        EXPECT_NEAR(answer.scores[subject.d()][k], scores[i][c].item<float>(), tolerance)
            << "image " << i << ", caption " << c;
        if (q % 2 != 0) continue;
        for (int w = 0; w < kNumPathWeights; ++w) {
          EXPECT_NEAR(answer.paths[subject.d()][k * kNumPathWeights + w],
                      paths[i][c][w].item<float>(), 3 * tolerance)
              << "image " << i << ", caption " << c << ", weight " << w;
        }
      }
    }
  }
}

// For every way of normalising raw attention.
inline constexpr const char* kNorms[] = {"clipped_l2norm", "l2norm",  "clipped_l1norm", "l1norm",
                                         "clipped",        "no_norm", "softmax"};

// Sizes that fill no tile, or just fill one.
inline constexpr Sizes kOddShapes[] = {
    {.regions = 1, .words = 2, .embed_size = 8, .num_heads = 8},
    {.regions = 16, .words = 33, .embed_size = 32, .num_heads = 1, .router_size = 33},
    {.regions = 70, .words = 5, .embed_size = 33, .num_heads = 11, .feed_forward_size = 1},
    {.regions = 17, .words = 80, .embed_size = 64, .num_heads = 4, .feed_forward_size = 128},
    {.regions = 36, .words = 24, .embed_size = 160, .num_heads = 2},
};

// Holds a scorer of a subject whose gates are partly shut against the modules, and that it counts
// what it ran and what it skipped.
inline void ExpectShutGatesAreSkipped(Subject& subject, const PairScorer& scorer,
                                      float tolerance = 0.03f) {
  ExpectAgreement(subject, scorer, tolerance);
  const RoutingCounts counts = scorer.routing_counts();
  // One cell of layer 0 and three of each further layer, for each pair and each of two searches.
  EXPECT_EQ(counts.run + counts.skipped, 2 * 7 * Subject::kImages * Subject::kCaptions);
  EXPECT_GT(counts.skipped, counts.run / 20);
  EXPECT_GT(counts.run, 0);
}

// That a score is the same bits in a call of many requests, each with the rows turned and some of
// them twice, as alone: of each `every`-th request.
inline void ExpectSameBitsAloneAndTogether(const Subject& subject, const PairScorer& scorer,
                                           int every = 1) {
  const auto bank = scorer.MakeBank(subject.images().view());
  ASSERT_TRUE(bank.ok()) << bank.status();
  const std::vector<int64_t> all = AllRows(Subject::kImages);
  std::vector<std::vector<int64_t>> rows(Subject::kCaptions);
  std::vector<ScoringRequest> requests;
  for (int q = 0; q < Subject::kCaptions; ++q) {
    rows[q] = all;
    std::rotate(rows[q].begin(), rows[q].begin() + q, rows[q].end());
    rows[q].insert(rows[q].end(), all.begin(), all.begin() + q);
    requests.push_back(subject.Request(bank->get(), q, rows[q], q == 3));
  }
  const auto together = scorer.Score(requests);
  ASSERT_TRUE(together.ok()) << together.status();
  for (int q = 0; q < Subject::kCaptions; q += every) {
    for (size_t k = 0; k < rows[q].size(); ++k) {
      const ScoringRequest alone = subject.Request(bank->get(), q, {&rows[q][k], 1});
      EXPECT_EQ((*together)[q].scores[subject.d()][k],
                (*scorer.Score({&alone, 1}))[0].scores[subject.d()][0]);
    }
  }
}

}  // namespace dime

#endif  // DIME_TESTS_MODEL_DIME_SCORER_SUBJECT_H_
