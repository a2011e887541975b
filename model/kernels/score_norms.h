#ifndef DIME_MODEL_KERNELS_SCORE_NORMS_H_
#define DIME_MODEL_KERNELS_SCORE_NORMS_H_

#include <immintrin.h>

#include <cstdint>

#include "model/kernels/float_rows.h"
#include "model/kernels/interaction_weights.h"
#include "model/kernels/vector_math.h"

// The norms of the refinement cell's raw scores (dime-model.md, 3) in float32, forward and
// backward. For the units that vector_math.h is for; in an unnamed namespace for the same reason.
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
  const __m512 one = _mm512_set1_ps(1), zero = _mm512_setzero_ps();
  const bool clipped = IsClipped(norm);
  const int64_t end = int64_t{positions} * stride;
  for (int c = 0; c < rows; c += 16) {
    const __mmask16 mask = TailMask16(rows - c);
    __m512 squares = zero, magnitudes = zero, most = _mm512_set1_ps(-3e38f);
    for (int64_t at = c; at < end; at += stride) {
      __m512 x = Load(scores + at, mask);
      if (clipped) {
        x = _mm512_mask_mul_ps(x, static_cast<__mmask16>(~IsPositive(x)), x, _mm512_set1_ps(0.1f));
        _mm512_storeu_ps(scores + at, x);
      }
      squares = _mm512_fmadd_ps(x, x, squares);
      magnitudes = _mm512_add_ps(magnitudes, _mm512_abs_ps(x));
      most = _mm512_max_ps(most, x);
    }
    __m512 scale = one, factor = zero;
    if (norm == ScoreNorm::kClippedL2) {
      scale = InverseNorm(squares);
      factor = IsUnclamped(scale);
    } else if (norm == ScoreNorm::kL2) {
      const __m512 length = _mm512_sqrt_ps(squares);
      const __m512 divisor = _mm512_add_ps(length, _mm512_set1_ps(1e-8f));
      scale = _mm512_div_ps(one, divisor);
      factor = _mm512_maskz_div_ps(IsPositive(length), divisor, length);
    } else if (norm == ScoreNorm::kClippedL1 || norm == ScoreNorm::kL1) {
      scale = _mm512_div_ps(one, _mm512_add_ps(magnitudes, _mm512_set1_ps(1e-8f)));
    } else if (norm == ScoreNorm::kSoftmax) {
      __m512 total = zero;
      for (int64_t at = c; at < end; at += stride) {
        const __m512 power = Exp(_mm512_sub_ps(Load(scores + at, mask), most));
        _mm512_storeu_ps(scores + at, power);
        total = _mm512_add_ps(total, power);
      }
      scale = _mm512_div_ps(one, total);
    }
    for (int64_t at = c; at < end; at += stride) {
      _mm512_storeu_ps(scores + at, _mm512_mul_ps(scale, Load(scores + at, mask)));
    }
    _mm512_storeu_ps(scales + c, scale);
    _mm512_storeu_ps(factors + c, factor);
  }
}

// The gradient with respect to what NormalizeScores() was given, in place.
inline void ScoresGradient(ScoreNorm norm, const float* normed, int positions, int rows, int stride,
                           const float* scales, const float* factors, float* gradient) {
  const bool absolute = norm == ScoreNorm::kClippedL1 || norm == ScoreNorm::kL1;
  const bool clipped = IsClipped(norm);
  const int64_t end = int64_t{positions} * stride;
  for (int c = 0; c < rows; c += 16) {
    const __mmask16 mask = TailMask16(rows - c);
    __m512 along = _mm512_setzero_ps();
    for (int64_t at = c; at < end; at += stride) {
      along = _mm512_fmadd_ps(Load(normed + at, mask), Load(gradient + at, mask), along);
    }
    const __m512 scale = Load(scales + c, mask);
    const __m512 lost = _mm512_mul_ps(along, Load(factors + c, mask));
    for (int64_t at = c; at < end; at += stride) {
      const __m512 value = Load(normed + at, mask);
      __m512 x = Load(gradient + at, mask);
      if (norm == ScoreNorm::kSoftmax) {
        x = _mm512_mul_ps(value, _mm512_sub_ps(x, along));
      } else if (absolute) {
        x = _mm512_mul_ps(scale, _mm512_fnmadd_ps(SignOf(value), along, x));
      } else {
        x = _mm512_mul_ps(scale, _mm512_fnmadd_ps(value, lost, x));
      }
      if (clipped) {
        x = _mm512_mask_mul_ps(x, static_cast<__mmask16>(~IsPositive(value)), x,
                               _mm512_set1_ps(0.1f));
      }
      Store(gradient + at, mask, x);
    }
  }
}

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_SCORE_NORMS_H_
