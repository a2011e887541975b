#ifndef DIME_MODEL_SLAB_ITEMS_H_
#define DIME_MODEL_SLAB_ITEMS_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/features.h"

namespace dime {

// Room in memory for items of one shape, slot by slot; memory is taken as slots are written. Slots
// that nobody looks at may be written while others read other slots.
class SlabItems {
 public:
  // `shape`: a view of no items. RESOURCE_EXHAUSTED if the address space does not have the room.
  static absl::StatusOr<std::unique_ptr<SlabItems>> Create(const EncodedItemsView& shape,
                                                           int64_t capacity);
  ~SlabItems();
  SlabItems(const SlabItems&) = delete;
  SlabItems& operator=(const SlabItems&) = delete;

  // All slots; those that were not written are zero.
  const EncodedItemsView& view() const { return view_; }
  // INVALID_ARGUMENT if the items are not of the shape, or not one for each slot.
  absl::Status Write(absl::Span<const int64_t> slots, const EncodedItemsView& items);

 private:
  SlabItems(EncodedItemsView view, void* memory, size_t bytes)
      : view_(view), memory_(memory), bytes_(bytes) {}

  const EncodedItemsView view_;  // into memory_
  void* const memory_;
  const size_t bytes_;
};

// Bytes of an item of this shape in memory.
int64_t ItemBytes(const EncodedItemsView& shape);

}  // namespace dime

#endif  // DIME_MODEL_SLAB_ITEMS_H_
