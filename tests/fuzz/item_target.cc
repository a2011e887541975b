#include <algorithm>
#include <cmath>

#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/slice.h"
#include "index/text_lines.h"
#include "server/error_details.h"
#include "server/item_converter.h"
#include "server/request_parser.h"
#include "tests/fakes/fake_model.h"
#include "tests/fuzz/fuzz_target.h"

namespace dime {
namespace {

const ItemConverter& Converter() {
  static const auto& converter = *new ItemConverter(SearchLimits(), FakeModel().info());
  return converter;
}

void CheckRefusal(const absl::Status& status) {
  FuzzRequire(status.code() == absl::StatusCode::kInvalidArgument, "an item is at fault itself");
  FuzzRequire(ReasonOf(status) != v1::ERROR_REASON_UNSPECIFIED, "a refusal has its reason");
}

void Run(absl::string_view bytes) {
  constexpr int64_t kMaxBytes = 1 << 17;
  const grpc::Slice slice(bytes.data(), bytes.size());
  const grpc::ByteBuffer buffer(&slice, 1);
  const auto image_request = ParseRequest<v1::UpsertImagesRequest>(buffer, kMaxBytes);
  if (image_request.ok()) {
    const auto image = Converter().Convert(*image_request);
    if (!image.ok()) {
      CheckRefusal(image.status());
    } else {
      FuzzRequire(!image->record.id.empty() && IsValidUtf8(image->record.id), "an id is a text");
      FuzzRequire(image->features.size() == size_t{kFakeNumRegions} * kFakeFeatureDim &&
                      std::all_of(image->features.begin(), image->features.end(),
                                  [](float value) { return std::isfinite(value); }),
                  "features are the model's, and numbers");
      FuzzRequire(ItemConverter::Write(image->record).id() == image->record.id,
                  "an image is told as it is kept");
    }
  }
  const auto caption_request = ParseRequest<v1::UpsertCaptionsRequest>(buffer, kMaxBytes);
  if (caption_request.ok()) {
    const auto caption = Converter().Convert(*caption_request);
    if (!caption.ok()) {
      CheckRefusal(caption.status());
    } else {
      FuzzRequire(!caption->record.text.empty() && IsValidUtf8(caption->record.text),
                  "a caption has its text");
      FuzzRequire(ItemConverter::Write(caption->record).text() == caption->record.text,
                  "a caption is told as it is kept");
    }
  }
}

}  // namespace

FuzzTarget ItemTarget() {
  v1::UpsertImagesRequest image;
  image.mutable_image()->set_id("image-1");
  image.mutable_image()->set_uri("images/1.png");
  (*image.mutable_image()->mutable_payload()->mutable_fields())["color"].set_string_value("red");
  image.mutable_features()->set_num_regions(kFakeNumRegions);
  image.mutable_features()->set_feature_dim(kFakeFeatureDim);
  image.mutable_features()->set_float32(std::string(4 * kFakeNumRegions * kFakeFeatureDim, '\x3c'));
  v1::UpsertCaptionsRequest caption;
  caption.mutable_caption()->set_id("caption-1");
  caption.mutable_caption()->set_text("a red star");
  caption.mutable_caption()->set_image_id("image-1");
  return {.name = "item",
          .seeds = {image.SerializeAsString(), caption.SerializeAsString(), ""},
          .run = Run};
}

}  // namespace dime
