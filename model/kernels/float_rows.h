#ifndef DIME_MODEL_KERNELS_FLOAT_ROWS_H_
#define DIME_MODEL_KERNELS_FLOAT_ROWS_H_

#include <cstdint>

#include "model/kernels/array.h"
#include "model/kernels/float_vector.h"

// What is done to rows of floats between products: sums of columns, transposition, softmax and its
// gradient. Rows need no padding unless it is said. For the units that float_vector.h is for; in an
// unnamed namespace for the same reason.
namespace dime::kernels {
namespace {

constexpr float kLeastNorm = 1e-12f;

// Calls body(first, lanes) for each kWidth of n floats; `lanes` is AllLanes or a Mask.
template <class Body>
inline void ForVectors(int64_t n, Body&& body) {
  int64_t e = 0;
  for (; e + kWidth <= n; e += kWidth) body(e, AllLanes());
  if (e < n) body(e, TailMask(static_cast<int>(n - e)));
}

template <class Lanes>
inline void Accumulate(float* to, Lanes lanes, Vec values) {
  Store(to, lanes, Load(to, lanes) + values);
}
inline Vec SignOf(Vec x) {
  return Keep(IsPositive(x), Set(1)) - Keep(IsGreater(Zero(), x), Set(1));
}

// 1 / max(norm, 1e-12), the modules' clamp, from sums of squares.
inline Vec InverseNorm(Vec squares) {
  return Set(1) / Maximum(Set(kLeastNorm), SquareRoot(squares));
}
// 1 where a norm was not clamped, else 0: whether it has a gradient.
inline Vec IsUnclamped(Vec inverse_norm) {
  return Keep(IsGreater(Set(0.999f / kLeastNorm), inverse_norm), Set(1));
}

// to[n] += the sums of a (rows, n)'s columns.
inline void AddColumnSums(const float* a, int64_t stride, int rows, int n, float* to) {
  ForVectors(n, [&](int64_t e, auto lanes) {
    Vec sum = Zero();
    for (int m = 0; m < rows; ++m) sum = sum + Load(a + m * stride + e, lanes);
    Accumulate(to + e, lanes, sum);
  });
}

// (rows, columns) -> (columns, rows).
inline void TransposeTo(const float* from, int64_t from_stride, int rows, int columns, float* to,
                        int64_t to_stride) {
  Vec block[kWidth];
  for (int i = 0; i < rows; i += kWidth) {
    const int high = Lesser(kWidth, rows - i);
    for (int j = 0; j < columns; j += kWidth) {
      const int wide = Lesser(kWidth, columns - j);
      if (high == kWidth && wide == kWidth) {
        for (int k = 0; k < kWidth; ++k) block[k] = LoadAll(from + (i + k) * from_stride + j);
        Transpose(block);
        for (int k = 0; k < kWidth; ++k) StoreAll(to + (j + k) * to_stride + i, block[k]);
        continue;
      }
      for (int k = 0; k < kWidth; ++k) {
        block[k] = k < high ? Load(from + (i + k) * from_stride + j, TailMask(wide)) : Zero();
      }
      Transpose(block);
      for (int k = 0; k < wide; ++k) {
        Store(to + (j + k) * to_stride + i, TailMask(high), block[k]);
      }
    }
  }
}

// softmax(factor row) over the first n values of each of `rows` rows, zeros from there up to the
// rows' stride, a multiple of kWidth.
inline void Softmax(float* values, int rows, int n, int stride, float factor) {
  const Vec scale = Set(factor);
  const int whole = (n - 1) / kWidth * kWidth;  // where the last vector begins
  const Mask tail = TailMask(n - whole);
  Vec magnitude = Zero();
  for (int m = 0; m < rows; ++m) {
    const float* const row = values + int64_t{m} * stride;
    for (int e = 0; e < whole; e += kWidth) {
      magnitude = Maximum(magnitude, Absolute(LoadAll(row + e)));
    }
    magnitude = Maximum(magnitude, Absolute(Load(row + whole, tail)));
  }
  // Powers of magnitudes like these, and their sums, stay far from float32's limits.
  const bool safe = Most(Absolute(scale * magnitude)) < 60;
  for (int first = 0; first < rows; first += kWidth) {
    const int count = Lesser(kWidth, rows - first);
    float* const block = values + int64_t{first} * stride;
    alignas(64) float shifts[kWidth] = {}, inverses[kWidth];
    if (!safe) {
      Vec most[kWidth];
      for (int i = 0; i < kWidth; ++i) {
        most[i] = Set(-3e38f);
        if (i >= count) continue;
        const float* const row = block + i * stride;
        for (int e = 0; e < whole; e += kWidth) {
          most[i] = Maximum(most[i], scale * LoadAll(row + e));
        }
        most[i] = Maximum(most[i], Select(tail, scale * Load(row + whole, tail), most[i]));
      }
      StoreAll(shifts, ReduceRows<Max>(most));
    }
    Vec sums[kWidth];
    for (int i = 0; i < kWidth; ++i) {
      sums[i] = Zero();
      if (i >= count) continue;
      float* const row = block + i * stride;
      const Vec shift = Set(shifts[i]);
      for (int e = 0; e < whole; e += kWidth) {
        const Vec power = Exp(MulSub(scale, LoadAll(row + e), shift));
        StoreAll(row + e, power);
        sums[i] = sums[i] + power;
      }
      const Vec power = Keep(tail, Exp(MulSub(scale, Load(row + whole, tail), shift)));
      StoreAll(row + whole, power);
      sums[i] = sums[i] + power;
    }
    StoreAll(inverses, Set(1) / ReduceRows<Add>(sums));
    for (int i = 0; i < count; ++i) {
      float* const row = block + i * stride;
      const Vec inverse = Set(inverses[i]);
      for (int e = 0; e <= whole; e += kWidth) StoreAll(row + e, inverse * LoadAll(row + e));
      for (int e = whole + kWidth; e < stride; e += kWidth) StoreAll(row + e, Zero());
    }
  }
}

// The gradients with respect to the rows given to Softmax(), from those of its result, in place.
inline void SoftmaxGradient(const float* shares, float* gradient, int rows, int n, int stride,
                            float factor) {
  const Vec scale = Set(factor);
  for (int first = 0; first < rows; first += kWidth) {
    const int count = Lesser(kWidth, rows - first);
    const int64_t at = int64_t{first} * stride;
    alignas(64) float means[kWidth];
    Vec dots[kWidth];
    for (int i = 0; i < kWidth; ++i) {
      dots[i] = Zero();
      if (i >= count) continue;
      const float* const share = shares + at + i * stride;
      const float* const row = gradient + at + i * stride;
      ForVectors(n, [&](int64_t e, auto lanes) {
        dots[i] = MulAdd(Load(share + e, lanes), Load(row + e, lanes), dots[i]);
      });
    }
    StoreAll(means, ReduceRows<Add>(dots));
    for (int i = 0; i < count; ++i) {
      const Vec mean = Set(means[i]);
      const float* const share = shares + at + i * stride;
      float* const row = gradient + at + i * stride;
      ForVectors(n, [&](int64_t e, auto lanes) {
        Store(row + e, lanes, scale * Load(share + e, lanes) * (Load(row + e, lanes) - mean));
      });
    }
  }
}

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_FLOAT_ROWS_H_
