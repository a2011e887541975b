#ifndef DIME_MODEL_CUDA_TILE_PRODUCTS_H_
#define DIME_MODEL_CUDA_TILE_PRODUCTS_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "model/cuda/row_tiles.h"
#include "model/cuda/simt.h"
#include "model/cuda/warpgroup.h"

// Products of a tile of rows in shared memory with weights, in two ways of one interface: what a
// kernel over tiles is written for. Such a Products has
//   kRows      rows of a tile
//   kThreads   threads that compute
//   kBlock     threads of a block
//   Products(const WeightStream&, SharedPieces*)
//   bool Supplies()
//       whether the thread only supplies the others with weights: then it calls Supply(), and ends.
//       The same for whole warps.
//   Sync()     lets the computing threads meet; what they stored they see, and products too
//   Multiply(rows, product, addend, row)
//       each computing thread calls row(r) for the rows that it has a share of, and what that gives
//       with (n, v0, v1): the product and bias in columns n, an even number, and n + 1, and two
//       values of addend(r)(n), if there is one, which is called for a row's columns before what
//       row(r) gives. A kernel's products are to be called in the order in which its stream has
//       their weights.
//   static size_t SharedBytes(const WeightStream&)
// What a row's sums are depends neither on the other rows nor on kRows.
namespace dime::cuda {

// In place of a product's addend: there is none.
struct NoAddend {};

// W^T and bias of a linear layer, padded with zeros. The weights lie as one of the two wants them
// (PackedProduct).
struct Product {
  const Words4* weights = nullptr;
  const float* bias = nullptr;  // (8 tiles)
  int tiles = 0;                // of 8 columns
  int steps = 0;                // of 32 inner values
  int chunk = 0;                // columns that WarpgroupTiles takes at once
};

// The weights of a kernel's products, one after another: parts of chunks of one size each.
// WarpTiles has no need of it.
struct WeightStream {
  static constexpr int kParts = 3;
  const Words4* weights = nullptr;
  int chunks[kParts] = {};
  int bytes[kParts] = {};  // of a chunk
};

// Hands a row's sums(c, i), i of two columns of tile first + c, to row(r), up to the last tile.
template <int kTiles, class Addend, class Row, class Sums>
DIME_DEVICE void TakeRow(int r, int first, int tiles, Addend& addend, Row& row, Sums&& sums) {
  const int column = first * 8 + Thread() % 4 * 2;
  auto&& take = row(r);
  if constexpr (std::is_same_v<std::remove_cvref_t<Addend>, NoAddend>) {
    DIME_UNROLL
    for (int c = 0; c < kTiles; ++c) {
      if (first + c >= tiles) break;
      take(column + c * 8, sums(c, 0), sums(c, 1));
    }
  } else {
    // All are read before any is written, so that reading does not wait for each.
    auto&& of_row = addend(r);
    uint32_t words[kTiles];
    DIME_UNROLL
    for (int c = 0; c < kTiles; ++c) words[c] = first + c < tiles ? of_row(column + c * 8) : 0;
    DIME_UNROLL
    for (int c = 0; c < kTiles; ++c) {
      if (first + c >= tiles) break;
      take(column + c * 8, sums(c, 0) + Low(words[c]), sums(c, 1) + High(words[c]));
    }
  }
}

// By warps (mma.m16n8k16), on any device: weights go from the second-level cache into registers.
// They lie by 8 columns, by 32 inner values, by lane: its words of two matrix instructions. The
// warps are by two, each with 32 rows and 64 columns at a time.
template <int kTileRows>
class WarpTiles {
 public:
  static constexpr int kRows = kTileRows, kThreads = 2 * kRows, kBlock = kThreads;

  static size_t SharedBytes(const WeightStream&) { return 0; }
  DIME_DEVICE WarpTiles(const WeightStream&, SharedPieces*) {}

  DIME_DEVICE bool Supplies() const { return false; }
  DIME_DEVICE void Supply() {}
  DIME_DEVICE void Sync() { SyncBlock(); }

  template <class Addend, class Row>
  DIME_DEVICE void Multiply(const BlockedRows& rows, const Product& product, Addend&& addend,
                            Row&& row) {
    constexpr int kLeft = 2, kRight = 8;  // blocks of 16 rows and of 8 columns
    constexpr int kAcross = kThreads / kWarp / 2;
    const int lane = Thread() % kWarp, warp = Thread() / kWarp;
    const int first_row = warp % kAcross * 16 * kLeft;
    const Bf16* const source = rows.at(first_row + lane % 16, lane / 16 * 8);
    for (int tile = warp / kAcross * kRight; tile < product.tiles; tile += 2 * kRight) {
      float sums[kLeft][kRight][4];
      DIME_UNROLL
      for (int c = 0; c < kRight; ++c) {
        const Floats2 bias = tile + c < product.tiles
                                 ? LoadFloats2(product.bias + (tile + c) * 8 + lane % 4 * 2)
                                 : Floats2{0, 0};
        DIME_UNROLL
        for (int r = 0; r < kLeft; ++r) {
          sums[r][c][0] = sums[r][c][2] = bias.x;
          sums[r][c][1] = sums[r][c][3] = bias.y;
        }
      }
      const auto load = [&](int step, Words4(&words)[kRight]) {
        DIME_UNROLL
        for (int c = 0; c < kRight; ++c) {
          words[c] = {0, 0, 0, 0};
          if (tile + c < product.tiles) {
            words[c] = LoadWords4(product.weights +
                                  ((int64_t{tile} + c) * product.steps + step) * kWarp + lane);
          }
        }
      };
      Words4 words[kRight];
      load(0, words);
      for (int step = 0; step < product.steps; ++step) {
        Words4 next[kRight];
        load(step + 1 < product.steps ? step + 1 : step, next);
        DIME_UNROLL
        for (int half = 0; half < 2; ++half) {
          uint32_t left[kLeft][4], right[kRight][2];
          DIME_UNROLL
          for (int r = 0; r < kLeft; ++r) {
            LoadMatrices(left[r], source + (r * 2 * rows.width + step * 32 + half * 16) * 8);
          }
          DIME_UNROLL
          for (int c = 0; c < kRight; ++c) {
            right[c][0] = half == 0 ? words[c].x : words[c].z;
            right[c][1] = half == 0 ? words[c].y : words[c].w;
          }
          MultiplyAdd(sums, left, right);
        }
        DIME_UNROLL
        for (int c = 0; c < kRight; ++c) words[c] = next[c];
      }
      DIME_UNROLL
      for (int r = 0; r < kLeft; ++r) {
        DIME_UNROLL
        for (int half = 0; half < 2; ++half) {
          TakeRow<kRight>(first_row + r * 16 + half * 8 + lane / 4, tile, product.tiles, addend,
                          row, [&](int c, int i) { return sums[r][c][half * 2 + i]; });
        }
      }
    }
  }
};

// By warpgroups (wgmma), 64 rows each, on Hopper: a warp beside them lets weights be copied into a
// ring of kSlots chunks in shared memory, as far ahead as there is room, from one product to the
// next. They lie by `chunk` columns, by 32 inner values: blocks of 8 columns by 8 inner values, as
// in BlockedRows.
template <int kTileRows>
class WarpgroupTiles {
 public:
  static constexpr int kRows = kTileRows, kThreads = 2 * kRows, kBlock = kThreads + kWarp;

  static size_t SharedBytes(const WeightStream& stream) {
    return static_cast<size_t>(kSlots) * SlotBytes(stream) + 2 * kSlots * sizeof(uint64_t);
  }

#if DIME_WARPGROUPS
  DIME_DEVICE WarpgroupTiles(const WeightStream& stream, SharedPieces* memory)
      : stream_(stream),
        slot_bytes_(SlotBytes(stream)),
        ring_(memory->template Take<unsigned char>(kSlots * slot_bytes_)),
        filled_(memory->template Take<uint64_t>(kSlots)),
        emptied_(memory->template Take<uint64_t>(kSlots)) {
    if (Thread() == 0) {
      for (int slot = 0; slot < kSlots; ++slot) {
        InitBarrier(filled_ + slot, 1);
        InitBarrier(emptied_ + slot, kThreads / kWarp);
      }
      PublishBarriers();
    }
    SyncBlock();
  }

  DIME_DEVICE bool Supplies() const { return Thread() >= kThreads; }
  DIME_DEVICE void Supply() {
    if (Thread() != kThreads) return;
    const auto* from = reinterpret_cast<const unsigned char*>(stream_.weights);
    for (int part = 0; part < WeightStream::kParts; ++part) {
      for (int i = 0; i < stream_.chunks[part]; ++i, ++chunk_) {
        WaitForPhase(emptied_ + slot(), parity() ^ 1);  // at first it is as good as over
        CopyAndArrive(ring_ + slot() * slot_bytes_, from, stream_.bytes[part], filled_ + slot());
        from += stream_.bytes[part];
      }
    }
  }
  DIME_DEVICE void Sync() {
    PublishToProducts();
    SyncThreads(kThreads);
  }

  template <class Addend, class Row>
  DIME_DEVICE void Multiply(const BlockedRows& rows, const Product& product, Addend&& addend,
                            Row&& row) {
    if (product.chunk == 64) {
      MultiplyBy<64>(rows, product, addend, row);
    } else if (product.chunk == 128) {
      MultiplyBy<128>(rows, product, addend, row);
    } else {
      MultiplyBy<192>(rows, product, addend, row);
    }
  }
#else  // not to be launched
  DIME_DEVICE WarpgroupTiles(const WeightStream&, SharedPieces*) { __trap(); }
  DIME_DEVICE bool Supplies() const { return true; }
  DIME_DEVICE void Supply() {}
  DIME_DEVICE void Sync() {}
  template <class Addend, class Row>
  DIME_DEVICE void Multiply(const BlockedRows&, const Product&, Addend&&, Row&&) {}
#endif

 private:
  static constexpr int kSlots = 4;

  static DIME_HOST_DEVICE int SlotBytes(const WeightStream& stream) {
    int most = 0;
    for (const int bytes : stream.bytes) most = bytes > most ? bytes : most;
    return most;
  }

#if DIME_WARPGROUPS
  DIME_DEVICE unsigned slot() const { return chunk_ % kSlots; }
  DIME_DEVICE uint32_t parity() const { return chunk_ / kSlots % 2; }

  template <int kColumns, class Addend, class Row>
  DIME_DEVICE void MultiplyBy(const BlockedRows& rows, const Product& product, Addend& addend,
                              Row& row) {
    constexpr int kBlockBytes = 128;
    const int lane = Thread() % kWarp, warp = Thread() / kWarp;
    const uint64_t left =
        MatrixDescriptor(SharedAddress(rows.at(warp / 4 * 64, 0)), kBlockBytes, rows.width * 16);
    const uint64_t ring = MatrixDescriptor(SharedAddress(ring_), kBlockBytes, 4 * kBlockBytes);
    for (int tile = 0; tile < product.tiles; tile += kColumns / 8) {
      float sums[kColumns / 2];
      DIME_UNROLL
      for (int c = 0; c < kColumns / 8; ++c) {
        const Floats2 bias = LoadFloats2(product.bias + (tile + c) * 8 + lane % 4 * 2);
        sums[c * 4] = sums[c * 4 + 2] = bias.x;
        sums[c * 4 + 1] = sums[c * 4 + 3] = bias.y;
      }
      WarpgroupProducts products;
      products.Hold(sums);
      for (int step = 0; step < product.steps; ++step) {
        WaitForPhase(filled_ + slot(), parity());
        products.Begin();
        const uint64_t right = Advanced(ring, slot() * slot_bytes_);
        DIME_UNROLL
        for (int half = 0; half < 2; ++half) {
          products.template Multiply<kColumns>(sums,
                                               Advanced(left, (step * 2 + half) * 2 * kBlockBytes),
                                               Advanced(right, half * 2 * kBlockBytes));
        }
        products.End();
        if (step > 0) {
          products.template Wait<1>();
          if (lane == 0) Arrive(emptied_ + (chunk_ + kSlots - 1) % kSlots);
        }
        ++chunk_;
      }
      products.template Wait<0>();
      products.Hold(sums);
      if (lane == 0) Arrive(emptied_ + (chunk_ + kSlots - 1) % kSlots);
      DIME_UNROLL
      for (int half = 0; half < 2; ++half) {
        TakeRow<kColumns / 8>(warp * 16 + half * 8 + lane / 4, tile, product.tiles, addend, row,
                              [&](int c, int i) { return sums[c * 4 + half * 2 + i]; });
      }
    }
  }

  const WeightStream stream_;
  const int slot_bytes_;
  unsigned char* const ring_;
  uint64_t* const filled_;
  uint64_t* const emptied_;
  unsigned chunk_ = 0;  // of the stream: the next
#endif
};

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_TILE_PRODUCTS_H_
