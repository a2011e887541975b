#ifndef DIME_SERVER_ITEM_CONVERTER_H_
#define DIME_SERVER_ITEM_CONVERTER_H_

#include "absl/status/statusor.h"
#include "dime/v1/gallery.pb.h"
#include "index/item_records.h"
#include "model/model_info.h"
#include "server/ingest_queue.h"
#include "server/search_limits.h"

namespace dime {

// The door for items, as RequestConverter is for searches: messages become records, once, with
// everything about them checked, and records become messages.
// Immutable, hence thread-safe.
class ItemConverter {
 public:
  ItemConverter(const SearchLimits& limits, const ModelInfo& model)
      : limits_(limits), model_(model) {}

  // INVALID_ARGUMENT with the details of error_details.h: every field at fault.
  absl::StatusOr<ImageToWrite> Convert(const v1::UpsertImagesRequest& request) const;
  absl::StatusOr<CaptionToWrite> Convert(const v1::UpsertCaptionsRequest& request) const;

  static v1::Image Write(const ImageRecord& record);
  static v1::Caption Write(const CaptionRecord& record);

 private:
  const SearchLimits limits_;
  const ModelInfo model_;
};

}  // namespace dime

#endif  // DIME_SERVER_ITEM_CONVERTER_H_
