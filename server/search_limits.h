#ifndef DIME_SERVER_SEARCH_LIMITS_H_
#define DIME_SERVER_SEARCH_LIMITS_H_

#include <cstdint>

#include "absl/time/time.h"
#include "index/features.h"

namespace dime {

// What the server accepts; published by GetInfo. See Limits in retrieval.proto.
struct SearchLimits {
  int max_top_k = 1000;
  int max_rerank_depth = 2000;            // at least max_top_k
  int default_rerank_depth = 100;         // of SearchImages; at most max_rerank_depth
  int default_caption_rerank_depth = 0;   // of SearchCaptions; 0: as SearchImages
  int default_search_effort = 0;          // of SearchImages; 0: the index's own
  int default_caption_search_effort = 0;  // of SearchCaptions; 0: the index's own
  int64_t max_exact_items = 50000;
  int max_text_characters = 4096;  // Unicode code points
  int max_search_effort = 4096;
  int64_t max_request_bytes = 16 << 20;
  int max_batch_queries = 32;
  absl::Duration page_token_ttl = absl::Minutes(2);
  int max_outstanding_items = 256;  // of an upsert stream
  int max_delete_ids = 1000;
  int max_list_page_size = 1000;

  // Where a request for items of `target` does not say.
  int DefaultRerankDepth(Modality target) const {
    return target == Modality::kCaption && default_caption_rerank_depth > 0
               ? default_caption_rerank_depth
               : default_rerank_depth;
  }
  int DefaultSearchEffort(Modality target) const {
    return target == Modality::kImage ? default_search_effort : default_caption_search_effort;
  }
};

// top_k where a request gives none.
inline constexpr int kDefaultTopK = 10;

}  // namespace dime

#endif  // DIME_SERVER_SEARCH_LIMITS_H_
