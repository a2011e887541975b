#ifndef DIME_MODEL_CUDA_ITEM_KERNELS_H_
#define DIME_MODEL_CUDA_ITEM_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "model/cuda/row_tiles.h"
#include "model/cuda/simt.h"
#include "model/cuda/tile_products.h"

// Kernels of DIME's interaction on a device (see row_tiles.h): what is done once for an item, as
// the local side or as a context, and where it is kept.
namespace dime::cuda {

// Where things lie in an item's block on the device.
struct LocalLayout {
  int64_t sequence = 0, product = 0, reasoned = 0, gates = 0, bytes = 0;
};
struct ContextLayout {
  int64_t rows = 0;         // int32: those that are valid
  int64_t guide = 0;        // (E) float32
  int64_t matrix = 0;       // (C16, E)
  int64_t projections = 0;  // (3 layers, scale and shift, C16 / 2, E, 2)
  int64_t bytes = 0;
};

// Two values of 16 bits whose sum is a float32 to 16 bits, as three columns of a row of 3 E: high,
// low and high again, to be multiplied with weights laid out to match.
DIME_DEVICE void StoreSplit(Bf16* row, int width, int channel, float v0, float v1) {
  const uint32_t high = Pack(v0, v1);
  StoreWord(row + channel, high);
  StoreWord(row + width + channel, Pack(v0 - Low(high), v1 - High(high)));
  StoreWord(row + 2 * width + channel, high);
}

// An item's local sequence out of float32, and its mean. A block an item; an even number of
// channels is read, past which there are zeros.
struct ConvertLocalKernel {
  const float* from;  // (items, positions, true_size)
  int positions, true_size;
  unsigned char* const* blocks;
  LocalLayout layout;
  int embed_size;
  Bf16* means;  // (items, 3 E)

  DIME_DEVICE void operator()() const {
    const int item = BlockX();
    const float* const source = from + int64_t{item} * positions * true_size;
    auto* const to = reinterpret_cast<Bf16*>(blocks[item] + layout.sequence);
    for (int e = Thread() * 2; e < embed_size; e += kBlockThreads * 2) {
      float sum0 = 0, sum1 = 0;
      for (int m = 0; m < positions; ++m) {
        const float v0 = e < true_size ? source[m * true_size + e] : 0;
        const float v1 = e + 1 < true_size ? source[m * true_size + e + 1] : 0;
        sum0 += v0;
        sum1 += v1;
        StoreWord(to + m * embed_size + e, Pack(v0, v1));
      }
      const float share = 1.0f / static_cast<float>(positions);
      StoreSplit(means + int64_t{item} * 3 * embed_size, embed_size, e, sum0 * share, sum1 * share);
    }
  }
};

// An item's context out of float32, and its guide.
struct ConvertContextKernel {
  const float* from;    // (items, from_rows, true_size)
  const float* global;  // (items, true_size)
  const int* lengths;   // (items)
  int from_rows, true_size;
  unsigned char* const* blocks;
  ContextLayout layout;
  int context_rows, embed_size;  // C16, E

  DIME_DEVICE void operator()() const {
    const int item = BlockX();
    unsigned char* const block = blocks[item];
    const int length = lengths[item];
    if (Thread() == 0) *reinterpret_cast<int*>(block + layout.rows) = length;
    const float* const source = from + int64_t{item} * from_rows * true_size;
    auto* const guide = reinterpret_cast<float*>(block + layout.guide);
    auto* const matrix = reinterpret_cast<Bf16*>(block + layout.matrix);
    for (int e = Thread() * 2; e < embed_size; e += kBlockThreads * 2) {
      const auto value = [&](const float* row, int channel) {
        return channel < true_size ? row[channel] : 0;
      };
      guide[e] = value(global + int64_t{item} * true_size, e);
      guide[e + 1] = value(global + int64_t{item} * true_size, e + 1);
      for (int c = 0; c < context_rows; ++c) {
        const float* const row = source + int64_t{c} * true_size;
        StoreWord(matrix + c * embed_size + e,
                  c < length ? Pack(value(row, e), value(row, e + 1)) : 0);
      }
    }
  }
};

// A context's scale and shift projections for each layer, pairs of rows by channel.
struct ProjectKernel {
  Selection selection;
  int context_rows;  // C16
  Sequence in;
  Product product;  // to 6 E columns
  unsigned char* const* blocks;
  int64_t offset;

  using Products = WarpTiles<64>;

  static int Blocks(int items, int positions) {
    return RoundUp(items * positions, Products::kRows) / Products::kRows;
  }
  static size_t SharedBytes(int width) {
    return sizeof(TileRows) + BlockedRows::Bytes(Products::kRows, width);
  }
  DIME_DEVICE void operator()() const {
    if (BlockX() * Products::kRows >= selection.size() * context_rows) return;
    SharedPieces memory;
    auto* const rows = memory.Take<TileRows>(1);
    const int width = in.width;
    const BlockedRows tile = memory.TakeRows(Products::kRows, width);
    FindTileRows<Products::kRows>(selection, context_rows, Products::kRows, in, in, rows);
    SyncBlock();
    LoadTile<Products::kRows, Products::kThreads>(*rows, tile);
    SyncBlock();
    Products({}, &memory).Multiply(tile, product, NoAddend(), [&](int r) {
      const int c = (BlockX() * Products::kRows + r) % context_rows;
      const bool there = rows->from[r] != nullptr;
      auto* const to = reinterpret_cast<Bf16*>(blocks[rows->item[r]] + offset);
      return [=, this](int n, float v0, float v1) {
        if (!there) return;
        Bf16* const at = to + int64_t{n / width} * context_rows * width +
                         (c / 2 * width + n % width) * 2 + c % 2;
        at[0] = Narrow(v0);
        at[2] = Narrow(v1);
      };
    });
  }
};

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_ITEM_KERNELS_H_
