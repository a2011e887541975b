#include "index/item_checks.h"

#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "index/float_bits.h"
#include "index/payload.h"
#include "index/status_macros.h"
#include "index/text_lines.h"

namespace dime {
namespace {

constexpr size_t kMaxIdBytes = 1024;
constexpr size_t kMaxTextBytes = size_t{64} << 10;

absl::Status CheckText(absl::string_view what, absl::string_view text, size_t limit) {
  if (!IsValidUtf8(text)) return absl::InvalidArgumentError(absl::StrCat(what, " is no UTF-8"));
  if (text.size() > limit) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " has ", text.size(), " bytes; at most ", limit, " are allowed"));
  }
  return absl::OkStatus();
}

absl::Status CheckId(absl::string_view id) {
  if (id.empty()) return absl::InvalidArgumentError("the id is empty");
  return CheckText("the id", id, kMaxIdBytes);
}

absl::Status CheckFeatures(const EncodedItemsView& item) {
  if (item.lengths[0] < 1 || item.lengths[0] > item.positions) {
    return absl::InvalidArgumentError(
        absl::StrCat("the length ", item.lengths[0], " is not from 1 to ", item.positions));
  }
  bool finite = FindNonFinite(item.coarse) < 0;
  for (const DirectionFeaturesView& features : item.directions) {
    finite = finite && FindNonFinite(features.local) < 0 && FindNonFinite(features.global) < 0;
  }
  if (!finite) return absl::InvalidArgumentError("the features hold a NaN or an infinity");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ImageRecord> CheckImage(const ImageRecord& record, const EncodedItemsView& item,
                                       absl::Span<const float> raw) {
  RETURN_IF_ERROR(CheckId(record.id));
  RETURN_IF_ERROR(CheckText("the uri", record.uri, kMaxTextBytes));
  if (record.width < 0 || record.height < 0) {
    return absl::InvalidArgumentError("the picture's size is negative");
  }
  if (!record.boxes.empty() && record.boxes.size() != 4 * static_cast<size_t>(item.positions)) {
    return absl::InvalidArgumentError(
        absl::StrCat(record.boxes.size() / 4, " boxes for ", item.positions, " regions"));
  }
  if (FindNonFinite(record.boxes) >= 0 || FindNonFinite(raw) >= 0) {
    return absl::InvalidArgumentError("boxes or raw features hold a NaN or an infinity");
  }
  RETURN_IF_ERROR(CheckFeatures(item));
  ImageRecord checked = record;
  ASSIGN_OR_RETURN(checked.payload, CheckPayload(record.payload));
  return checked;
}

absl::StatusOr<CaptionRecord> CheckCaption(const CaptionRecord& record,
                                           const EncodedItemsView& item) {
  RETURN_IF_ERROR(CheckId(record.id));
  if (record.text.empty()) return absl::InvalidArgumentError("the text is empty");
  RETURN_IF_ERROR(CheckText("the text", record.text, kMaxTextBytes));
  RETURN_IF_ERROR(CheckText("the image_id", record.image_id, kMaxIdBytes));
  RETURN_IF_ERROR(CheckText("the uri", record.uri, kMaxTextBytes));
  RETURN_IF_ERROR(CheckFeatures(item));
  CaptionRecord checked = record;
  ASSIGN_OR_RETURN(checked.payload, CheckPayload(record.payload));
  return checked;
}

}  // namespace dime
