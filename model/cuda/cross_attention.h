#ifndef DIME_MODEL_CUDA_CROSS_ATTENTION_H_
#define DIME_MODEL_CUDA_CROSS_ATTENTION_H_

#include <cstddef>
#include <cstdint>

#include "model/cuda/item_kernels.h"
#include "model/cuda/row_tiles.h"
#include "model/cuda/simt.h"
#include "model/kernels/interaction_weights.h"

namespace dime::cuda {

using kernels::ScoreNorm;

// The refinement cell's attention (dime-model.md, 3) of some pairs whose rows are in a tile, each
// over its context, by kThreads threads: x * tanh(P scale) + P shift, P the attention. kBlocks: of
// 16 positions, that hold a pair's. Norms and softmax are float32.
template <int kBlocks, int kThreads>
struct CrossAttention {
  static constexpr int kRows = kBlocks * 16;  // of a pair, with what follows

  int positions;
  int context_rows;  // C16
  ScoreNorm norm;
  float lambda;
  ContextLayout layout;
  int layer;

  // A pair's scores and shares.
  DIME_HOST_DEVICE int ld() const { return context_rows + 1; }  // of scores
  DIME_HOST_DEVICE int ScoreValues() const { return RoundUp(kRows * ld(), 4); }
  DIME_HOST_DEVICE size_t SharedBytes(int pairs) const {
    return pairs * (sizeof(float) * ScoreValues() + BlockedRows::Bytes(kRows, context_rows));
  }

  // A pair's rows follow on those of the pair before, `last_row` the tile's last; context(pair) is
  // its context's block. `memory`: SharedBytes(). sync() lets the threads meet; it is to be called
  // after this, too.
  template <class Context, class Sync>
  DIME_DEVICE void Attend(int pairs, int last_row, const BlockedRows& x, const BlockedRows& out,
                          unsigned char* memory, Context&& context, Sync&& sync) const {
    auto* const scores = reinterpret_cast<float*>(memory);
    auto* const shares = reinterpret_cast<Bf16*>(scores + pairs * ScoreValues());
    const auto shares_of = [&](int pair) {
      return BlockedRows{.values = shares + pair * kRows * context_rows, .width = context_rows};
    };
    const int lane = Thread() % kWarp, warp = Thread() / kWarp;
    constexpr int kWarps = kThreads / kWarp;

    const int tiles = context_rows / 8;
    for (int task = warp; task < pairs * tiles; task += kWarps) {
      const int pair = task / tiles;
      Score(x, pair * positions, last_row, context(pair), task % tiles * 8,
            scores + pair * ScoreValues());
    }
    sync();
    // Four lanes each; rows of contexts and of pairs are multiples of 16, so that no group is
    // without.
    constexpr int kGroups = kThreads / 4;
    for (int i = warp * 8; i < pairs * context_rows; i += kGroups) {
      const int pair = (i + lane / 4) / context_rows, c = (i + lane / 4) % context_rows;
      Normalize(scores + pair * ScoreValues() + c, c < Rows(context(pair)));
    }
    sync();
    for (int i = warp * 8; i < pairs * kRows; i += kGroups) {
      const int pair = (i + lane / 4) / kRows, m = (i + lane / 4) % kRows;
      Softmax(scores + pair * ScoreValues() + m * ld(), m < positions ? Rows(context(pair)) : 0,
              shares_of(pair), m);
    }
    sync();
    const int parts = x.width / 16;
    for (int task = warp; task < pairs * parts; task += kWarps) {
      const int pair = task / parts;
      Modulate(x, pair * positions, context(pair), shares_of(pair), task % parts * 16, out);
    }
  }

 private:
  static DIME_DEVICE float Clip(float v) { return Max(v, 0.1f * v); }  // leaky relu

  DIME_DEVICE int Rows(const unsigned char* context) const {
    return *reinterpret_cast<const int*>(context + layout.rows);
  }

  // Of eight of a context's rows, by a warp.
  DIME_DEVICE void Score(const BlockedRows& x, int first, int last_row,
                         const unsigned char* context, int column, float* scores) const {
    const int lane = Thread() % kWarp;
    const auto* const matrix = reinterpret_cast<const Bf16*>(context + layout.matrix);
    const Bf16* const row = matrix + (column + lane / 4) * x.width + lane % 4 * 2;
    const Bf16* source[kBlocks];
    DIME_UNROLL
    for (int b = 0; b < kBlocks; ++b) {
      const int m = first + b * 16 + lane % 16;
      source[b] = x.at(m < last_row ? m : last_row, lane / 16 * 8);
    }
    float sums[kBlocks][1][4] = {};
    // The context's values of some steps are read before the first is multiplied by, so that
    // reading does not wait for each.
    constexpr int kAhead = 8;
    for (int first_k = 0; first_k < x.width; first_k += kAhead * 16) {
      uint32_t right[kAhead][1][2];
      DIME_UNROLL
      for (int a = 0; a < kAhead; ++a) {
        const int k = first_k + a * 16;
        right[a][0][0] = k < x.width ? LoadWord(row + k) : 0;
        right[a][0][1] = k < x.width ? LoadWord(row + k + 8) : 0;
      }
      DIME_UNROLL
      for (int a = 0; a < kAhead; ++a) {
        const int k = first_k + a * 16;
        if (k >= x.width) break;
        uint32_t left[kBlocks][4];
        DIME_UNROLL
        for (int b = 0; b < kBlocks; ++b) LoadMatrices(left[b], source[b] + k * 8);
        MultiplyAdd(sums, left, right[a]);
      }
    }
    DIME_UNROLL
    for (int b = 0; b < kBlocks; ++b) {
      DIME_UNROLL
      for (int i = 0; i < 4; ++i) {
        scores[(b * 16 + lane / 4 + i / 2 * 8) * ld() + column + lane % 4 * 2 + i % 2] =
            sums[b][0][i];
      }
    }
  }

  // Raw scores of one of a context's rows, in place: normalised along the positions, times lambda.
  // By four lanes; whether it is `there` or not, they take part.
  DIME_DEVICE void Normalize(float* column, bool there) const {
    const bool clipped = norm == ScoreNorm::kClippedL2 || norm == ScoreNorm::kClippedL1 ||
                         norm == ScoreNorm::kClipped;
    const int sub = Thread() % 4;
    const int end = there ? positions : 0;
    float factor = lambda;
    if (norm == ScoreNorm::kSoftmax) {
      float top = -3e38f, sum = 0;
      for (int m = sub; m < end; m += 4) top = Max(top, column[m * ld()]);
      top = MaxOfFour(top);
      for (int m = sub; m < end; m += 4) {
        const float e = Exp2((column[m * ld()] - top) * kLog2e);
        column[m * ld()] = e;
        sum += e;
      }
      factor = lambda / SumOfFour(sum);
    } else if (norm != ScoreNorm::kClipped && norm != ScoreNorm::kNone) {
      const bool squares = norm == ScoreNorm::kClippedL2 || norm == ScoreNorm::kL2;
      float sum = 0;
      for (int m = sub; m < end; m += 4) {
        const float v = clipped ? Clip(column[m * ld()]) : column[m * ld()];
        sum += squares ? v * v : Abs(v);
      }
      sum = SumOfFour(sum);
      if (squares) sum = Sqrt(sum);
      factor = lambda / (norm == ScoreNorm::kClippedL2 ? Max(sum, kTiny) : sum + 1e-8f);
    }
    for (int m = sub; m < end; m += 4) {
      const float v = clipped ? Clip(column[m * ld()]) : column[m * ld()];
      column[m * ld()] = v * factor;
    }
  }

  // One position's shares of the first `rows` of a context's rows, zeros beyond. By four lanes.
  DIME_DEVICE void Softmax(const float* row, int rows, const BlockedRows& shares, int m) const {
    const int sub = Thread() % 4;
    float top = -3e38f, sum = 0;
    for (int c = sub; c < rows; c += 4) top = Max(top, row[c]);
    top = MaxOfFour(top);
    for (int c = sub; c < rows; c += 4) sum += Exp2((row[c] - top) * kLog2e);
    const float inverse = 1 / SumOfFour(sum);
    for (int c = sub; c < context_rows; c += 4) {
      *shares.at(m, c) = c < rows ? Narrow(Exp2((row[c] - top) * kLog2e) * inverse) : Bf16{0};
    }
  }
  static DIME_DEVICE float MaxOfFour(float v) {
    v = Max(v, ShuffleXor(v, 1));
    return Max(v, ShuffleXor(v, 2));
  }
  static DIME_DEVICE float SumOfFour(float v) {
    v += ShuffleXor(v, 1);
    return v + ShuffleXor(v, 2);
  }

  // Of 16 channels, by a warp.
  DIME_DEVICE void Modulate(const BlockedRows& x, int first, const unsigned char* context,
                            const BlockedRows& shares, int channel, const BlockedRows& out) const {
    const int lane = Thread() % kWarp;
    const int width = x.width;
    const auto* const scale = reinterpret_cast<const Bf16*>(context + layout.projections) +
                              int64_t{2} * layer * context_rows * width;
    const Bf16* const shift = scale + int64_t{context_rows} * width;
    float sums[kBlocks][4][4] = {};  // scale and shift of eight channels, of the next eight
    constexpr int kAhead = 2;        // steps, as above
    for (int first_k = 0; first_k < context_rows; first_k += kAhead * 16) {
      uint32_t right[kAhead][4][2];
      DIME_UNROLL
      for (int a = 0; a < kAhead; ++a) {
        const int k = first_k + a * 16;
        const int64_t at = (int64_t{k / 2 + lane % 4} * width + channel + lane / 4) * 2;
        DIME_UNROLL
        for (int t = 0; t < 4; ++t) {
          const Bf16* const from = (t % 2 == 0 ? scale : shift) + at + t / 2 * 16;
          right[a][t][0] = k < context_rows ? LoadWord(from) : 0;
          right[a][t][1] = k < context_rows ? LoadWord(from + int64_t{8} * width) : 0;
        }
      }
      DIME_UNROLL
      for (int a = 0; a < kAhead; ++a) {
        const int k = first_k + a * 16;
        if (k >= context_rows) break;
        uint32_t left[kBlocks][4];
        DIME_UNROLL
        for (int b = 0; b < kBlocks; ++b) {
          LoadMatrices(left[b], shares.at(b * 16 + lane % 16, k + lane / 16 * 8));
        }
        MultiplyAdd(sums, left, right[a]);
      }
    }
    DIME_UNROLL
    for (int b = 0; b < kBlocks; ++b) {
      DIME_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int m = b * 16 + lane / 4 + half * 8;
        if (m >= positions) continue;
        DIME_UNROLL
        for (int t = 0; t < 2; ++t) {
          const int e = channel + t * 8 + lane % 4 * 2;
          const uint32_t z = LoadWord(x.at(first + m, e));
          const float(&s)[4] = sums[b][2 * t];
          const float(&h)[4] = sums[b][2 * t + 1];
          StoreWord(out.at(first + m, e),
                    Pack(Low(z) * CoarseTanh(s[half * 2]) + h[half * 2],
                         High(z) * CoarseTanh(s[half * 2 + 1]) + h[half * 2 + 1]));
        }
      }
    }
  }
};

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_CROSS_ATTENTION_H_
