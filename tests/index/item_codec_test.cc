#include "index/item_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/index/file_fixtures.h"
#include "tests/index/gallery_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::HasSubstr;

constexpr auto kLoss = absl::StatusCode::kDataLoss;

TEST(ItemCodecTest, RecordsComeBackWhole) {
  const ImageRecord image = {.id = "a\0b",
                             .width = 3,
                             .height = 4,
                             .uri = "file:///x",
                             .boxes = {1, 2.5f, 3, 4},
                             .create_time = absl::FromUnixNanos(1'700'000'000'123'456'789),
                             .payload = {{"tags", {"x", "y"}}, {"n", 2.5}}};
  ASSERT_OK_AND_ASSIGN(const ImageRecord back, DecodeImageRecord(EncodeRecord(image)));
  EXPECT_EQ(back.id, image.id);
  EXPECT_EQ(back.width, 3);
  EXPECT_EQ(back.height, 4);
  EXPECT_EQ(back.uri, image.uri);
  EXPECT_EQ(back.boxes, image.boxes);
  EXPECT_EQ(back.create_time, image.create_time);
  EXPECT_EQ(back.update_time, absl::InfinitePast());
  EXPECT_EQ(back.payload, image.payload);
  ASSERT_OK_AND_ASSIGN(const ImageRecord brief,
                       DecodeImageRecord(EncodeRecord(image), RecordParts::kWithoutPayload));
  EXPECT_TRUE(brief.payload.is_null());
  EXPECT_EQ(brief.boxes, image.boxes);
  ASSERT_OK_AND_ASSIGN(const ImageRecord stored,
                       DecodeImageRecord(EncodeRecord(image), RecordParts::kStoredPayload));
  EXPECT_TRUE(stored.payload.is_null());
  EXPECT_EQ(stored.stored_payload, SerializePayload(image.payload));
  EXPECT_EQ(stored.boxes, image.boxes);

  const CaptionRecord caption = {.id = "c", .text = "caf\xC3\xA9", .image_id = "a", .uri = "u"};
  ASSERT_OK_AND_ASSIGN(const CaptionRecord same, DecodeCaptionRecord(EncodeRecord(caption)));
  EXPECT_EQ(same.text, caption.text);
  EXPECT_EQ(same.image_id, "a");
  EXPECT_EQ(same.uri, "u");
  EXPECT_TRUE(same.payload.is_null());
}

TEST(ItemCodecTest, WhatIsNoRecordIsDamage) {
  const std::string image = EncodeRecord(MakeImages(2)[1]);
  EXPECT_THAT(DecodeCaptionRecord(image), StatusIs(kLoss, HasSubstr("caption record")));
  for (size_t kept = 0; kept < image.size(); ++kept) {
    EXPECT_THAT(DecodeImageRecord(image.substr(0, kept)), StatusIs(kLoss, HasSubstr("damaged")));
  }
  EXPECT_THAT(DecodeImageRecord(image + "x"), StatusIs(kLoss, HasSubstr("image record")));
}

TEST(ItemCodecTest, EachFormTakesItsBytesAndRoundsSoMuch) {
  const EncodedItems items = MakeItems(Modality::kCaption, 4, 9);
  for (const auto& [form, relative] :
       {std::pair(FeatureForm::kFloat32, 0.0f), std::pair(FeatureForm::kBfloat16, 1.0f / 256),
        std::pair(FeatureForm::kInt8, 1.0f / 254)}) {
    EncodedItems back = CopyItems(ShapeOf(items.view()), {});
    for (int64_t i = 0; i < items.count; ++i) {
      const std::string bytes = EncodeFeatures(items.view().Slice(i, 1), form);
      EXPECT_EQ(static_cast<int64_t>(bytes.size()), EncodedFeaturesBytes(items.view(), form));
      ASSERT_THAT(DecodeFeatures(bytes, form, back), IsOk());
      EncodedItems none = CopyItems(ShapeOf(items.view()), {});
      EXPECT_THAT(DecodeFeatures(bytes.substr(1), form, none), StatusIs(kLoss, HasSubstr("array")));
    }
    EXPECT_EQ(back.count, items.count);
    EXPECT_EQ(back.lengths, items.lengths);
    for (int d = 0; d < kNumDirections; ++d) {
      EXPECT_EQ(back.directions[d].global, items.directions[d].global);
      for (size_t k = 0; k < items.directions[d].local.size(); ++k) {
        // Of unit rows, no number is greater than 1.
        EXPECT_NEAR(back.directions[d].local[k], items.directions[d].local[k], relative);
      }
    }
    EXPECT_EQ(ParseFeatureForm(FeatureFormName(form)), form);
  }
  EXPECT_EQ(ParseFeatureForm("int4"), std::nullopt);
}

}  // namespace
}  // namespace dime
