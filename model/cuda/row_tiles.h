#ifndef DIME_MODEL_CUDA_ROW_TILES_H_
#define DIME_MODEL_CUDA_ROW_TILES_H_

#include <cstddef>
#include <cstdint>

#include "model/cuda/simt.h"

// Kernels of DIME's interaction (dime-model.md, 3 to 5) on a device: those that multiply by
// weights, and what all of them take. Each is a function object whose members are its arguments,
// run by all threads of a grid. Sequences between them are bfloat16 rows of `embed_size` channels,
// padded with zeros; sums are float32. Products take tiles of 64 rows, across items; what is
// computed of an item does not depend on which other items there are.
namespace dime::cuda {

inline constexpr int kTileRows = 64;
inline constexpr int kCells = 4;
inline constexpr int kMaxBlocks = 8;  // of 16 positions each
inline constexpr int kPad = 8;        // values beside a row in shared memory, against conflicts

inline constexpr float kLog2e = 1.44269504f;
inline constexpr float kTiny = 1e-12f;  // the modules' clamp of norms
inline constexpr float kOpen = 1e-4f;   // below this a path's gates count as shut

// W^T and bias of a linear layer, for TileProduct: for each 8 columns, for each 32 inner values,
// for each lane its words of two matrix instructions. Padded with zeros.
struct Product {
  const Words4* weights = nullptr;  // (tiles, steps, 32)
  const float* bias = nullptr;      // (8 tiles)
  int tiles = 0;
  int steps = 0;
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

// The rows of a tile: which item and position each is of. In shared memory.
struct TileRows {
  int item[kTileRows];
  int position[kTileRows];  // -1 beyond the last
};

DIME_DEVICE void FindTileRows(const Selection& selection, int positions, TileRows* rows) {
  if (Thread() < kTileRows) {
    const int row = BlockX() * kTileRows + Thread();
    const int place = row / positions;
    const bool there = place < selection.size();
    rows->item[Thread()] = there ? selection.item(place) : 0;
    rows->position[Thread()] = there ? row % positions : -1;
  }
  SyncBlock();
}

// The tile's rows of a sequence into shared memory, zeros beyond the last.
DIME_DEVICE void LoadTile(const Sequence& from, const TileRows& rows, Bf16* to) {
  const int vectors = from.width / 8;
  for (int i = Thread(); i < kTileRows * vectors; i += kBlockThreads) {
    const int row = i / vectors, column = i % vectors * 8;
    Words4 words = {0, 0, 0, 0};
    if (rows.position[row] >= 0) {
      words = LoadWords4(from.row(rows.item[row], rows.position[row]) + column);
    }
    StoreWords4(to + row * (from.width + kPad) + column, words);
  }
}

// Where a tile's rows and its values lie in a block's shared memory.
struct Tile {
  TileRows* rows;
  Bf16* values;  // (kTileRows, width + kPad)
};

// Loads the block's tile of a sequence, whose items have so many rows each; false for a block
// beyond the last.
DIME_DEVICE bool BeginTile(const Selection& selection, int positions, const Sequence& in,
                           Tile* tile) {
  if (BlockX() * kTileRows >= selection.size() * positions) return false;
  tile->rows = reinterpret_cast<TileRows*>(SharedMemory());
  tile->values = reinterpret_cast<Bf16*>(tile->rows + 1);
  FindTileRows(selection, positions, tile->rows);
  LoadTile(in, *tile->rows, tile->values);
  SyncBlock();
  return true;
}

// The product of a tile of 64 rows in shared memory, `lda` values apart, with a layer's weights:
// each thread calls row(r, n, v0, v1) for the sums, without the bias, of row r in columns n and
// n + 1 that are its own. The warps are two by two, each with 32 rows and 64 columns at a time.
template <class Row>
DIME_DEVICE void TileProduct(const Bf16* a, int lda, const Product& product, Row&& row) {
  constexpr int kRows = 2, kColumns = 8;  // blocks of 16 rows and of 8 columns
  const int lane = Thread() % kWarp, warp = Thread() / kWarp;
  const int first_row = warp % 2 * 16 * kRows;
  const Bf16* const source = a + (first_row + lane % 16) * lda + lane / 16 * 8;
  for (int tile = warp / 2 * kColumns; tile < product.tiles; tile += 2 * kColumns) {
    float sums[kRows][kColumns][4] = {};
    const auto load = [&](int step, Words4(&words)[kColumns]) {
      DIME_UNROLL
      for (int c = 0; c < kColumns; ++c) {
        words[c] = {0, 0, 0, 0};
        if (tile + c < product.tiles) {
          words[c] = LoadWords4(product.weights +
                                ((int64_t{tile} + c) * product.steps + step) * kWarp + lane);
        }
      }
    };
    Words4 words[kColumns];
    load(0, words);
    for (int step = 0; step < product.steps; ++step) {
      Words4 next[kColumns];
      load(step + 1 < product.steps ? step + 1 : step, next);
      DIME_UNROLL
      for (int half = 0; half < 2; ++half) {
        uint32_t left[kRows][4], right[kColumns][2];
        DIME_UNROLL
        for (int r = 0; r < kRows; ++r) {
          LoadMatrices(left[r], source + r * 16 * lda + step * 32 + half * 16);
        }
        DIME_UNROLL
        for (int c = 0; c < kColumns; ++c) {
          right[c][0] = half == 0 ? words[c].x : words[c].z;
          right[c][1] = half == 0 ? words[c].y : words[c].w;
        }
        MultiplyAdd(sums, left, right);
      }
      DIME_UNROLL
      for (int c = 0; c < kColumns; ++c) words[c] = next[c];
    }
    DIME_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      if (tile + c >= product.tiles) break;
      const int column = (tile + c) * 8 + lane % 4 * 2;
      DIME_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const int at = first_row + r * 16 + lane / 4;
        row(at, column, sums[r][c][0], sums[r][c][1]);
        row(at + 8, column, sums[r][c][2], sums[r][c][3]);
      }
    }
  }
}

// out = in W^T + b, tile by tile.
struct LinearKernel {
  Selection selection;
  int positions;
  Sequence in;
  Product product;
  Sequence out;

  static size_t SharedBytes(int width) {
    return sizeof(TileRows) + sizeof(Bf16) * kTileRows * (width + kPad);
  }
  DIME_DEVICE void operator()() const {
    Tile tile;
    if (!BeginTile(selection, positions, in, &tile)) return;
    const TileRows* const rows = tile.rows;
    TileProduct(tile.values, in.width + kPad, product, [&](int r, int n, float v0, float v1) {
      if (rows->position[r] < 0) return;
      StoreWord(out.row(rows->item[r], rows->position[r]) + n,
                Pack(v0 + product.bias[n], v1 + product.bias[n + 1]));
    });
  }
};

// out = residual + second(relu(first(in))), tile by tile; the hidden rows stay in shared memory.
struct FeedForwardKernel {
  Selection selection;
  int positions;
  Sequence in;
  Product first, second;
  Sequence residual, out;

  static size_t SharedBytes(int width, int hidden) {
    return LinearKernel::SharedBytes(width) + sizeof(Bf16) * kTileRows * (hidden + kPad);
  }
  DIME_DEVICE void operator()() const {
    Tile tile;
    if (!BeginTile(selection, positions, in, &tile)) return;
    const TileRows* const rows = tile.rows;
    Bf16* const hidden = tile.values + kTileRows * (in.width + kPad);
    const int lda = second.steps * 32 + kPad;
    TileProduct(tile.values, in.width + kPad, first, [&](int r, int n, float v0, float v1) {
      StoreWord(hidden + r * lda + n,
                Pack(Max(v0 + first.bias[n], 0), Max(v1 + first.bias[n + 1], 0)));
    });
    SyncBlock();
    TileProduct(hidden, lda, second, [&](int r, int n, float v0, float v1) {
      const int m = rows->position[r];
      if (m < 0) return;
      const uint32_t z = LoadWord(residual.row(rows->item[r], m) + n);
      StoreWord(out.row(rows->item[r], m) + n,
                Pack(v0 + second.bias[n] + Low(z), v1 + second.bias[n + 1] + High(z)));
    });
  }
};

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_ROW_TILES_H_
