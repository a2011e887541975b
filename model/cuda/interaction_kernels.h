#ifndef DIME_MODEL_CUDA_INTERACTION_KERNELS_H_
#define DIME_MODEL_CUDA_INTERACTION_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "model/cuda/simt.h"
#include "model/kernels/interaction_weights.h"

// The kernels of DIME's interaction (dime-model.md, 3 to 5) on a device. Each is a function object
// whose members are its arguments, run by all threads of a grid. Sequences between them are
// bfloat16 rows of `embed_size` channels, padded with zeros; sums, norms, softmax and gates are
// float32. Kernels that multiply by weights take tiles of 64 rows, across items; the others take an
// item a block. What a kernel computes of an item does not depend on which other items there are.
namespace dime::cuda {

using kernels::ScoreNorm;

inline constexpr int kTileRows = 64;
inline constexpr int kCells = 4;
inline constexpr int kMaxBlocks = 8;  // of 16 positions each
inline constexpr int kPad = 8;        // values beside a row in shared memory, against conflicts

inline constexpr float kLog2e = 1.44269504f;
inline constexpr float kTiny = 1e-12f;  // the modules' clamp of norms
inline constexpr float kOpen = 1e-4f;   // below this a path's gates count as shut

DIME_HOST_DEVICE constexpr int RoundUp(int n, int to) { return (n + to - 1) / to * to; }

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

// --- A side's own work --------------------------------------------------------------------------

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

// --- Products -----------------------------------------------------------------------------------

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

// A context's scale and shift projections for each layer, pairs of rows by channel.
struct ProjectKernel {
  Selection selection;
  int context_rows;  // C16
  Sequence in;
  Product product;  // to 6 E columns
  unsigned char* const* blocks;
  int64_t offset;

  DIME_DEVICE void operator()() const {
    Tile tile;
    if (!BeginTile(selection, context_rows, in, &tile)) return;
    const TileRows* const rows = tile.rows;
    const int width = in.width;
    TileProduct(tile.values, width + kPad, product, [&](int r, int n, float v0, float v1) {
      const int c = rows->position[r];
      if (c < 0) return;
      auto* const to = reinterpret_cast<Bf16*>(blocks[rows->item[r]] + offset) +
                       int64_t{n / width} * context_rows * width;
      Bf16* const at = to + (int64_t{c / 2} * width + n % width) * 2 + c % 2;
      at[0] = Narrow(v0 + product.bias[n]);
      at[2] = Narrow(v1 + product.bias[n + 1]);
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

// --- Attention ----------------------------------------------------------------------------------

// out = x + self-attention of an item, whose query, key and value stand side by side. A block an
// item, a warp a head; kBlocks: of 16 positions, that hold an item's.
template <int kBlocks>
struct SelfAttentionKernel {
  Selection selection;
  int positions, num_heads, head_size;
  Sequence projected;  // rows of 3 E
  Sequence x, out;

  static int Warps(int num_heads) {
    return num_heads < kBlockThreads / kWarp ? num_heads : kBlockThreads / kWarp;
  }
  static size_t SharedBytes(int num_heads, int head_size) {
    return sizeof(Bf16) * Warps(num_heads) * 3 * kBlocks * 16 * (RoundUp(head_size, 16) + kPad);
  }
  DIME_DEVICE void operator()() const {
    if (BlockX() >= selection.size()) return;
    const int item = selection.item(BlockX());
    const int warp = Thread() / kWarp;
    const int warps = num_heads < kBlockThreads / kWarp ? num_heads : kBlockThreads / kWarp;
    if (warp >= warps) return;
    const int ld = RoundUp(head_size, 16) + kPad;
    auto* const memory =
        reinterpret_cast<Bf16*>(SharedMemory()) + int64_t{warp} * 3 * kBlocks * 16 * ld;
    for (int head = warp; head < num_heads; head += warps) Attend(item, head, memory, ld);
  }

 private:
  DIME_DEVICE void Attend(int item, int head, Bf16* memory, int ld) const {
    const int lane = Thread() % kWarp;
    const int width = RoundUp(head_size, 16);
    const int embed_size = x.width;
    Bf16* const queries = memory;
    Bf16* const keys = queries + kBlocks * 16 * ld;
    Bf16* const values = keys + kBlocks * 16 * ld;
    SyncWarp();  // the head before is done with
    for (int part = 0; part < 3; ++part) {
      Bf16* const to = memory + part * kBlocks * 16 * ld;
      for (int i = lane; i < kBlocks * 16 * width; i += kWarp) {
        const int m = i / width, channel = i % width;
        const bool there = m < positions && channel < head_size;
        to[m * ld + channel] =
            there ? projected.row(item, m)[part * embed_size + head * head_size + channel]
                  : Bf16{0};
      }
    }
    SyncWarp();
    const float factor = kLog2e / Sqrt(static_cast<float>(head_size));
    for (int block = 0; block * 16 < positions; ++block) {
      float scores[1][2 * kBlocks][4] = {};
      for (int k = 0; k < width; k += 16) {
        uint32_t left[1][4], right[2 * kBlocks][2];
        LoadMatrices(left[0], queries + (block * 16 + lane % 16) * ld + k + lane / 16 * 8);
        DIME_UNROLL
        for (int t = 0; t < 2 * kBlocks; ++t) {
          const Bf16* const key = keys + (t * 8 + lane / 4) * ld + k + lane % 4 * 2;
          right[t][0] = LoadWord(key);
          right[t][1] = LoadWord(key + 8);
        }
        MultiplyAdd(scores, left, right);
      }
      float inverse[2];
      SoftmaxNumerators(scores[0], factor, inverse);
      for (int channel = 0; channel < width; channel += 16) {
        float sums[1][2][4] = {};
        DIME_UNROLL
        for (int k = 0; k < kBlocks; ++k) {
          uint32_t left[1][4], right[2][2];
          const auto& first = scores[0][2 * k];
          const auto& second = scores[0][2 * k + 1];
          left[0][0] = Pack(first[0], first[1]);
          left[0][1] = Pack(first[2], first[3]);
          left[0][2] = Pack(second[0], second[1]);
          left[0][3] = Pack(second[2], second[3]);
          DIME_UNROLL
          for (int t = 0; t < 2; ++t) {
            const Bf16* const value =
                values + (k * 16 + lane % 4 * 2) * ld + channel + t * 8 + lane / 4;
            right[t][0] = value[0] | uint32_t{value[ld]} << 16;
            right[t][1] = value[8 * ld] | uint32_t{value[9 * ld]} << 16;
          }
          MultiplyAdd(sums, left, right);
        }
        DIME_UNROLL
        for (int t = 0; t < 2; ++t) {
          DIME_UNROLL
          for (int i = 0; i < 4; ++i) {
            const int m = block * 16 + lane / 4 + i / 2 * 8;
            const int at = channel + t * 8 + lane % 4 * 2 + i % 2;
            if (m >= positions || at >= head_size) continue;
            const int e = head * head_size + at;
            out.row(item, m)[e] = Narrow(sums[0][t][i] * inverse[i / 2] + Widen(x.row(item, m)[e]));
          }
        }
      }
    }
  }

  // Of the two rows of scores that a thread shares with three others, to softmax's numerators, zero
  // beyond the last position, and one over their sums.
  DIME_DEVICE void SoftmaxNumerators(float (&scores)[2 * kBlocks][4], float factor,
                                     float (&inverse)[2]) const {
    const int lane = Thread() % kWarp;
    DIME_UNROLL
    for (int half = 0; half < 2; ++half) {
      float top = -3e38f;
      DIME_UNROLL
      for (int t = 0; t < 2 * kBlocks; ++t) {
        DIME_UNROLL
        for (int i = 0; i < 2; ++i) {
          const bool there = t * 8 + lane % 4 * 2 + i < positions;
          float& score = scores[t][half * 2 + i];
          score = there ? score * factor : -3e38f;
          top = Max(top, score);
        }
      }
      top = Max(top, ShuffleXor(top, 1));
      top = Max(top, ShuffleXor(top, 2));
      float sum = 0;
      DIME_UNROLL
      for (int t = 0; t < 2 * kBlocks; ++t) {
        DIME_UNROLL
        for (int i = 0; i < 2; ++i) {
          const bool there = t * 8 + lane % 4 * 2 + i < positions;
          float& score = scores[t][half * 2 + i];
          score = there ? Exp2(score - top) : 0;
          sum += score;
        }
      }
      sum += ShuffleXor(sum, 1);
      sum += ShuffleXor(sum, 2);
      inverse[half] = 1 / sum;
    }
  }
};

// out = x * tanh(P scale) + P shift of an item, P its attention over its context. A block an item.
template <int kBlocks>
struct CrossAttentionKernel {
  Selection selection;
  int positions;
  int context_rows;  // C16
  ScoreNorm norm;
  float lambda;
  unsigned char* const* contexts;  // by item
  ContextLayout layout;
  int layer;
  Sequence x, out;

  static size_t SharedBytes(int width, int context_rows) {
    return sizeof(Bf16) * kBlocks * 16 * (width + kPad) +
           sizeof(float) * RoundUp(kBlocks * 16 * (context_rows + 1), 4) +
           sizeof(Bf16) * kBlocks * 16 * (context_rows + kPad);
  }
  DIME_DEVICE void operator()() const {
    if (BlockX() >= selection.size()) return;
    const int item = selection.item(BlockX());
    const unsigned char* const context = contexts[item];
    const int rows = *reinterpret_cast<const int*>(context + layout.rows);
    const auto* const matrix = reinterpret_cast<const Bf16*>(context + layout.matrix);
    const int width = x.width, ldx = width + kPad;
    const int lds = context_rows + 1, ldp = context_rows + kPad;
    auto* const own = reinterpret_cast<Bf16*>(SharedMemory());
    auto* const scores = reinterpret_cast<float*>(own + kBlocks * 16 * ldx);
    auto* const shares =
        reinterpret_cast<Bf16*>(scores + RoundUp(kBlocks * 16 * (context_rows + 1), 4));
    const int lane = Thread() % kWarp, warp = Thread() / kWarp;

    for (int i = Thread(); i < kBlocks * 16 * (width / 8); i += kBlockThreads) {
      const int m = i / (width / 8), e = i % (width / 8) * 8;
      StoreWords4(own + m * ldx + e,
                  m < positions ? LoadWords4(x.row(item, m) + e) : Words4{0, 0, 0, 0});
    }
    SyncBlock();

    const Bf16* const left_rows = own + (lane % 16) * ldx + lane / 16 * 8;
    for (int tile = warp; tile * 8 < context_rows; tile += kBlockThreads / kWarp) {
      float sums[kBlocks][1][4] = {};
      for (int k = 0; k < width; k += 16) {
        uint32_t left[kBlocks][4], right[1][2];
        DIME_UNROLL
        for (int b = 0; b < kBlocks; ++b) LoadMatrices(left[b], left_rows + b * 16 * ldx + k);
        const Bf16* const row = matrix + (tile * 8 + lane / 4) * width + k + lane % 4 * 2;
        right[0][0] = LoadWord(row);
        right[0][1] = LoadWord(row + 8);
        MultiplyAdd(sums, left, right);
      }
      DIME_UNROLL
      for (int b = 0; b < kBlocks; ++b) {
        DIME_UNROLL
        for (int i = 0; i < 4; ++i) {
          scores[(b * 16 + lane / 4 + i / 2 * 8) * lds + tile * 8 + lane % 4 * 2 + i % 2] =
              sums[b][0][i];
        }
      }
    }
    SyncBlock();
    for (int c = Thread(); c < rows; c += kBlockThreads) Normalize(scores + c, lds);
    SyncBlock();
    for (int m = Thread(); m < kBlocks * 16; m += kBlockThreads) {
      Softmax(scores + m * lds, m < positions ? rows : 0, shares + m * ldp);
    }
    SyncBlock();

    const auto* const scale = reinterpret_cast<const Bf16*>(context + layout.projections) +
                              int64_t{2} * layer * context_rows * width;
    const Bf16* const shift = scale + int64_t{context_rows} * width;
    const Bf16* const share_rows = shares + (lane % 16) * ldp + lane / 16 * 8;
    for (int tile = warp; tile * 8 < width; tile += kBlockThreads / kWarp) {
      float sums[kBlocks][2][4] = {};
      for (int k = 0; k < context_rows; k += 16) {
        uint32_t left[kBlocks][4], right[2][2];
        DIME_UNROLL
        for (int b = 0; b < kBlocks; ++b) LoadMatrices(left[b], share_rows + b * 16 * ldp + k);
        const int64_t at = (int64_t{k / 2 + lane % 4} * width + tile * 8 + lane / 4) * 2;
        right[0][0] = LoadWord(scale + at);
        right[0][1] = LoadWord(scale + at + int64_t{8} * width);
        right[1][0] = LoadWord(shift + at);
        right[1][1] = LoadWord(shift + at + int64_t{8} * width);
        MultiplyAdd(sums, left, right);
      }
      DIME_UNROLL
      for (int b = 0; b < kBlocks; ++b) {
        DIME_UNROLL
        for (int half = 0; half < 2; ++half) {
          const int m = b * 16 + lane / 4 + half * 8;
          if (m >= positions) continue;
          const int e = tile * 8 + lane % 4 * 2;
          const uint32_t z = LoadWord(own + m * ldx + e);
          const float(&s)[4] = sums[b][0];
          const float(&t)[4] = sums[b][1];
          StoreWord(out.row(item, m) + e,
                    Pack(Low(z) * CoarseTanh(s[half * 2]) + t[half * 2],
                         High(z) * CoarseTanh(s[half * 2 + 1]) + t[half * 2 + 1]));
        }
      }
    }
  }

 private:
  static DIME_DEVICE float Clip(float v) { return Max(v, 0.1f * v); }  // leaky relu

  // One context row's raw scores, in place: normalised along the positions, times lambda.
  DIME_DEVICE void Normalize(float* column, int lds) const {
    const bool clipped = norm == ScoreNorm::kClippedL2 || norm == ScoreNorm::kClippedL1 ||
                         norm == ScoreNorm::kClipped;
    float factor = lambda;
    if (norm == ScoreNorm::kSoftmax) {
      float top = column[0], sum = 0;
      for (int m = 1; m < positions; ++m) top = Max(top, column[m * lds]);
      for (int m = 0; m < positions; ++m) {
        const float e = Exp2((column[m * lds] - top) * kLog2e);
        column[m * lds] = e;
        sum += e;
      }
      factor = lambda / sum;
    } else if (norm != ScoreNorm::kClipped && norm != ScoreNorm::kNone) {
      const bool squares = norm == ScoreNorm::kClippedL2 || norm == ScoreNorm::kL2;
      float sum = 0;
      for (int m = 0; m < positions; ++m) {
        const float v = clipped ? Clip(column[m * lds]) : column[m * lds];
        sum += squares ? v * v : Abs(v);
      }
      if (squares) sum = Sqrt(sum);
      factor = lambda / (norm == ScoreNorm::kClippedL2 ? Max(sum, kTiny) : sum + 1e-8f);
    }
    for (int m = 0; m < positions; ++m) {
      const float v = clipped ? Clip(column[m * lds]) : column[m * lds];
      column[m * lds] = v * factor;
    }
  }

  // One position's shares of the first `rows` context rows, zeros beyond.
  DIME_DEVICE void Softmax(const float* row, int rows, Bf16* share) const {
    float top = -3e38f, sum = 0;
    for (int c = 0; c < rows; ++c) top = Max(top, row[c]);
    for (int c = 0; c < rows; ++c) sum += Exp2((row[c] - top) * kLog2e);
    for (int c = 0; c < context_rows; ++c) {
      share[c] = c < rows ? Narrow(Exp2((row[c] - top) * kLog2e) / sum) : Bf16{0};
    }
  }
};

// --- Routing ------------------------------------------------------------------------------------

// The gates of a layer's cells out of the means of their inputs. Tiles of 64 items by cell
// (BlockY()). The first product is of split values, so that gates are as exact as their inputs:
// where a path's gates are all but shut, what flows along it depends on them by a step.
struct RouteKernel {
  const int* count;
  int embed_size;
  int paths;                  // 4, or 1 in the last layer
  const Bf16* means[kCells];  // (items, 3 E)
  Product hidden[kCells];
  const float* output[kCells];  // (paths, 8 hidden.tiles)
  const float* bias[kCells];    // (paths)
  float* gates;                 // (items, 4 cells, 4 paths); null: into the items' local blocks
  unsigned char* const* blocks;
  int64_t gates_offset;

  static size_t SharedBytes(int embed_size) {
    return sizeof(Bf16) * kTileRows * (3 * embed_size + kPad) +
           sizeof(float) * 2 * kTileRows * kCells;
  }
  DIME_DEVICE void operator()() const {
    const int first = BlockX() * kTileRows, cell = BlockY();
    if (first >= *count) return;
    const int width = 3 * embed_size, lda = width + kPad;
    auto* const a = reinterpret_cast<Bf16*>(SharedMemory());
    auto* const partial = reinterpret_cast<float*>(a + kTileRows * lda);  // (2, rows, paths)
    for (int i = Thread(); i < kTileRows * (width / 8); i += kBlockThreads) {
      const int row = i / (width / 8), column = i % (width / 8) * 8;
      StoreWords4(a + row * lda + column,
                  first + row < *count
                      ? LoadWords4(means[cell] + int64_t{first + row} * width + column)
                      : Words4{0, 0, 0, 0});
    }
    SyncBlock();
    const Product& product = hidden[cell];
    const float* const weights = output[cell];
    const int outputs = product.tiles * 8;
    float sums[4][kCells] = {};  // by the thread's rows
    TileProduct(a, lda, product, [&](int r, int n, float v0, float v1) {
      const float h0 = Max(v0 + product.bias[n], 0), h1 = Max(v1 + product.bias[n + 1], 0);
      const int mine = r % 32 / 8;
      DIME_UNROLL
      for (int i = 0; i < 4; ++i) {
        if (i != mine) continue;  // so that the sums are registers
        DIME_UNROLL
        for (int p = 0; p < kCells; ++p) {
          if (p >= paths) break;
          sums[i][p] += h0 * weights[p * outputs + n] + h1 * weights[p * outputs + n + 1];
        }
      }
    });
    const int lane = Thread() % kWarp, warp = Thread() / kWarp;
    DIME_UNROLL
    for (int i = 0; i < 4; ++i) {
      DIME_UNROLL
      for (int p = 0; p < kCells; ++p) {
        float sum = sums[i][p];
        sum += ShuffleXor(sum, 1);
        sum += ShuffleXor(sum, 2);
        if (lane % 4 == 0) {
          const int row = warp % 2 * 32 + i * 8 + lane / 4;
          partial[(warp / 2 * kTileRows + row) * kCells + p] = sum;
        }
      }
    }
    SyncBlock();
    if (Thread() < kTileRows && first + Thread() < *count) {
      const int item = first + Thread();
      float* const of_item = gates != nullptr
                                 ? gates + int64_t{item} * kCells * kCells
                                 : reinterpret_cast<float*>(blocks[item] + gates_offset);
      float* const to = of_item + cell * kCells;
      for (int p = 0; p < kCells; ++p) {
        const float sum =
            partial[Thread() * kCells + p] + partial[(kTileRows + Thread()) * kCells + p];
        to[p] = p < paths ? Max(Tanh(sum + bias[cell][p]), 0) : 0;
      }
    }
  }
};

// What the gates of one pair and layer make of its cells. In the last layer there is one path, and
// the weights of the cells' inputs beside those of their outputs.
struct MixWeights {
  float output[kCells][kCells];  // [path][cell]; for the rectified identity the skip too
  float input[kCells];           // by cell; last layer alone
  int open[kCells];
};

// Weights and shares out of gates, and which pairs each cell is to run for. A thread a pair.
struct PlanKernel {
  const int* count;
  bool last;
  const float* gates;            // (pairs, 4, 4); null: they are in the pairs' local blocks
  unsigned char* const* locals;  // by pair, where `gates` is null
  int64_t gates_offset;
  MixWeights* weights;  // (pairs)
  int* lists[kCells];   // of cells 1 to 3
  int* sizes[kCells];   // of the lists, zero before
  float* paths;         // (pairs, 36)
  int paths_offset;

  DIME_DEVICE void operator()() const {
    const int pair = BlockX() * kBlockThreads + Thread();
    if (pair >= *count) return;
    const float* const of_pair = gates != nullptr
                                     ? gates + int64_t{pair} * kCells * kCells
                                     : reinterpret_cast<const float*>(locals[pair] + gates_offset);
    float gate[kCells][kCells];  // [cell][path]
    for (int j = 0; j < kCells; ++j) {
      for (int i = 0; i < kCells; ++i) gate[j][i] = of_pair[j * kCells + i];
    }
    MixWeights& to = weights[pair];
    float* const shares = paths + int64_t{pair} * 36 + paths_offset;
    if (last) {
      float total = 0, shut[kCells];
      for (int j = 0; j < kCells; ++j) {
        shut[j] = gate[j][0] < kOpen / kCells ? 1.0f : 0.0f;
        total += gate[j][0] + shut[j];
      }
      for (int j = 0; j < kCells; ++j) {
        to.output[0][j] = gate[j][0] / total;
        to.input[j] = shut[j] / total;
        shares[j] = gate[j][0];
      }
    } else {
      for (int i = 0; i < kCells; ++i) {
        float sum = 0;
        for (int j = 0; j < kCells; ++j) sum += gate[j][i];
        for (int j = 0; j < kCells; ++j) {
          to.output[i][j] = shares[i * kCells + j] = gate[j][i] / (sum + 1e-8f);
        }
        if (sum < kOpen) to.output[i][0] += 1;
      }
    }
    for (int j = 0; j < kCells; ++j) {
      to.open[j] = gate[j][0] > 0 || gate[j][1] > 0 || gate[j][2] > 0 || gate[j][3] > 0;
      // The order of a list is nobody's concern.
      if (j > 0 && to.open[j]) lists[j][AtomicAdd(sizes[j], 1)] = pair;
    }
  }
};

// The guidance cell of one pair in two channels: what its input is multiplied by is
// 1 + product * factor, with factor = guide / max(|guide| norm, tiny), norms along the positions.
DIME_DEVICE void GuideFactors(const Sequence& product, int pair, int positions, int channel,
                              const float* guide, float (&factors)[2]) {
  float squares[2] = {0, 0};
  for (int m = 0; m < positions; ++m) {
    const uint32_t word = LoadWord(product.row(pair, m) + channel);
    squares[0] += Low(word) * Low(word);
    squares[1] += High(word) * High(word);
  }
  for (int i = 0; i < 2; ++i) {
    factors[i] = guide[channel + i] / Max(Abs(guide[channel + i]) * Sqrt(squares[i]), kTiny);
  }
}

// The outputs of a layer's cells at one place of a pair, two channels; a cell that did not run has
// no weight, and its place is not looked at.
struct CellOutputs {
  Sequence identity;         // what the rectified identity takes
  Sequence guided, product;  // what the guidance cell takes, and its product
  Sequence reasoned, refined;

  DIME_DEVICE void Load(const MixWeights& weights, int pair, int m, int channel,
                        const float (&factors)[2], float (&v0)[kCells], float (&v1)[kCells]) const {
    const uint32_t z = LoadWord(identity.row(pair, m) + channel);
    v0[0] = Max(Low(z), 0);
    v1[0] = Max(High(z), 0);
    v0[1] = v1[1] = v0[2] = v1[2] = v0[3] = v1[3] = 0;
    if (weights.open[1]) {
      const uint32_t x = LoadWord(guided.row(pair, m) + channel);
      const uint32_t y = LoadWord(product.row(pair, m) + channel);
      v0[1] = Low(x) + Low(x) * (Low(y) * factors[0]);
      v1[1] = High(x) + High(x) * (High(y) * factors[1]);
    }
    if (weights.open[2]) {
      const uint32_t x = LoadWord(reasoned.row(pair, m) + channel);
      v0[2] = Low(x);
      v1[2] = High(x);
    }
    if (weights.open[3]) {
      const uint32_t x = LoadWord(refined.row(pair, m) + channel);
      v0[3] = Low(x);
      v1[3] = High(x);
    }
  }
};

// What the next layer's cells take of a pair, and its means. A block a pair. It may go where the
// layer's own inputs were: what is written at a place was read before, by the same thread.
struct MixKernel {
  const int* count;
  int positions, embed_size;
  CellOutputs cells;
  const MixWeights* weights;
  unsigned char* const* contexts;
  int64_t guide_offset;
  Sequence next[kCells];
  Bf16* means[kCells];  // (pairs, 3 E)

  DIME_DEVICE void operator()() const {
    const int pair = BlockX();
    if (pair >= *count) return;
    const MixWeights& w = weights[pair];
    const auto* const guide = reinterpret_cast<const float*>(contexts[pair] + guide_offset);
    for (int e = Thread() * 2; e < embed_size; e += kBlockThreads * 2) {
      float factors[2] = {0, 0}, sums[kCells][2] = {};
      if (w.open[1]) GuideFactors(cells.product, pair, positions, e, guide, factors);
      for (int m = 0; m < positions; ++m) {
        float v0[kCells], v1[kCells];
        cells.Load(w, pair, m, e, factors, v0, v1);
        DIME_UNROLL
        for (int i = 0; i < kCells; ++i) {
          float mixed0 = 0, mixed1 = 0;
          DIME_UNROLL
          for (int j = 0; j < kCells; ++j) {
            mixed0 += w.output[i][j] * v0[j];
            mixed1 += w.output[i][j] * v1[j];
          }
          sums[i][0] += mixed0;
          sums[i][1] += mixed1;
          StoreWord(next[i].row(pair, m) + e, Pack(mixed0, mixed1));
        }
      }
      const float share = 1.0f / static_cast<float>(positions);
      DIME_UNROLL
      for (int i = 0; i < kCells; ++i) {
        StoreSplit(means[i] + int64_t{pair} * 3 * embed_size, embed_size, e, sums[i][0] * share,
                   sums[i][1] * share);
      }
    }
  }
};

// The last layer's output and the score of a pair. A block a pair.
struct FinishKernel {
  const int* count;
  int positions, embed_size;
  CellOutputs cells;
  Sequence inputs[kCells];
  const MixWeights* weights;
  unsigned char* const* contexts;
  int64_t guide_offset;
  const float* norm_scale;  // (E)
  const float* norm_shift;
  float* scores;  // (pairs)

  static size_t SharedBytes() { return sizeof(float) * 2 * kBlockThreads / kWarp; }
  DIME_DEVICE void operator()() const {
    const int pair = BlockX();
    if (pair >= *count) return;
    const MixWeights& w = weights[pair];
    const auto* const guide = reinterpret_cast<const float*>(contexts[pair] + guide_offset);
    float square = 0, product = 0;
    for (int e = Thread() * 2; e < embed_size; e += kBlockThreads * 2) {
      float factors[2] = {0, 0}, sums[2] = {0, 0}, tops[2] = {-3e38f, -3e38f};
      if (w.open[1]) GuideFactors(cells.product, pair, positions, e, guide, factors);
      for (int m = 0; m < positions; ++m) {
        float v0[kCells], v1[kCells], y[2] = {0, 0};
        cells.Load(w, pair, m, e, factors, v0, v1);
        DIME_UNROLL
        for (int j = 0; j < kCells; ++j) {
          y[0] += w.output[0][j] * v0[j];
          y[1] += w.output[0][j] * v1[j];
          if (w.input[j] == 0) continue;
          const uint32_t z = LoadWord(inputs[j].row(pair, m) + e);
          y[0] += w.input[j] * Low(z);
          y[1] += w.input[j] * High(z);
        }
        DIME_UNROLL
        for (int i = 0; i < 2; ++i) {
          y[i] = y[i] * norm_scale[e + i] + norm_shift[e + i];
          sums[i] += y[i];
          tops[i] = Max(tops[i], y[i]);
        }
      }
      DIME_UNROLL
      for (int i = 0; i < 2; ++i) {
        const float v = sums[i] / static_cast<float>(positions) + tops[i];
        square += v * v;
        product += v * guide[e + i];
      }
    }
    auto* const shared = reinterpret_cast<float*>(SharedMemory());
    for (int mask = 1; mask < kWarp; mask *= 2) {
      square += ShuffleXor(square, mask);
      product += ShuffleXor(product, mask);
    }
    if (Thread() % kWarp == 0) {
      shared[Thread() / kWarp * 2] = square;
      shared[Thread() / kWarp * 2 + 1] = product;
    }
    SyncBlock();
    if (Thread() != 0) return;
    for (int warp = 1; warp < kBlockThreads / kWarp; ++warp) {
      square += shared[warp * 2];
      product += shared[warp * 2 + 1];
    }
    scores[pair] = product / Max(Sqrt(square), kTiny);
  }
};

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_INTERACTION_KERNELS_H_
