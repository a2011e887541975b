#ifndef DIME_MODEL_CUDA_ATTENTION_KERNELS_H_
#define DIME_MODEL_CUDA_ATTENTION_KERNELS_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "model/cuda/item_kernels.h"
#include "model/cuda/row_tiles.h"
#include "model/cuda/simt.h"
#include "model/kernels/interaction_weights.h"

// Kernels of DIME's interaction on a device (see row_tiles.h): attention, a block an item. Softmax
// and norms are float32.
namespace dime::cuda {

using kernels::ScoreNorm;

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
    Bf16* const queries = memory;
    Bf16* const keys = queries + kBlocks * 16 * ld;
    Bf16* const values = keys + kBlocks * 16 * ld;
    SyncWarp();  // the head before is done with
    if (head_size % 8 == 0) {
      Load<8>(item, head, memory, ld);
    } else {
      Load<1>(item, head, memory, ld);
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
          for (int half = 0; half < 2; ++half) {
            const int m = block * 16 + lane / 4 + half * 8;
            const int at = channel + t * 8 + lane % 4 * 2;
            if (m >= positions || at >= head_size) continue;
            Store(item, m, head * head_size + at, at + 1 < head_size,
                  sums[0][t][half * 2] * inverse[half], sums[0][t][half * 2 + 1] * inverse[half]);
          }
        }
      }
    }
  }

  // A head's queries, keys and values into shared memory, kValues a load, which divide its
  // channels; zeros beyond.
  template <int kValues>
  DIME_DEVICE void Load(int item, int head, Bf16* memory, int ld) const {
    using Values = std::conditional_t<kValues == 8, Words4, Bf16>;
    const int loads = RoundUp(head_size, 16) / kValues;  // of a row
    for (int i = Thread() % kWarp; i < 3 * kBlocks * 16 * loads; i += kWarp) {
      const int row = i / loads, channel = i % loads * kValues;
      const int part = row / (kBlocks * 16), m = row % (kBlocks * 16);
      Values values = {};
      if (m < positions && channel < head_size) {
        values = *reinterpret_cast<const Values*>(projected.row(item, m) + part * x.width +
                                                  head * head_size + channel);
      }
      *reinterpret_cast<Values*>(memory + row * ld + channel) = values;
    }
  }

  // x plus two channels from e on, or one, as they were attended to.
  DIME_DEVICE void Store(int item, int m, int e, bool both, float v0, float v1) const {
    const Bf16* const from = x.row(item, m) + e;
    Bf16* const to = out.row(item, m) + e;
    if (head_size % 2 == 0) {  // then words are aligned
      const uint32_t z = LoadWord(from);
      StoreWord(to, Pack(v0 + Low(z), v1 + High(z)));
      return;
    }
    to[0] = Narrow(v0 + Widen(from[0]));
    if (both) to[1] = Narrow(v1 + Widen(from[1]));
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

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_ATTENTION_KERNELS_H_
