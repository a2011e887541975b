#include "index/item_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::HasSubstr;

class ItemChecksTest : public testing::Test {
 protected:
  // One item of two positions, in one direction.
  ItemChecksTest() {
    items_ = {.count = 1, .positions = 2, .lengths = {2}, .coarse_dim = 1, .coarse = {1}};
    items_.directions[0] = {.embed_size = 1, .local = {0, 1}, .global = {1}};
  }
  template <typename Record>
  void ExpectRefused(const absl::StatusOr<Record>& checked, const std::string& what) {
    EXPECT_THAT(checked, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(what)));
  }
  EncodedItems items_;
  ImageRecord image_{.id = "i", .width = 4, .height = 3, .boxes = std::vector<float>(8, 1)};
  CaptionRecord caption_{.id = "c", .text = "a red star"};
};

TEST_F(ItemChecksTest, WhatFitsIsKeptAsItIs) {
  image_.payload = {{"n", 1}};
  ASSERT_OK_AND_ASSIGN(const ImageRecord image, CheckImage(image_, items_.view(), {}));
  EXPECT_EQ(image.id, "i");
  EXPECT_EQ(image.boxes.size(), 8u);
  EXPECT_EQ(image.payload.at("n"), 1);
  image_.boxes.clear();
  image_.id.assign(1024, 'x');
  EXPECT_THAT(CheckImage(image_, items_.view(), std::vector<float>{1, 2}), IsOk());
  EXPECT_THAT(CheckCaption(caption_, items_.view()), IsOk());
}

TEST_F(ItemChecksTest, AnImagesFaults) {
  const auto with = [this](auto change) {
    ImageRecord image = image_;
    change(image);
    return CheckImage(image, items_.view(), {});
  };
  ExpectRefused(with([](ImageRecord& i) { i.id = ""; }), "the id is empty");
  ExpectRefused(with([](ImageRecord& i) { i.id = "\xff"; }), "the id is no UTF-8");
  ExpectRefused(with([](ImageRecord& i) { i.id.assign(1025, 'x'); }), "1025 bytes");
  ExpectRefused(with([](ImageRecord& i) { i.uri.assign(70000, 'x'); }), "the uri has 70000");
  ExpectRefused(with([](ImageRecord& i) { i.width = -1; }), "size is negative");
  ExpectRefused(with([](ImageRecord& i) { i.boxes.resize(4); }), "1 boxes for 2 regions");
  ExpectRefused(with([](ImageRecord& i) { i.boxes[3] = NAN; }), "NaN");
  ExpectRefused(with([](ImageRecord& i) { i.payload = 3; }), "payload");
  ExpectRefused(CheckImage(image_, items_.view(), std::vector<float>{INFINITY}), "infinity");
}

TEST_F(ItemChecksTest, ACaptionsFaults) {
  const auto with = [this](auto change) {
    CaptionRecord caption = caption_;
    change(caption);
    return CheckCaption(caption, items_.view());
  };
  ExpectRefused(with([](CaptionRecord& c) { c.text = ""; }), "the text is empty");
  ExpectRefused(with([](CaptionRecord& c) { c.text = "\xc0"; }), "the text is no UTF-8");
  ExpectRefused(with([](CaptionRecord& c) { c.image_id.assign(2000, 'x'); }), "the image_id");
}

TEST_F(ItemChecksTest, FeaturesThatAreNoNumbersOrTooLong) {
  items_.directions[0].local[1] = NAN;
  ExpectRefused(CheckCaption(caption_, items_.view()), "NaN");
  items_.directions[0].local[1] = 0;
  items_.coarse[0] = INFINITY;
  ExpectRefused(CheckImage(image_, items_.view(), {}), "infinity");
  items_.coarse[0] = 0;
  items_.lengths[0] = 3;
  ExpectRefused(CheckCaption(caption_, items_.view()), "the length 3 is not from 1 to 2");
}

}  // namespace
}  // namespace dime
