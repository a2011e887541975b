#include <cmath>

#include "index/item_codec.h"
#include "tests/fuzz/fuzz_target.h"

namespace dime {
namespace {

constexpr FeatureForm kForms[] = {FeatureForm::kFloat32, FeatureForm::kBfloat16,
                                  FeatureForm::kInt8};

EncodedItems Shape() {
  EncodedItems items{.modality = Modality::kCaption, .count = 0, .positions = 3, .coarse_dim = 2};
  items.directions[0].embed_size = 4;
  items.directions[1].embed_size = 2;
  return items;
}

EncodedItems One() {
  EncodedItems items = Shape();
  items.count = 1;
  items.lengths = {2};
  items.coarse = {0.6f, 0.8f};
  for (DirectionFeatures& features : items.directions) {
    features.local.assign(items.positions * features.embed_size, 0.25f);
    features.global.assign(features.embed_size, -0.5f);
  }
  return items;
}

void Run(absl::string_view bytes) {
  if (const auto image = DecodeImageRecord(bytes); image.ok()) {
    const auto again = DecodeImageRecord(EncodeRecord(*image));
    FuzzRequire(again.ok() && again->id == image->id && again->payload == image->payload &&
                    again->boxes.size() == image->boxes.size(),
                "an image's record survives being written");
  }
  if (const auto caption = DecodeCaptionRecord(bytes); caption.ok()) {
    const auto again = DecodeCaptionRecord(EncodeRecord(*caption));
    FuzzRequire(again.ok() && again->id == caption->id && again->text == caption->text,
                "a caption's record survives being written");
  }
  for (const FeatureForm form : kForms) {
    EncodedItems items = Shape();
    if (!DecodeFeatures(bytes, form, items).ok()) continue;
    FuzzRequire(items.lengths.size() == 1 && items.directions[0].local.size() == 12 &&
                    items.directions[1].global.size() == 2,
                "features have their sizes");
    FuzzRequire(items.lengths[0] >= 0 && items.lengths[0] <= items.positions,
                "an item's length is within its positions");
  }
  float floats[4];
  FuzzRequire(DecodeFloats(bytes, floats).ok() == (bytes.size() == sizeof floats),
              "floats are as many as their bytes");
}

}  // namespace

FuzzTarget CodecTarget() {
  ImageRecord image;
  image.id = "image-1";
  image.uri = "images/1.png";
  image.width = 120;
  image.height = 80;
  image.boxes = {0, 0, 10, 10};
  image.payload = {{"color", "red"}, {"sizes", {1.0, 2.5}}};
  CaptionRecord caption;
  caption.id = "caption-1";
  caption.text = "a red star";
  caption.image_id = "image-1";
  FuzzTarget target = {.name = "codec",
                       .seeds = {EncodeRecord(image), EncodeRecord(caption),
                                 EncodeRecord(ImageRecord()), EncodeFloats({1, 2, 3, 4})},
                       .run = Run};
  const EncodedItems one = One();
  for (const FeatureForm form : kForms) target.seeds.push_back(EncodeFeatures(one.view(), form));
  return target;
}

}  // namespace dime
