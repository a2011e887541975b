#include "examples/scenes/scene_sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace dime::scenes {
namespace {

constexpr uint64_t kPairs = 400;

std::vector<TwinScenes> SamplePairs() {
  const SceneSampler sampler;
  std::vector<TwinScenes> pairs;
  for (uint64_t i = 0; i < kPairs; ++i) {
    RandomStream random({11, i});
    pairs.push_back(sampler.SampleTwins(random));
  }
  return pairs;
}

const SceneObject* AtCell(const Scene& scene, int column, int row) {
  for (const SceneObject& object : scene.objects) {
    if (object.column == column && object.row == row) return &object;
  }
  return nullptr;
}

// In how many attributes two objects differ.
int Differences(const SceneObject& a, const SceneObject& b) {
  return int(a.shape != b.shape) + int(a.colour != b.colour) + int(a.size != b.size) +
         int(a.fill != b.fill);
}

Scene MirroredGraph(Scene scene, bool left_right) {
  for (SceneObject& object : scene.objects) {
    int& place = left_right ? object.column : object.row;
    place = kGridCells - 1 - place;
  }
  return scene;
}

TEST(SceneSamplerTest, ObjectsAreDistinctInCellsOfTheirOwnAndInThePicture) {
  for (const TwinScenes& twins : SamplePairs()) {
    for (const Scene* scene : {&twins.first, &twins.second}) {
      ASSERT_GE(scene->objects.size(), size_t{kMinObjects});
      ASSERT_LE(scene->objects.size(), size_t{kMaxObjects});
      for (size_t i = 0; i < scene->objects.size(); ++i) {
        const SceneObject& a = scene->objects[i];
        EXPECT_GE(a.x, a.radius);
        EXPECT_LE(a.x, kScenePixels - a.radius);
        EXPECT_GE(a.y, a.radius);
        EXPECT_LE(a.y, kScenePixels - a.radius);
        for (size_t j = 0; j < i; ++j) {
          const SceneObject& b = scene->objects[j];
          EXPECT_FALSE(a.LooksLike(b));
          EXPECT_FALSE(a.column == b.column && a.row == b.row);
          EXPECT_GT(std::hypot(a.x - b.x, a.y - b.y), a.radius + b.radius);
          // Never a doubt about a relation: far beyond the margin or far below it.
          EXPECT_EQ(std::abs(a.x - b.x) > kRelationMargin + 8, a.column != b.column);
          EXPECT_EQ(std::abs(a.x - b.x) < kRelationMargin - 8, a.column == b.column);
          EXPECT_EQ(std::abs(a.y - b.y) > kRelationMargin + 8, a.row != b.row);
          EXPECT_EQ(std::abs(a.y - b.y) < kRelationMargin - 8, a.row == b.row);
        }
      }
    }
  }
}

TEST(SceneSamplerTest, AttributeTwinsExchangeOneAttributeOfTwoObjects) {
  int seen = 0;
  for (const TwinScenes& twins : SamplePairs()) {
    if (twins.kind != TwinKind::kAttributes) continue;
    ++seen;
    ASSERT_EQ(twins.first.objects.size(), twins.second.objects.size());
    std::vector<std::pair<const SceneObject*, const SceneObject*>> changed;
    for (const SceneObject& object : twins.first.objects) {
      const SceneObject* other = AtCell(twins.second, object.column, object.row);
      ASSERT_NE(other, nullptr) << "a cell was vacated";
      if (!object.LooksLike(*other)) changed.push_back({&object, other});
    }
    ASSERT_EQ(changed.size(), 2u);
    const auto& [a, new_a] = changed[0];
    const auto& [b, new_b] = changed[1];
    EXPECT_EQ(Differences(*a, *new_a), 1);
    EXPECT_EQ(Differences(*b, *new_b), 1);
    // What one lost the other has.
    const bool exchanged = new_a->shape == (a->shape != new_a->shape ? b->shape : a->shape) &&
                           new_a->colour == (a->colour != new_a->colour ? b->colour : a->colour) &&
                           new_a->size == (a->size != new_a->size ? b->size : a->size) &&
                           new_a->fill == (a->fill != new_a->fill ? b->fill : a->fill);
    EXPECT_TRUE(exchanged);
    EXPECT_FALSE(new_a->LooksLike(*b)) << "the two merely changed places";
  }
  EXPECT_GT(seen, 80);
}

TEST(SceneSamplerTest, CountTwinsHaveOneObjectMoreOfASortThatIsThere) {
  int seen = 0;
  std::array<int, 2> larger_first = {};
  for (const TwinScenes& twins : SamplePairs()) {
    if (twins.kind != TwinKind::kCounts) continue;
    ++seen;
    const bool first_larger = twins.first.objects.size() > twins.second.objects.size();
    ++larger_first[first_larger ? 1 : 0];
    const Scene& larger = first_larger ? twins.first : twins.second;
    const Scene& smaller = first_larger ? twins.second : twins.first;
    ASSERT_EQ(larger.objects.size(), smaller.objects.size() + 1);
    int added = 0;
    for (const SceneObject& object : larger.objects) {
      const SceneObject* same = AtCell(smaller, object.column, object.row);
      if (same != nullptr) {
        EXPECT_TRUE(object.LooksLike(*same));
        continue;
      }
      ++added;
      EXPECT_TRUE(std::any_of(smaller.objects.begin(), smaller.objects.end(), [&](const auto& o) {
        return o.shape == object.shape || o.colour == object.colour;
      }));
    }
    EXPECT_EQ(added, 1);
  }
  EXPECT_GT(seen, 80);
  EXPECT_GT(larger_first[0], 25);
  EXPECT_GT(larger_first[1], 25);
}

TEST(SceneSamplerTest, MirroredTwinsAreMirrorImagesAndDiffer) {
  int seen = 0;
  for (const TwinScenes& twins : SamplePairs()) {
    if (twins.kind != TwinKind::kMirrored) continue;
    ++seen;
    EXPECT_NE(twins.first.Signature(), twins.second.Signature());
    EXPECT_TRUE(MirroredGraph(twins.first, true).Signature() == twins.second.Signature() ||
                MirroredGraph(twins.first, false).Signature() == twins.second.Signature());
  }
  EXPECT_GT(seen, 80);
}

TEST(SceneSamplerTest, WhatIsNotSpokenOfIsDrawnAfresh) {
  for (const TwinScenes& twins : SamplePairs()) {
    EXPECT_NE(twins.first.background_seed, twins.second.background_seed);
    EXPECT_NE(twins.first.objects[0].radius, twins.second.objects[0].radius);
  }
}

TEST(SceneSamplerTest, GroupsAreCommonInLargerScenes) {
  int larger = 0;
  int with_group = 0;
  for (const TwinScenes& twins : SamplePairs()) {
    if (twins.first.objects.size() < 3) continue;
    ++larger;
    std::set<Shape> shapes;
    std::set<Colour> colours;
    for (const SceneObject& object : twins.first.objects) {
      shapes.insert(object.shape);
      colours.insert(object.colour);
    }
    const size_t count = twins.first.objects.size();
    if (shapes.size() < count || colours.size() < count) ++with_group;
  }
  EXPECT_GT(with_group, larger / 2);
}

}  // namespace
}  // namespace dime::scenes
