#include "examples/scenes/world.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime::scenes {
namespace {

using ::testing::HasSubstr;

std::vector<WorldEntry> Make(World& world, Split split, int scenes) {
  auto entries = world.MakeSplit(split, scenes);
  EXPECT_TRUE(entries.ok()) << entries.status();
  return *std::move(entries);
}

TEST(WorldTest, TwinsAreNeighboursAndFlagsAgreeWithTheTruthTest) {
  World world(7);
  const std::vector<WorldEntry> entries = Make(world, Split::kTest, 200);
  ASSERT_EQ(entries.size(), 200u);
  EXPECT_EQ(entries[12].id, "scene-test-00012");
  for (size_t row = 0; row < entries.size(); ++row) {
    const WorldEntry& twin = entries[row ^ 1];
    EXPECT_EQ(entries[row].twin_id, twin.id);
    EXPECT_EQ(entries[row].twin_kind, twin.twin_kind);
    for (int k = 0; k < kCaptionKinds; ++k) {
      const Caption& caption = entries[row].captions[k];
      EXPECT_TRUE(IsTrue(caption, SceneFacts(entries[row].scene))) << caption.text;
      EXPECT_EQ(IsTrue(caption, SceneFacts(twin.scene)), entries[row].true_of_twin[k])
          << caption.text;
    }
  }
}

TEST(WorldTest, NoSceneGraphIsRepeated) {
  World world(7);
  std::set<std::string> signatures;
  size_t scenes = 0;
  for (Split split : {Split::kTest, Split::kDev, Split::kTrain}) {
    for (const WorldEntry& entry : Make(world, split, 600)) {
      signatures.insert(entry.scene.Signature());
      ++scenes;
    }
  }
  EXPECT_EQ(signatures.size(), scenes);
}

TEST(WorldTest, ASmallerSplitIsTheBeginningOfALargerOne) {
  World one(7), other(7), third(8);
  const std::vector<WorldEntry> small = Make(one, Split::kDev, 20);
  const std::vector<WorldEntry> large = Make(other, Split::kDev, 60);
  for (size_t i = 0; i < small.size(); ++i) {
    EXPECT_EQ(small[i].scene.Signature(), large[i].scene.Signature());
    for (int k = 0; k < kCaptionKinds; ++k) {
      EXPECT_EQ(small[i].captions[k].text, large[i].captions[k].text);
    }
  }
  EXPECT_NE(Make(third, Split::kDev, 2)[0].scene.Signature(), small[0].scene.Signature());
}

// The sample model is trained on seed 7: its world must not change unnoticed.
TEST(WorldTest, TheSampleModelsWorldStaysAsItIs) {
  World world(7);
  const std::vector<WorldEntry> entries = Make(world, Split::kTest, 4);
  EXPECT_EQ(entries[0].captions[0].text, "a filled blue cross and a hollow yellow star");
  EXPECT_EQ(entries[1].captions[4].text,
            "a big filled blue cross above an outlined yellow circle, four shapes in all");
  EXPECT_EQ(entries[2].captions[3].text, "a red heart and three purple shapes");
  EXPECT_EQ(entries[3].captions[2].text, "a purple star is left of a solid red heart");
}

TEST(WorldTest, ALessonInRelationsIsMirroredTwinsWithOneTellingCaptionEach) {
  World::Options options;
  options.scenes = {.twins = TwinKind::kMirrored, .max_objects = 2};
  options.captions.fill(CaptionKind::kRelation);
  options.one_caption = true;
  World world(7, options);
  const std::vector<WorldEntry> entries = Make(world, Split::kTrain, 200);
  ASSERT_EQ(entries.size(), 200u);
  for (size_t row = 0; row < entries.size(); ++row) {
    EXPECT_EQ(entries[row].twin_kind, TwinKind::kMirrored);
    EXPECT_EQ(entries[row].scene.objects.size(), 2u);
    ASSERT_EQ(entries[row].captions.size(), 1u);
    const Caption& caption = entries[row].captions[0];
    EXPECT_EQ(caption.kind, CaptionKind::kRelation);
    EXPECT_TRUE(IsTrue(caption, SceneFacts(entries[row].scene))) << caption.text;
    EXPECT_FALSE(IsTrue(caption, SceneFacts(entries[row ^ 1].scene))) << caption.text;
    EXPECT_EQ(entries[row].true_of_twin, std::vector<bool>{false});
  }
}

TEST(WorldTest, RefusesAnOddNumberOfScenes) {
  World world(7);
  const auto entries = world.MakeSplit(Split::kDev, 3);
  EXPECT_EQ(entries.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(entries.status().message(), HasSubstr("dev"));
  EXPECT_FALSE(world.MakeSplit(Split::kDev, -2).ok());
}

}  // namespace
}  // namespace dime::scenes
