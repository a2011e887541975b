#ifndef DIME_MODEL_CUDA_SELF_ATTENTION_H_
#define DIME_MODEL_CUDA_SELF_ATTENTION_H_

#include <cstdint>

#include "model/cuda/row_tiles.h"
#include "model/cuda/simt.h"

namespace dime::cuda {

// Self-attention of 16 positions of one head of one item whose rows are in a tile, by one warp;
// kBlocks: of 16 positions, that hold an item's. The softmax is float32.
template <int kBlocks>
struct SelfAttention {
  int positions, head_size;
  int last_row;  // of the tile

  // `projected` has query, key and value side by side from `at` on, each padded with zeros to a
  // multiple of 16 columns. In the block's of the rows from `first` on, and the head's columns from
  // `channel` on, out = x + what was attended to.
  DIME_DEVICE void Attend(const BlockedRows& projected, int at, int first, int block, int channel,
                          const BlockedRows& x, const BlockedRows& out) const {
    const int lane = Thread() % kWarp, matrix = lane / 8;
    const int width = RoundUp(head_size, 16);
    const float factor = kLog2e / Sqrt(static_cast<float>(head_size));
    // Rows past an item's are another's, or the last: finite, and without weight.
    const auto row = [&](int m) { return first + m < last_row ? first + m : last_row; };
    float scores[1][2 * kBlocks][4] = {};
    for (int k = 0; k < width; k += 16) {
      uint32_t left[1][4], right[2 * kBlocks][2];
      LoadMatrices(left[0], projected.at(row(block * 16 + lane % 16), at + k + lane / 16 * 8));
      DIME_UNROLL
      for (int t = 0; t < 2 * kBlocks; t += 2) {
        uint32_t keys[4];
        LoadMatrices(keys, projected.at(row((t + matrix / 2) * 8 + lane % 8),
                                        at + width + k + matrix % 2 * 8));
        right[t][0] = keys[0];
        right[t][1] = keys[1];
        right[t + 1][0] = keys[2];
        right[t + 1][1] = keys[3];
      }
      MultiplyAdd(scores, left, right);
    }
    float inverse[2];
    SoftmaxNumerators(scores[0], factor, inverse);
    for (int c = 0; c < width; c += 16) {
      float sums[1][2][4] = {};
      DIME_UNROLL
      for (int k = 0; k < kBlocks; ++k) {
        uint32_t left[1][4], values[4];
        const auto& first_half = scores[0][2 * k];
        const auto& second_half = scores[0][2 * k + 1];
        left[0][0] = Pack(first_half[0], first_half[1]);
        left[0][1] = Pack(first_half[2], first_half[3]);
        left[0][2] = Pack(second_half[0], second_half[1]);
        left[0][3] = Pack(second_half[2], second_half[3]);
        LoadTransposed(values, projected.at(row(k * 16 + matrix % 2 * 8 + lane % 8),
                                            at + 2 * width + c + matrix / 2 * 8));
        const uint32_t right[2][2] = {{values[0], values[1]}, {values[2], values[3]}};
        MultiplyAdd(sums, left, right);
      }
      DIME_UNROLL
      for (int t = 0; t < 2; ++t) {
        DIME_UNROLL
        for (int half = 0; half < 2; ++half) {
          const int m = block * 16 + lane / 4 + half * 8;
          const int e = c + t * 8 + lane % 4 * 2;
          if (m >= positions || e >= head_size) continue;
          Store(first + m, channel + e, e + 1 < head_size, sums[0][t][half * 2] * inverse[half],
                sums[0][t][half * 2 + 1] * inverse[half], x, out);
        }
      }
    }
  }

 private:
  // x plus two channels from e on, or one, as they were attended to.
  DIME_DEVICE void Store(int row, int e, bool both, float v0, float v1, const BlockedRows& x,
                         const BlockedRows& out) const {
    if (head_size % 2 == 0) {  // then words are aligned
      const uint32_t z = LoadWord(x.at(row, e));
      StoreWord(out.at(row, e), Pack(v0 + Low(z), v1 + High(z)));
      return;
    }
    *out.at(row, e) = Narrow(v0 + Widen(*x.at(row, e)));
    if (both) *out.at(row, e + 1) = Narrow(v1 + Widen(*x.at(row, e + 1)));
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

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_SELF_ATTENTION_H_
