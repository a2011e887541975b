#include "server/item_converter.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/error_details.h"
#include "server/field_checks.h"
#include "server/payload_message.h"
#include "server/proto_values.h"

namespace dime {
namespace {

constexpr size_t kMaxUriBytes = 4096;
constexpr int kBoxNumbers = 4;

void CheckUri(absl::string_view field, const std::string& uri, Violations& violations) {
  if (uri.size() <= kMaxUriBytes) return;
  violations.push_back(
      {std::string(field), v1::ERROR_REASON_VALUE_OUT_OF_RANGE,
       absl::StrCat("must have at most ", kMaxUriBytes, " bytes, got ", uri.size())});
}

Payload ConvertPayload(absl::string_view field, const google::protobuf::Struct& message,
                       Violations& violations) {
  absl::StatusOr<Payload> payload = CheckPayload(FromProtoStruct(message));
  if (payload.ok()) return *std::move(payload);
  violations.push_back({std::string(field), v1::ERROR_REASON_PAYLOAD_INVALID,
                        std::string(payload.status().message())});
  return nullptr;
}

// (R, 4), or nothing.
std::vector<float> ConvertBoxes(const v1::Image& image, int num_regions, Violations& violations) {
  std::vector<float> boxes;
  if (image.boxes_size() != 0 && image.boxes_size() != num_regions) {
    violations.push_back({"image.boxes", v1::ERROR_REASON_FEATURE_SHAPE_MISMATCH,
                          absl::StrCat("must hold a box for each of the ", num_regions,
                                       " regions, or none; got ", image.boxes_size())});
    return boxes;
  }
  boxes.reserve(image.boxes_size() * kBoxNumbers);
  for (const v1::Box& box : image.boxes()) {
    for (const float number : {box.left(), box.top(), box.right(), box.bottom()}) {
      if (!std::isfinite(number)) {
        violations.push_back({absl::StrCat("image.boxes[", boxes.size() / kBoxNumbers, "]"),
                              v1::ERROR_REASON_FEATURE_NOT_FINITE,
                              absl::StrCat("must be finite, got ", number)});
        return {};
      }
      boxes.push_back(number);
    }
  }
  return boxes;
}

}  // namespace

absl::StatusOr<ImageToWrite> ItemConverter::Convert(const v1::UpsertImagesRequest& request) const {
  Violations violations;
  const v1::Image& image = request.image();
  ImageToWrite item;
  CheckId("image.id", image.id(), violations);
  CheckUri("image.uri", image.uri(), violations);
  constexpr int64_t kMaxSide = std::numeric_limits<int32_t>::max();
  CheckRange("image.width", int64_t{image.width()}, 0, kMaxSide, violations);
  CheckRange("image.height", int64_t{image.height()}, 0, kMaxSide, violations);
  item.record.id = image.id();
  item.record.uri = image.uri();
  item.record.width = image.width();
  item.record.height = image.height();
  item.record.boxes = ConvertBoxes(image, model_.num_regions, violations);
  if (image.has_payload()) {
    item.record.payload = ConvertPayload("image.payload", image.payload(), violations);
  }
  item.features = ConvertFeatures("features", request.features(), model_, violations);
  if (!violations.empty()) return InvalidRequestError(violations);
  return item;
}

absl::StatusOr<CaptionToWrite> ItemConverter::Convert(
    const v1::UpsertCaptionsRequest& request) const {
  Violations violations;
  const v1::Caption& caption = request.caption();
  CaptionToWrite item;
  CheckId("caption.id", caption.id(), violations);
  CheckText("caption.text", caption.text(), limits_.max_text_characters, violations);
  if (!caption.image_id().empty()) CheckId("caption.image_id", caption.image_id(), violations);
  CheckUri("caption.uri", caption.uri(), violations);
  item.record.id = caption.id();
  item.record.text = caption.text();
  item.record.image_id = caption.image_id();
  item.record.uri = caption.uri();
  if (caption.has_payload()) {
    item.record.payload = ConvertPayload("caption.payload", caption.payload(), violations);
  }
  if (!violations.empty()) return InvalidRequestError(violations);
  return item;
}

v1::Image ItemConverter::Write(const ImageRecord& record) {
  v1::Image image;
  image.set_id(record.id);
  image.set_uri(record.uri);
  image.set_width(record.width);
  image.set_height(record.height);
  for (size_t i = 0; i + kBoxNumbers <= record.boxes.size(); i += kBoxNumbers) {
    v1::Box& box = *image.add_boxes();
    box.set_left(record.boxes[i]);
    box.set_top(record.boxes[i + 1]);
    box.set_right(record.boxes[i + 2]);
    box.set_bottom(record.boxes[i + 3]);
  }
  WriteCommonFields(record, image);
  return image;
}

v1::Caption ItemConverter::Write(const CaptionRecord& record) {
  v1::Caption caption;
  caption.set_id(record.id);
  caption.set_text(record.text);
  caption.set_image_id(record.image_id);
  caption.set_uri(record.uri);
  WriteCommonFields(record, caption);
  return caption;
}

}  // namespace dime
