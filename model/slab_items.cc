#include "model/slab_items.h"

#include <sys/mman.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace dime {
namespace {

// Gives `view` arrays of `capacity` items from `memory` on; null only counts. Returns their bytes.
size_t LayOut(EncodedItemsView& view, int64_t capacity, float* memory) {
  size_t used = 0;  // floats
  const auto take = [&](int64_t size) {
    const absl::Span<const float> span(memory == nullptr ? nullptr : memory + used,
                                       memory == nullptr ? 0 : static_cast<size_t>(size));
    used += static_cast<size_t>((size + 15) / 16 * 16);  // on cache lines
    return span;
  };
  view.count = capacity;
  for (DirectionFeaturesView& features : view.directions) {
    features.local = take(capacity * view.positions * features.embed_size);
    features.global = take(capacity * features.embed_size);
  }
  view.coarse = take(capacity * view.coarse_dim);
  const absl::Span<const float> lengths = take(capacity);
  view.lengths = {reinterpret_cast<const int32_t*>(lengths.data()), lengths.size()};
  return used * sizeof(float);
}

}  // namespace

int64_t ItemBytes(const EncodedItemsView& shape) {
  int64_t floats = 1 + shape.coarse_dim;
  for (const DirectionFeaturesView& features : shape.directions) {
    floats += int64_t{shape.positions + 1} * features.embed_size;
  }
  return floats * static_cast<int64_t>(sizeof(float));
}

absl::StatusOr<std::unique_ptr<SlabItems>> SlabItems::Create(const EncodedItemsView& shape,
                                                             int64_t capacity) {
  if (capacity < 1) {
    return absl::InvalidArgumentError(absl::StrCat("a slab needs a slot at least, got ", capacity));
  }
  EncodedItemsView view = shape;
  const size_t bytes = LayOut(view, capacity, nullptr);
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there is no room for a bank of ", bytes >> 20, " MiB"));
  }
  LayOut(view, capacity, static_cast<float*>(memory));
  return std::unique_ptr<SlabItems>(new SlabItems(view, memory, bytes));
}

SlabItems::~SlabItems() { munmap(memory_, bytes_); }

absl::Status SlabItems::Write(absl::Span<const int64_t> slots, const EncodedItemsView& items) {
  if (!SameShape(items, view_) || items.count != static_cast<int64_t>(slots.size())) {
    return absl::InvalidArgumentError("the items do not have the bank's sizes");
  }
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slots[i] < 0 || slots[i] >= view_.count) {
      return absl::InvalidArgumentError(
          absl::StrCat("slot ", slots[i], " is outside the bank's ", view_.count));
    }
    const EncodedItemsView from = items.Slice(static_cast<int64_t>(i), 1);
    const EncodedItemsView to = view_.Slice(slots[i], 1);
    // The memory is this object's own.
    const auto copy = [](const auto& source, const auto& target) {
      using T = std::remove_const_t<std::remove_reference_t<decltype(target[0])>>;
      std::copy(source.begin(), source.end(), const_cast<T*>(target.data()));
    };
    copy(from.lengths, to.lengths);
    copy(from.coarse, to.coarse);
    for (size_t d = 0; d < from.directions.size(); ++d) {
      copy(from.directions[d].local, to.directions[d].local);
      copy(from.directions[d].global, to.directions[d].global);
    }
  }
  return absl::OkStatus();
}

}  // namespace dime
