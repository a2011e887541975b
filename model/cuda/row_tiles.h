#ifndef DIME_MODEL_CUDA_ROW_TILES_H_
#define DIME_MODEL_CUDA_ROW_TILES_H_

#include <cstddef>
#include <cstdint>

#include "model/cuda/simt.h"

// What kernels of DIME's interaction (dime-model.md, 3 to 5) on a device take. Each kernel is a
// function object whose members are its arguments, run by all threads of a grid. Sequences between
// them are bfloat16 rows of `embed_size` channels, padded with zeros; sums are float32. Products
// take tiles of 64 or 128 rows, across items; what is computed of an item does not depend on which
// other items there are.
namespace dime::cuda {

inline constexpr int kCells = 4;
inline constexpr int kMaxBlocks = 8;  // of 16 positions each
inline constexpr int kMaxTileRows = 128;

// Whole items that a tile of so many rows holds: at most one for each 16 rows, for attention takes
// blocks of as many positions.
DIME_HOST_DEVICE constexpr int ItemsOfTile(int rows, int positions) {
  return rows / (positions < 16 ? 16 : positions);
}

inline constexpr float kLog2e = 1.44269504f;
inline constexpr float kTiny = 1e-12f;  // the modules' clamp of norms
inline constexpr float kOpen = 1e-4f;   // below this a path's gates count as shut

// Rows in shared memory as matrix instructions take them without conflicts: blocks of 8 rows by 8
// values, of 128 bytes, those of the same rows side by side.
struct BlockedRows {
  Bf16* values = nullptr;
  int width = 0;  // a multiple of 16

  static DIME_HOST_DEVICE size_t Bytes(int rows, int width) {
    return sizeof(Bf16) * rows * static_cast<size_t>(width);
  }
  DIME_DEVICE Bf16* at(int row, int column) const {
    // Unsigned, so that the quotients are shifts.
    const auto r = static_cast<unsigned>(row);
    return values + r / 8 * static_cast<unsigned>(width) * 8 + r % 8 * 8 + Along(column);
  }
  // From a row's beginning to one of its columns.
  static DIME_DEVICE unsigned Along(int column) {
    const auto c = static_cast<unsigned>(column);
    return c / 8 * 64 + c % 8;
  }
};

// Gives a block's shared memory out, piece by piece.
class SharedPieces {
 public:
  DIME_DEVICE SharedPieces() : next_(SharedMemory()) {}
  template <class T>
  DIME_DEVICE T* Take(int count) {
    T* const taken = reinterpret_cast<T*>(next_);
    next_ += RoundUp(static_cast<int>(sizeof(T)) * count, 16);
    return taken;
  }
  DIME_DEVICE BlockedRows TakeRows(int rows, int width) {
    return {.values = Take<Bf16>(rows * width), .width = width};
  }

 private:
  unsigned char* next_;
};

// Rows of some items: each item's side by side, at a stride, or within blocks that pointers lead
// to.
struct Sequence {
  unsigned char* base = nullptr;
  int64_t stride = 0;                      // bytes from item to item
  unsigned char* const* blocks = nullptr;  // by item; then `base` and `stride` do not count
  int64_t offset = 0;                      // bytes within the item's block
  int width = 0;                           // values of a row

  DIME_DEVICE Bf16* row(int item, int m) const {
    unsigned char* const at = blocks != nullptr ? blocks[item] + offset : base + item * stride;
    return reinterpret_cast<Bf16*>(at) + int64_t{m} * width;
  }
};

// Which items a kernel takes: those listed, or the first `*count`.
struct Selection {
  const int* list = nullptr;
  const int* count = nullptr;

  DIME_DEVICE int size() const { return *count; }
  DIME_DEVICE int item(int place) const { return list == nullptr ? place : list[place]; }
};

// The rows of a block's tile. In shared memory.
struct TileRows {
  const Bf16* from[kMaxTileRows];  // where each lies; null beyond the last
  Bf16* to[kMaxTileRows];          // and where it goes
  int item[kMaxTileRows];
};

// Finds them, for `used` of kRows rows, which follow on those of the block before.
template <int kRows>
DIME_DEVICE void FindTileRows(const Selection& selection, int positions, int used,
                              const Sequence& from, const Sequence& to, TileRows* rows) {
  if (Thread() >= kRows) return;
  const int row = BlockX() * used + Thread();
  const int place = row / positions, position = row % positions;
  const bool there = Thread() < used && place < selection.size();
  const int item = there ? selection.item(place) : 0;
  rows->item[Thread()] = item;
  rows->from[Thread()] = there ? from.row(item, position) : nullptr;
  rows->to[Thread()] = there ? to.row(item, position) : nullptr;
}

// Rows into shared memory: vector(row, column) gives eight values from a column on, a multiple
// of 8. Some are read before any is written, so that reading does not wait for each.
template <int kRows, int kThreads, class Vector>
DIME_DEVICE void FillRows(const BlockedRows& to, Vector&& vector) {
  constexpr int kAhead = 8;
  int row = Thread() % 8, column = Thread() / 8 * 8;
  // Eight threads fill a block of 8 by 8; four times eight read 64 bytes of each row.
  const auto settle = [&] {
    for (; column >= to.width; column -= to.width) row += 8;
  };
  for (settle(); row < kRows;) {
    Words4 words[kAhead];
    Bf16* places[kAhead];
    DIME_UNROLL
    for (int a = 0; a < kAhead; ++a) {
      places[a] = nullptr;
      if (row < kRows) {
        places[a] = to.at(row, column);
        words[a] = vector(row, column);
      }
      column += kThreads;
      settle();
    }
    DIME_UNROLL
    for (int a = 0; a < kAhead; ++a) {
      if (places[a] != nullptr) StoreWords4(places[a], words[a]);
    }
  }
}

// The tile's rows, zeros beyond the last.
template <int kRows, int kThreads>
DIME_DEVICE void LoadTile(const TileRows& rows, const BlockedRows& to) {
  FillRows<kRows, kThreads>(to, [&](int row, int column) {
    const Bf16* const from = rows.from[row];
    return from == nullptr ? Words4{0, 0, 0, 0} : LoadWords4(from + column);
  });
}

// Rows of shared memory to where the tile's go.
template <int kRows, int kThreads>
DIME_DEVICE void StoreTile(const BlockedRows& from, const TileRows& rows) {
  int row = Thread() % 8, column = Thread() / 8 * 8;
  while (true) {
    for (; column >= from.width; column -= from.width) row += 8;
    if (row >= kRows) return;
    Bf16* const to = rows.to[row];
    if (to != nullptr) StoreWords4(to + column, LoadWords4(from.at(row, column)));
    column += kThreads;
  }
}

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_ROW_TILES_H_
