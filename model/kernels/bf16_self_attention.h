#ifndef DIME_MODEL_KERNELS_BF16_SELF_ATTENTION_H_
#define DIME_MODEL_KERNELS_BF16_SELF_ATTENTION_H_

#include <cstdint>

#include "model/kernels/array.h"
#include "model/kernels/bf16_softmax.h"
#include "model/kernels/interaction_weights.h"
#include "model/kernels/packed_linear.h"
#include "model/kernels/tile_product.h"
#include "model/kernels/vector_math.h"

// Self-attention of one pair's sequence in products of bfloat16. For the units that vector_math.h
// is for; in an unnamed namespace for the same reason.
namespace dime::kernels {
namespace {

// Memory for one call at a time. M: positions.
struct SelfAttentionScratch {
  Array<Bf16> keys;            // pairs of channels by position, for each head of a few
  Array<Bf16> values;          // pairs of positions by channel
  Array<Bf16> ones;            // the same with 16 channels of 1
  Array<Bf16> shares;          // softmax's numerators, (M, heads x M)
  Array<float> scores;         // (M, heads x M)
  Array<float> block, block2;  // of a product
  Array<float> inverse_sums;   // (M)
};

// The multi-head attention of the reasoning cell (dime-model.md, 3), from its projections on.
// Immutable, hence thread-safe.
template <class Isa>
class SelfAttention {
 public:
  // `padded_size`: values from one row of a sequence to the next.
  SelfAttention(const InteractionShape& shape, int padded_size)
      : M_(shape.positions),
        E_(padded_size),
        M16_(static_cast<int>(RoundUp(M_, 16))),
        num_heads_(shape.num_heads),
        head_(shape.embed_size / shape.num_heads),
        head_steps_(static_cast<int>(RoundUp(head_, 32) / 32)),
        heads_a_load_(
            head_ % 2 == 0 && 32 % head_ == 0 && num_heads_ % (32 / head_) == 0 ? 32 / head_ : 1),
        heads_together_(heads_a_load_ < kHeads ? kHeads / heads_a_load_ * heads_a_load_
                                               : heads_a_load_) {}

  void Allocate(SelfAttentionScratch& w, Slab& slab) const {
    w.keys.Resize(heads_together_ * KeysOfAHead() + 64, slab);
    w.values.Resize(RoundUp(M_, 32) / 2 * LdValues(), slab);
    w.ones.Resize(RoundUp(M_, 32) * 16, slab);
    for (int m = 0; m < M_; ++m) {
      for (int n = 0; n < 16; ++n) w.ones.get()[m / 2 * 32 + n * 2 + m % 2] = kOne;
    }
    w.shares.Resize(M16_ * LdShares(), slab);
    w.scores.Resize(M16_ * LdScores(), slab);
    w.block.Resize(kBlock * kBlock, slab);
    w.block2.Resize(kBlock * kBlock, slab);
    w.inverse_sums.Resize(M16_, slab);
  }

  // out = x + self-attention of one pair, whose query, key and value stand side by side in
  // `projected`, (M, 3 padded_size).
  void Attend(const Bf16* x, const Bf16* projected, Bf16* out, SelfAttentionScratch& w) const;

 private:
  // Heads that go through together, their scores side by side.
  static constexpr int kHeads = 4;
  // Logarithms (base 2) of softmax's numerators up to this need no maximum taken off: they and
  // their sums stay far from float32's limits.
  static constexpr float kSafeLog2 = 80;

  int64_t LdValues() const { return (E_ + 32) * 2; }
  // Rows of a few heads' scores, M16 columns a head, and of their shares.
  int64_t LdScores() const { return int64_t{heads_together_} * M16_; }
  int64_t SelfColumns() const { return RoundUp(M_, 32); }
  int64_t LdShares() const { return heads_together_ * SelfColumns(); }
  int64_t KeysOfAHead() const { return int64_t{head_steps_} * 16 * M16_ * 2; }

  void LoadKeys(const Bf16* keys, int head, Bf16* to) const;
  void TakeShares(int heads, float scale, SelfAttentionScratch& w) const;
  void WeighValues(int head, int heads, const Bf16* x, Bf16* out, SelfAttentionScratch& w) const;

  const int M_, E_;
  const int M16_;
  const int num_heads_;
  const int head_;            // channels of a head
  const int head_steps_;      // tiles of 32 that they take
  const int heads_a_load_;    // whose keys are transposed at once
  const int heads_together_;  // whose scores stand side by side
};

// The keys of the heads from `head` on that one load covers, from place `to` on, as right
// matrices: pairs of channels by position, for each head whole tiles of 16 pairs, zero beyond its
// channels.
template <class Isa>
void SelfAttention<Isa>::LoadKeys(const Bf16* keys, int head, Bf16* to) const {
  const int64_t ld = M16_ * 2, a_head = KeysOfAHead();
  for (int step = 0; step < head_steps_; ++step) {
    const int channel = head * head_ + step * 32;
    const __mmask32 mask = TailMask32(heads_a_load_ > 1 ? 32 : head_ - step * 32);
    for (int first = 0; first < M_; first += 16) {
      __m512i rows[16];
      for (int r = 0; r < 16; ++r) {
        rows[r] = first + r < M_
                      ? _mm512_maskz_loadu_epi16(mask, keys + int64_t{first + r} * 3 * E_ + channel)
                      : _mm512_setzero_si512();
      }
      Transpose(rows);
      const int pairs_a_head = heads_a_load_ > 1 ? head_ / 2 : 16;
      for (int r = 0; r < 16; ++r) {
        _mm512_storeu_si512(
            to + r / pairs_a_head * a_head + (step * 16 + r % pairs_a_head) * ld + first * 2,
            rows[r]);
      }
    }
  }
}

// Softmax's numerators of a few heads' scores. Without the maximum taken off where scores are small
// (see kSafeLog2), as they are but for a strange model. What is stored beyond a head's columns is
// finite.
template <class Isa>
void SelfAttention<Isa>::TakeShares(int heads, float scale, SelfAttentionScratch& w) const {
  const int64_t lds = LdScores(), ldp = LdShares(), columns = SelfColumns();
  const int pairs = M_ / 32 * 32, whole = M_ / 16 * 16, tail = M_ - whole;
  const float* const scores = w.scores.get();
  Bf16* const shares = w.shares.get();
  const __m512 factor = _mm512_set1_ps(scale * kLog2e);
  __m512 most = _mm512_setzero_ps();
  for (int m = 0; m < M_; ++m) {
    const float* const row = scores + m * lds;
    Bf16* const to = shares + m * ldp;
    for (int i = 0; i < heads; ++i) {
      for (int n = 0; n < pairs; n += 32) {
        const float* const from = row + i * M16_ + n;
        const __m512 low = Exp2Small(_mm512_loadu_ps(from), factor, most);
        const __m512 high = Exp2Small(_mm512_loadu_ps(from + 16), factor, most);
        StorePair(to + i * columns + n, low, high);
      }
      if (whole > pairs) {
        StoreBf16(to + i * columns + pairs,
                  Exp2Small(_mm512_loadu_ps(row + i * M16_ + pairs), factor, most));
      }
    }
    if (tail == 0) continue;
    int i = 0;
    // Two heads' short ends share a vector.
    for (; tail <= 8 && i + 1 < heads; i += 2) {
      const float* const ends = row + i * M16_ + whole;
      const __m512 scores_of_both = _mm512_insertf32x8(
          _mm512_castps256_ps512(_mm256_loadu_ps(ends)), _mm256_loadu_ps(ends + M16_), 1);
      const __m256i both = Narrow(Exp2Small(scores_of_both, factor, most));
      Bf16* const at = to + i * columns + whole;
      _mm_storeu_si128(reinterpret_cast<__m128i*>(at), _mm256_castsi256_si128(both));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(at + columns), _mm256_extracti128_si256(both, 1));
    }
    for (; i < heads; ++i) {
      StoreBf16(to + i * columns + whole,
                Exp2Small(_mm512_loadu_ps(row + i * M16_ + whole), factor, most));
    }
  }
  if (_mm512_reduce_max_ps(most) <= kSafeLog2) return;
  for (int i = 0; i < heads; ++i) {
    Softmax(scores + i * M16_, lds, M_, M_, scale, shares + i * columns, ldp, w.inverse_sums.get());
  }
}

// out = x + the values weighed by the shares, of one pair's heads from `head` on: `heads` of them,
// whose shares stand side by side.
template <class Isa>
void SelfAttention<Isa>::WeighValues(int head, int heads, const Bf16* x, Bf16* out,
                                     SelfAttentionScratch& w) const {
  const int64_t ld = LdShares(), ld_values = LdValues();
  const int blocks = M16_ / 16;
  const int steps = static_cast<int>(RoundUp(M_, 32) / 32);
  if (head_ == 16 && steps <= 2) {
    // A block's sums are divided out while the tiles make the next one's.
    const float* pending = nullptr;
    int64_t pending_at = 0;
    int pending_rows = 0, parity = 0;
    const auto finish = [&] {
      for (int r = 0; r < pending_rows; ++r) {
        const int64_t at = pending_at + int64_t{r} * E_;
        const __m512 inverse = Reciprocal(_mm512_load_ps(pending + 256 + r * 16));
        StoreBf16(out + at,
                  _mm512_fmadd_ps(_mm512_load_ps(pending + r * 16), inverse, LoadBf16(x + at)));
      }
    };
    float* const places[2] = {w.block.get(), w.block2.get()};
    for (int i = 0; i < heads; ++i) {
      const int64_t at = (head + i) * head_;
      Isa::WeighedSums(
          w.shares.get() + i * SelfColumns(), ld, M_, w.values.get() + at * 2, ld_values,
          w.ones.get(), (M_ + 1) / 2, [&] { return places[parity]; },
          [&](int b) {
            finish();
            pending = places[parity];
            pending_at = at + int64_t{b} * 16 * E_;
            pending_rows = Lesser(16, M_ - b * 16);
            parity ^= 1;
          });
    }
    finish();
    return;
  }
  const int head_vectors = static_cast<int>(RoundUp(head_, 16) / 16);
  float* const weighed = w.block.get();
  float* const sums = w.block2.get();
  for (int i = 0; i < heads; ++i) {
    // What stands beyond a head's shares is finite, and beyond the values are zeros.
    const Bf16* const shares = w.shares.get() + i * SelfColumns();
    const int64_t at = (head + i) * head_;
    for (int b = 0; b < blocks; ++b) {
      const int rows = Lesser(16, M_ - b * 16);
      Isa::Strip(shares + b * 16 * ld, ld, rows, w.ones.get(), 32, 1, steps, sums, 16);
      for (int v = 0; v < head_vectors; v += 4) {
        const int vectors = Lesser(4, head_vectors - v);
        Isa::Strip(shares + b * 16 * ld, ld, rows, w.values.get() + at * 2 + v * 32, ld_values,
                   vectors, steps, weighed, 64);
        for (int r = 0; r < rows; ++r) {
          const __m512 inverse = Reciprocal(_mm512_loadu_ps(sums + r * 16));
          for (int u = 0; u < vectors; ++u) {
            const int channel = (v + u) * 16;
            const int64_t place = at + int64_t{b * 16 + r} * E_ + channel;
            const __mmask16 mask = TailMask(head_ - channel);
            const __m512 z = Widen(_mm256_maskz_loadu_epi16(mask, x + place));
            const __m512 y =
                _mm512_fmadd_ps(_mm512_loadu_ps(weighed + r * 64 + u * 16), inverse, z);
            _mm256_mask_storeu_epi16(out + place, mask, Narrow(y));
          }
        }
      }
    }
  }
}

template <class Isa>
void SelfAttention<Isa>::Attend(const Bf16* x, const Bf16* projected, Bf16* out,
                                SelfAttentionScratch& w) const {
  const int64_t ld = 3 * E_;
  for (int m = 0; m < M_; m += 2) {
    const Bf16* const row = projected + m * ld + 2 * E_;
    for (int e = 0; e < E_; e += 32) {
      const __m512i a = _mm512_loadu_si512(row + e);
      const __m512i b = m + 1 < M_ ? _mm512_loadu_si512(row + ld + e) : _mm512_setzero_si512();
      __m512i first, second;
      Interleave(a, b, &first, &second);
      Bf16* const to = w.values.get() + m / 2 * LdValues() + e * 2;
      _mm512_storeu_si512(to, first);
      _mm512_storeu_si512(to + 32, second);
    }
  }
  const int blocks = M16_ / 16;
  const int64_t lds = LdScores(), ld_keys = M16_ * 2;
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(head_));
  float* const scores = w.scores.get();
  for (int head = 0; head < num_heads_; head += heads_together_) {
    const int heads = Lesser(heads_together_, num_heads_ - head);
    for (int i = 0; i < heads; i += heads_a_load_) {
      LoadKeys(projected + E_, head + i, w.keys.get() + i * KeysOfAHead());
    }
    for (int i = 0; i < heads; ++i) {
      const Bf16* const queries = projected + (head + i) * head_;
      const Bf16* const keys = w.keys.get() + i * KeysOfAHead();
      if (head_steps_ == 1 && blocks <= 3) {
        Isa::Grid(queries, ld, M_, keys, ld_keys, blocks, (head_ + 1) / 2, scores + i * M16_, lds);
        continue;
      }
      for (int b = 0; b < blocks; ++b) {
        for (int c = 0; c < blocks; c += 4) {
          Isa::Strip(queries + b * 16 * ld, ld, Lesser(16, M_ - b * 16), keys + c * 32, ld_keys,
                     Lesser(4, blocks - c), head_steps_, scores + i * M16_ + b * 16 * lds + c * 16,
                     lds);
        }
      }
    }
    TakeShares(heads, scale, w);
    WeighValues(head, heads, x, out, w);
  }
}

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_BF16_SELF_ATTENTION_H_
