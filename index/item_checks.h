#ifndef DIME_INDEX_ITEM_CHECKS_H_
#define DIME_INDEX_ITEM_CHECKS_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/features.h"
#include "index/item_records.h"

namespace dime {

// What a gallery takes in: checks of one item before it is written, whoever writes it. They give
// the record as it is to be kept (its payload in the form that is stored), or INVALID_ARGUMENT
// saying what is wrong with it: ids of 1 to 1,024 bytes, texts and URIs of at most 64 KiB, all
// UTF-8, payloads that CheckPayload() takes, numbers that are finite, lengths and boxes that fit.
// `item`: its features, one item, whose sizes were checked. Functions without state, hence
// thread-safe.

// `raw`: (R, D), or empty.
absl::StatusOr<ImageRecord> CheckImage(const ImageRecord& record, const EncodedItemsView& item,
                                       absl::Span<const float> raw);
absl::StatusOr<CaptionRecord> CheckCaption(const CaptionRecord& record,
                                           const EncodedItemsView& item);

}  // namespace dime

#endif  // DIME_INDEX_ITEM_CHECKS_H_
