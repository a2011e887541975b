#include "examples/scenes/featuriser.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "examples/scenes/scene_painter.h"
#include "examples/scenes/scene_sampler.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/examples/scene_fixtures.h"

namespace dime::scenes {
namespace {

constexpr int kD = Featuriser::kDimension;
constexpr int kR = Featuriser::kRegions;

std::vector<float> FeaturesOf(const Picture& picture) {
  auto features = Featuriser().Featurise(picture);
  EXPECT_TRUE(features.ok()) << features.status();
  return *std::move(features);
}

// The first numbers of a region, or its last (the position).
std::vector<float> Appearance(const std::vector<float>& features, int region) {
  const auto begin = features.begin() + static_cast<ptrdiff_t>(region) * kD;
  return {begin, begin + Featuriser::kAppearance};
}
std::vector<float> Position(const std::vector<float>& features, int region) {
  const auto end = features.begin() + static_cast<ptrdiff_t>(region + 1) * kD;
  return {end - Featuriser::kPosition, end};
}

Picture Flat() {
  Picture picture(kScenePixels, kScenePixels);
  std::fill(picture.pixels.begin(), picture.pixels.end(), uint8_t{240});
  return picture;
}

TEST(FeaturiserTest, AppearanceIsStandardisedOverTheWorld) {
  const SceneSampler sampler;
  const ScenePainter painter;
  double sum = 0, squares = 0;
  int64_t clipped = 0, count = 0;
  for (uint64_t i = 0; i < 60; ++i) {
    RandomStream random({41, i});
    const std::vector<float> features =
        FeaturesOf(painter.Paint(sampler.SampleTwins(random).first));
    ASSERT_EQ(features.size(), size_t{kR} * kD);
    for (int region = 0; region < kR; ++region) {
      for (float value : Appearance(features, region)) {
        ASSERT_TRUE(std::isfinite(value));
        ASSERT_LE(std::abs(value), 6);
        sum += value;
        squares += static_cast<double>(value) * value;
        clipped += std::abs(value) == 6;
        ++count;
      }
    }
  }
  EXPECT_NEAR(sum / double(count), 0, 0.1);
  EXPECT_NEAR(squares / double(count), 1, 0.2);
  EXPECT_LT(clipped, count / 100);
}

TEST(FeaturiserTest, PositionHasAFixedVarianceAndIsUniqueToEachWindow) {
  const std::vector<float> features = FeaturesOf(Flat());
  double squares = 0;
  for (int region = 0; region < kR; ++region) {
    for (float value : Position(features, region)) squares += double(value) * value;
    for (int other = 0; other < region; ++other) {
      EXPECT_NE(Position(features, region), Position(features, other));
    }
    // A flat picture looks the same everywhere.
    EXPECT_THAT(Appearance(features, region),
                ::testing::Pointwise(::testing::FloatEq(), Appearance(features, 0)));
  }
  const double gain = Featuriser::kPositionGain;
  EXPECT_NEAR(squares / (kR * Featuriser::kPosition), gain * gain, 1e-4);
}

TEST(FeaturiserTest, MirroringMovesAppearanceToOtherPositions) {
  Scene scene;
  scene.objects = {ObjectAt(0, 0, Shape::kCircle, Colour::kRed)};
  Scene mirrored = scene;
  mirrored.objects[0] = ObjectAt(2, 0, Shape::kCircle, Colour::kRed);
  const std::vector<float> left = FeaturesOf(ScenePainter().Paint(scene));
  const std::vector<float> right = FeaturesOf(ScenePainter().Paint(mirrored));
  // The window that shows most red: number 176 is the red bin of the colour histogram.
  const auto reddest = [](const std::vector<float>& features) {
    int best = 0;
    for (int region = 1; region < kR; ++region) {
      if (Appearance(features, region)[176] > Appearance(features, best)[176]) best = region;
    }
    return best;
  };
  EXPECT_LE(reddest(left) % 6, 1);
  EXPECT_GE(reddest(right) % 6, 4);
  const std::vector<float> a = Position(left, reddest(left));
  const std::vector<float> b = Position(right, reddest(right));
  EXPECT_NE(a, b);
  EXPECT_LT(a[12], 0);  // the ramp of x
  EXPECT_GT(b[12], 0);
}

TEST(FeaturiserTest, ColourAndOrientationAreBound) {
  // Vertical bars have horizontal gradients: orientation bin 0, in the colour's own row.
  Picture bars = Flat();
  for (int y = 0; y < kScenePixels; ++y) {
    for (int x = 0; x < kScenePixels; ++x) {
      if (x / 6 % 2 == 0) continue;
      uint8_t* rgb = bars.At(x, y);
      rgb[0] = 32;
      rgb[1] = 92;
      rgb[2] = 214;
    }
  }
  const std::vector<float> raw = Featuriser::RawAppearance(bars);
  const float* joint = &raw[192];  // of the first window, (8 colours, 8 orientations)
  const float* largest = std::max_element(joint, joint + 64);
  EXPECT_EQ(largest - joint, 4 * 8 + 0) << "blue is the fifth hue";
  EXPECT_EQ(joint[4 * 8 + 4], 0) << "no horizontal edges";
}

TEST(FeaturiserTest, BoxesAreTheWindows) {
  const std::vector<float> boxes = Featuriser::Boxes();
  ASSERT_EQ(boxes.size(), size_t{kR} * 4);
  EXPECT_EQ(std::vector<float>(boxes.begin(), boxes.begin() + 4),
            (std::vector<float>{0, 0, 40, 40}));
  EXPECT_EQ(std::vector<float>(boxes.begin() + 4, boxes.begin() + 8),
            (std::vector<float>{16, 0, 56, 40}));
  EXPECT_EQ(std::vector<float>(boxes.end() - 4, boxes.end()),
            (std::vector<float>{80, 80, 120, 120}));
}

TEST(FeaturiserTest, RefusesOtherSizes) {
  const auto features = Featuriser().Featurise(Picture(64, 120));
  EXPECT_EQ(features.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(features.status().message(), ::testing::HasSubstr("64 x 120"));
}

}  // namespace
}  // namespace dime::scenes
