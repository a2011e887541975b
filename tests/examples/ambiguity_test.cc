#include "examples/scenes/ambiguity.h"

#include "examples/scenes/caption_writer.h"
#include "examples/scenes/scene_sampler.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime::scenes {
namespace {

using ::testing::Contains;

TEST(AmbiguityTest, CeilingOfAHandComputedCase) {
  // Three images with two captions each. Caption 0 is true of all images, caption 2 of images 1
  // and 2, the others of their own alone.
  const std::vector<std::vector<int>> rows = {{0, 1, 2}, {0}, {1, 2}, {1}, {2}, {2}};
  const RecallCeiling ceiling = ComputeCeiling(rows, 3, 2);
  EXPECT_NEAR(ceiling.text_to_image[0], 100 * (1.0 / 3 + 1 + 0.5 + 1 + 1 + 1) / 6, 1e-9);
  EXPECT_NEAR(ceiling.text_to_image[1], 100, 1e-9);
  // Image 0 has its own 2 only; image 1 has 3 with one foreign; image 2 has 4 with two foreign.
  EXPECT_NEAR(ceiling.image_to_text[0], 100 * (1 + 2.0 / 3 + 2.0 / 4) / 3, 1e-9);
  EXPECT_NEAR(ceiling.image_to_text[1], 100, 1e-9);
}

TEST(AmbiguityTest, ImageToTextDrawsWithoutReplacement) {
  // One image of interest: 1 own caption among 11 true ones, at depth 5 and 10.
  std::vector<std::vector<int>> rows = {{0}};
  for (int i = 1; i <= 10; ++i) rows.push_back({0, i});
  const RecallCeiling ceiling = ComputeCeiling(rows, 11, 1);
  EXPECT_NEAR(ceiling.image_to_text[1], 100 * (5.0 / 11 + 10) / 11, 1e-9);
  EXPECT_NEAR(ceiling.image_to_text[2], 100 * (10.0 / 11 + 10) / 11, 1e-9);
}

TEST(AmbiguityTest, IndexAgreesWithTheTruthTest) {
  const SceneSampler sampler;
  const CaptionWriter writer;
  std::vector<Scene> scenes;
  std::vector<Caption> captions;
  for (uint64_t i = 0; i < 60; ++i) {
    RandomStream random({31, i});
    const TwinScenes twins = sampler.SampleTwins(random);
    scenes.push_back(twins.first);
    scenes.push_back(twins.second);
    for (Caption& caption : writer.Write(twins.first, twins.second, kOneOfEachKind, random)) {
      captions.push_back(std::move(caption));
    }
  }
  TruthIndex index(scenes);
  for (size_t c = 0; c < captions.size(); ++c) {
    std::vector<int> expected;
    for (size_t s = 0; s < scenes.size(); ++s) {
      if (IsTrue(captions[c], SceneFacts(scenes[s]))) expected.push_back(static_cast<int>(s));
    }
    EXPECT_EQ(index.RowsWhereTrue(captions[c]), expected) << captions[c].text;
    EXPECT_THAT(expected, Contains(static_cast<int>(2 * (c / kCaptionKinds))));
  }
}

}  // namespace
}  // namespace dime::scenes
