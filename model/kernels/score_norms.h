#ifndef DIME_MODEL_KERNELS_SCORE_NORMS_H_
#define DIME_MODEL_KERNELS_SCORE_NORMS_H_

#include <cstdint>

#include "model/kernels/float_rows.h"
#include "model/kernels/float_vector.h"
#include "model/kernels/interaction_weights.h"

// The norms of the refinement cell's raw scores (dime-model.md, 3) in float32, forward and
// backward. For the units that float_vector.h is for; in an unnamed namespace for the same reason.
namespace dime::kernels {
namespace {

// Whether a leaky rectifier of slope 0.1 comes first.
inline bool IsClipped(ScoreNorm norm) {
  return norm == ScoreNorm::kClippedL2 || norm == ScoreNorm::kClippedL1 ||
         norm == ScoreNorm::kClipped;
}

// Raw scores (positions, stride) of which `rows` columns are valid, each normalised along the
// positions, in place. For ScoresGradient(): what each column was multiplied by, and how much of
// itself its gradient loses.
inline void NormalizeScores(ScoreNorm norm, float* scores, int positions, int rows, int stride,
                            float* scales, float* factors) {
  const Vec one = Set(1), zero = Zero();
  const bool clipped = IsClipped(norm);
  const int64_t end = int64_t{positions} * stride;
  for (int c = 0; c < rows; c += kWidth) {
    const Mask mask = TailMask(rows - c);
    Vec squares = zero, magnitudes = zero, most = Set(-3e38f);
    for (int64_t at = c; at < end; at += stride) {
      Vec x = Load(scores + at, mask);
      if (clipped) {
        x = Select(IsPositive(x), x, x * Set(0.1f));
        StoreAll(scores + at, x);
      }
      squares = MulAdd(x, x, squares);
      magnitudes = magnitudes + Absolute(x);
      most = Maximum(most, x);
    }
    Vec scale = one, factor = zero;
    if (norm == ScoreNorm::kClippedL2) {
      scale = InverseNorm(squares);
      factor = IsUnclamped(scale);
    } else if (norm == ScoreNorm::kL2) {
      const Vec length = SquareRoot(squares);
      const Vec divisor = length + Set(1e-8f);
      scale = one / divisor;
      factor = Keep(IsPositive(length), divisor / length);
    } else if (norm == ScoreNorm::kClippedL1 || norm == ScoreNorm::kL1) {
      scale = one / (magnitudes + Set(1e-8f));
    } else if (norm == ScoreNorm::kSoftmax) {
      Vec total = zero;
      for (int64_t at = c; at < end; at += stride) {
        const Vec power = Exp(Load(scores + at, mask) - most);
        StoreAll(scores + at, power);
        total = total + power;
      }
      scale = one / total;
    }
    for (int64_t at = c; at < end; at += stride) {
      StoreAll(scores + at, scale * Load(scores + at, mask));
    }
    StoreAll(scales + c, scale);
    StoreAll(factors + c, factor);
  }
}

// The gradient with respect to what NormalizeScores() was given, in place.
inline void ScoresGradient(ScoreNorm norm, const float* normed, int positions, int rows, int stride,
                           const float* scales, const float* factors, float* gradient) {
  const bool absolute = norm == ScoreNorm::kClippedL1 || norm == ScoreNorm::kL1;
  const bool clipped = IsClipped(norm);
  const int64_t end = int64_t{positions} * stride;
  for (int c = 0; c < rows; c += kWidth) {
    const Mask mask = TailMask(rows - c);
    Vec along = Zero();
    for (int64_t at = c; at < end; at += stride) {
      along = MulAdd(Load(normed + at, mask), Load(gradient + at, mask), along);
    }
    const Vec scale = Load(scales + c, mask);
    const Vec lost = along * Load(factors + c, mask);
    for (int64_t at = c; at < end; at += stride) {
      const Vec value = Load(normed + at, mask);
      Vec x = Load(gradient + at, mask);
      if (norm == ScoreNorm::kSoftmax) {
        x = value * (x - along);
      } else if (absolute) {
        x = scale * NegMulAdd(SignOf(value), along, x);
      } else {
        x = scale * NegMulAdd(value, lost, x);
      }
      if (clipped) {
        x = Select(IsPositive(value), x, x * Set(0.1f));
      }
      StoreAll(gradient + at, x);
    }
  }
}

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_SCORE_NORMS_H_
