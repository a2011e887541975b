#ifndef DIME_INDEX_ITEM_RECORDS_H_
#define DIME_INDEX_ITEM_RECORDS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "index/payload.h"

namespace dime {

// What is known of an image besides its features; all of it optional but the id.
struct ImageRecord {
  std::string id;
  int32_t width = 0;         // pixels; 0 = unknown
  int32_t height = 0;        // pixels; 0 = unknown
  std::string uri;           // where the picture may be found, RFC 3986; empty = unknown
  std::vector<float> boxes;  // (R, 4) x0, y0, x1, y1 in pixels; empty = unknown
  // Set by the gallery that keeps it; InfinitePast = unknown.
  absl::Time create_time = absl::InfinitePast();  // of the first write of the id
  absl::Time update_time = absl::InfinitePast();  // of the latest
  Payload payload;
  // In place of `payload`, where RecordParts::kStoredPayload was read: SerializePayload()'s bytes,
  // which VisitStoredPayload() takes. Empty if there is none, or if it is in `payload`.
  std::string stored_payload;
};

struct CaptionRecord {
  std::string id;
  std::string text;                               // UTF-8
  std::string image_id;                           // the image that it describes; empty = unknown
  std::string uri;                                // where the text may be found; empty = unknown
  absl::Time create_time = absl::InfinitePast();  // as an image's
  absl::Time update_time = absl::InfinitePast();
  Payload payload;
  std::string stored_payload;  // as an image's
};

// How much of a record is read.
enum class RecordParts {
  kAll,
  kWithoutPayload,  // the payload may be left empty, which saves most of the work
  kStoredPayload,   // it may be left as it is stored, which saves parsing it
};

}  // namespace dime

#endif  // DIME_INDEX_ITEM_RECORDS_H_
