#ifndef DIME_INDEX_FILTER_CACHE_H_
#define DIME_INDEX_FILTER_CACHE_H_

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/item_filter.h"
#include "index/row_bitmap.h"

namespace dime {

// Which rows match the filters that were asked for lately. A row is one version of an item and
// never changes, so that what was found out stays true in every version of the gallery; a new
// version only brings rows that were not looked at yet.
// Thread-safe; two that ask for one filter at the same time may both look.
class FilterCache {
 public:
  explicit FilterCache(size_t max_filters = 32) : max_filters_(max_filters) {}

  // A set in which each row of a version is if the filter matches it; what it says of other rows
  // means nothing. `sequence`: the version's, beyond which it has no rows. `rows_from` gives its
  // rows that are not below a first one, ascending: where a filter was asked of before, the newer
  // ones alone. `evaluate` is called for those not looked at before, ascending, and gives the ones
  // that match; its error ends the call.
  using RowsFrom = std::function<std::vector<int64_t>(int64_t first)>;
  using Evaluate =
      std::function<absl::StatusOr<std::vector<int64_t>>(absl::Span<const int64_t> rows)>;
  absl::StatusOr<std::shared_ptr<const RowBitmap>> Matching(const ItemFilter& filter,
                                                            int64_t sequence,
                                                            const RowsFrom& rows_from,
                                                            const Evaluate& evaluate)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Entry {
    std::string canonical;
    // All rows of the version of this sequence were looked at, and so, as rows do not come back to
    // life, all rows up to it of each later version.
    int64_t through = -1;
    std::shared_ptr<const RowBitmap> looked_at = std::make_shared<RowBitmap>();
    std::shared_ptr<const RowBitmap> matching = std::make_shared<RowBitmap>();
  };
  Entry Find(const std::string& canonical) ABSL_LOCKS_EXCLUDED(mutex_);
  void Put(Entry entry) ABSL_LOCKS_EXCLUDED(mutex_);

  const size_t max_filters_;
  std::mutex mutex_;
  std::list<Entry> entries_ ABSL_GUARDED_BY(mutex_);  // the latest first
};

}  // namespace dime

#endif  // DIME_INDEX_FILTER_CACHE_H_
