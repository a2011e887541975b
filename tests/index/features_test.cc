#include "index/features.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dime {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(FeaturesTest, SlicesEveryArrayByItems) {
  EncodedItems items;
  items.modality = Modality::kCaption;
  items.count = 3;
  items.positions = 2;
  items.lengths = {2, 1, 2};
  items.directions[1] = {.embed_size = 1, .local = {1, 2, 3, 4, 5, 6}, .global = {7, 8, 9}};
  items.coarse_dim = 2;
  items.coarse = {1, 0, 0, 1, -1, 0};

  const EncodedItemsView slice = items.view().Slice(1, 2);
  EXPECT_EQ(slice.modality, Modality::kCaption);
  EXPECT_EQ(slice.count, 2);
  EXPECT_EQ(slice.positions, 2);
  EXPECT_THAT(slice.lengths, ElementsAre(1, 2));
  EXPECT_EQ(slice.of(Direction::kI2t).embed_size, 0);
  EXPECT_THAT(slice.of(Direction::kI2t).local, IsEmpty());
  EXPECT_THAT(slice.of(Direction::kT2i).local, ElementsAre(3, 4, 5, 6));
  EXPECT_THAT(slice.of(Direction::kT2i).global, ElementsAre(8, 9));
  EXPECT_THAT(slice.coarse, ElementsAre(0, 1, -1, 0));
  EXPECT_EQ(items.view().Slice(3, 0).count, 0);
}

TEST(FeaturesTest, ModesUseTheirDirections) {
  EXPECT_TRUE(Uses(ScoreMode::kI2t, Direction::kI2t));
  EXPECT_FALSE(Uses(ScoreMode::kI2t, Direction::kT2i));
  EXPECT_FALSE(Uses(ScoreMode::kT2i, Direction::kI2t));
  EXPECT_TRUE(Uses(ScoreMode::kEnsemble, Direction::kI2t));
  EXPECT_TRUE(Uses(ScoreMode::kEnsemble, Direction::kT2i));
  EXPECT_EQ(ScoreModeName(ScoreMode::kEnsemble), "ensemble");
  EXPECT_EQ(DirectionName(Direction::kT2i), "t2i");
  EXPECT_EQ(ModalityName(OtherModality(Modality::kImage)), "caption");
}

}  // namespace
}  // namespace dime
