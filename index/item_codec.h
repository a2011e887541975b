#ifndef DIME_INDEX_ITEM_CODEC_H_
#define DIME_INDEX_ITEM_CODEC_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "index/features.h"
#include "index/item_records.h"

namespace dime {

// How a store keeps the numbers of local features.
enum class FeatureForm {
  kFloat32,   // as they are
  kBfloat16,  // rounded to 8 bits of fraction: half the size
  kInt8,      // 255 steps of a scale for each region or word: a quarter of the size
};
absl::string_view FeatureFormName(FeatureForm form);  // "float32", "bfloat16", "int8"
std::optional<FeatureForm> ParseFeatureForm(absl::string_view name);

// Items as bytes for a store, and back. Functions without state. Decoding gives DATA_LOSS for bytes
// that nothing here wrote.

std::string EncodeRecord(const ImageRecord& record);
std::string EncodeRecord(const CaptionRecord& record);
absl::StatusOr<ImageRecord> DecodeImageRecord(absl::string_view bytes,
                                              RecordParts parts = RecordParts::kAll);
absl::StatusOr<CaptionRecord> DecodeCaptionRecord(absl::string_view bytes,
                                                  RecordParts parts = RecordParts::kAll);

// Length, local and global features of one item (count = 1), without the coarse embedding.
std::string EncodeFeatures(const EncodedItemsView& item, FeatureForm form);
// Appends the item to `items`, whose sizes and modality are set; the coarse embedding is left out.
absl::Status DecodeFeatures(absl::string_view bytes, FeatureForm form, EncodedItems& items);
// Bytes that one item of these sizes takes.
int64_t EncodedFeaturesBytes(const EncodedItemsView& shape, FeatureForm form);

std::string EncodeFloats(absl::Span<const float> values);
// DATA_LOSS unless they are `values.size()` floats.
absl::Status DecodeFloats(absl::string_view bytes, absl::Span<float> values);

}  // namespace dime

#endif  // DIME_INDEX_ITEM_CODEC_H_
