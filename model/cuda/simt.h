#ifndef DIME_MODEL_CUDA_SIMT_H_
#define DIME_MODEL_CUDA_SIMT_H_

#include <cstdint>
#include <cstring>

#include "index/float_bits.h"

#if !defined(__CUDACC__)
#include <cmath>

#include "model/cuda/emulator.h"
#endif

// What the device's code is written in: the few things that a block of threads does together, as
// CUDA's instructions where nvcc compiles, else as the emulator's, so that the same kernels run on
// a device and, for tests, on any processor. Names of the instructions are PTX's.
#if defined(__CUDACC__)
#define DIME_DEVICE __device__ __forceinline__
#define DIME_HOST_DEVICE __host__ __device__ __forceinline__
#define DIME_UNROLL _Pragma("unroll")
#define DIME_UNROLL_BY_4 _Pragma("unroll 4")
#else
#define DIME_DEVICE inline
#define DIME_HOST_DEVICE inline
#define DIME_UNROLL
#define DIME_UNROLL_BY_4
#endif

namespace dime::cuda {

inline constexpr int kWarp = 32;
inline constexpr int kBlockThreads = 128;  // of a block, where a kernel has no kThreads

// Threads of a block of a kernel.
template <class Kernel>
DIME_HOST_DEVICE constexpr int ThreadsOf() {
  if constexpr (requires { Kernel::kThreads; }) {
    return Kernel::kThreads;
  } else {
    return kBlockThreads;
  }
}

// bfloat16 values as their bits; two of them, the first in the low half, make a word, as registers
// of matrix instructions hold them.
using Bf16 = uint16_t;

struct alignas(16) Words4 {
  uint32_t x, y, z, w;
};

struct alignas(8) Floats2 {
  float x, y;
};

// Of two values side by side, and of eight: at addresses that are multiples of as many bytes.
DIME_DEVICE uint32_t LoadWord(const Bf16* from) { return *reinterpret_cast<const uint32_t*>(from); }
DIME_DEVICE void StoreWord(Bf16* to, uint32_t word) { *reinterpret_cast<uint32_t*>(to) = word; }
DIME_DEVICE Floats2 LoadFloats2(const float* from) {
  return *reinterpret_cast<const Floats2*>(from);
}
DIME_DEVICE Words4 LoadWords4(const void* from) { return *static_cast<const Words4*>(from); }
DIME_DEVICE void StoreWords4(void* to, const Words4& words) { *static_cast<Words4*>(to) = words; }

DIME_HOST_DEVICE constexpr int RoundUp(int n, int to) { return (n + to - 1) / to * to; }

// On the host: of two values rounded to the nearest, ties to even.
inline uint32_t RoundedPair(float low, float high) {
  return FloatToBfloat16(low) | uint32_t{FloatToBfloat16(high)} << 16;
}

#if defined(__CUDACC__)

DIME_DEVICE int Thread() { return static_cast<int>(threadIdx.x); }
DIME_DEVICE int BlockX() { return static_cast<int>(blockIdx.x); }
DIME_DEVICE int BlockY() { return static_cast<int>(blockIdx.y); }
DIME_DEVICE unsigned char* SharedMemory() {
  extern __shared__ __align__(16) unsigned char shared[];
  return shared;
}
DIME_DEVICE void SyncBlock() { __syncthreads(); }
DIME_DEVICE void SyncWarp() { __syncwarp(); }
DIME_DEVICE float ShuffleXor(float value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
DIME_DEVICE int AtomicAdd(int* to, int value) { return atomicAdd(to, value); }

// ldmatrix.x4: four matrices of 8 x 8, whose rows of 16 bytes lanes 0 to 7, 8 to 15 and so on point
// to.
DIME_DEVICE void LoadMatrices(uint32_t (&to)[4], const Bf16* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(address)
               : "memory");
}

// The same of the transposed matrices: ldmatrix.trans.
DIME_DEVICE void LoadTransposed(uint32_t (&to)[4], const Bf16* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(address)
               : "memory");
}

// mma.m16n8k16: sums += a b, for each of the row blocks' a and the column blocks' b.
template <int kRows, int kColumns>
DIME_DEVICE void MultiplyAdd(float (&sums)[kRows][kColumns][4], const uint32_t (&a)[kRows][4],
                             const uint32_t (&b)[kColumns][2]) {
#pragma unroll
  for (int c = 0; c < kColumns; ++c) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
          "{%8,%9}, {%0,%1,%2,%3};"
          : "+f"(sums[r][c][0]), "+f"(sums[r][c][1]), "+f"(sums[r][c][2]), "+f"(sums[r][c][3])
          : "r"(a[r][0]), "r"(a[r][1]), "r"(a[r][2]), "r"(a[r][3]), "r"(b[c][0]), "r"(b[c][1]));
    }
  }
}

// Two values rounded to the nearest, ties to even.
DIME_DEVICE uint32_t Pack(float low, float high) {
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
DIME_DEVICE float FloatOfBits(uint32_t bits) { return __uint_as_float(bits); }
DIME_DEVICE uint32_t BitsOf(float value) { return __float_as_uint(value); }
DIME_DEVICE float Exp2(float x) {  // to 2 units in the last place
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
DIME_DEVICE float CoarseTanh(float x) {  // to 2^-11
  float y;
  asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
DIME_DEVICE float Tanh(float x) { return tanhf(x); }
DIME_DEVICE float Sqrt(float x) { return sqrtf(x); }
DIME_DEVICE float Max(float a, float b) { return fmaxf(a, b); }
DIME_DEVICE float Abs(float x) { return fabsf(x); }

#else  // emulated

inline int Thread() { return Emulator::thread(); }
inline int BlockX() { return Emulator::block_x(); }
inline int BlockY() { return Emulator::block_y(); }
inline unsigned char* SharedMemory() { return Emulator::shared_memory(); }
inline void SyncBlock() { Emulator::SyncBlock(); }
inline void SyncWarp() { Emulator::SyncWarp(); }
inline float ShuffleXor(float value, int mask) {
  struct Lane {
    float value, other;
    int mask;
  } mine = {value, 0, mask};
  Emulator::WithWarp(&mine, [](void* const* lanes) {
    for (int l = 0; l < kWarp; ++l) {
      auto* const lane = static_cast<Lane*>(lanes[l]);
      lane->other = static_cast<Lane*>(lanes[l ^ lane->mask])->value;
    }
  });
  return mine.other;
}
inline int AtomicAdd(int* to, int value) { return __atomic_fetch_add(to, value, __ATOMIC_RELAXED); }

inline uint32_t BitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}
inline float FloatOfBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}
inline uint32_t Pack(float low, float high) { return RoundedPair(low, high); }

template <bool kTransposed>
void LoadEmulated(uint32_t (&to)[4], const Bf16* row) {
  struct Lane {
    Bf16 row[8];
    uint32_t to[4];
  } mine;
  const Words4 own = LoadWords4(row);  // aligned, as the device wants it
  std::memcpy(mine.row, &own, sizeof(mine.row));
  Emulator::WithWarp(&mine, [](void* const* lanes) {
    const auto of = [lanes](int l) -> Lane& { return *static_cast<Lane*>(lanes[l]); };
    for (int l = 0; l < kWarp; ++l) {
      for (int matrix = 0; matrix < 4; ++matrix) {
        const auto at = [&](int i) {
          const int row = kTransposed ? l % 4 * 2 + i : l / 4;
          const int column = kTransposed ? l / 4 : l % 4 * 2 + i;
          return uint32_t{of(matrix * 8 + row).row[column]};
        };
        of(l).to[matrix] = at(0) | at(1) << 16;
      }
    }
  });
  std::memcpy(to, mine.to, sizeof(mine.to));
}
inline void LoadMatrices(uint32_t (&to)[4], const Bf16* row) { LoadEmulated<false>(to, row); }
inline void LoadTransposed(uint32_t (&to)[4], const Bf16* row) { LoadEmulated<true>(to, row); }

template <int kRows, int kColumns>
void MultiplyAdd(float (&sums)[kRows][kColumns][4], const uint32_t (&a)[kRows][4],
                 const uint32_t (&b)[kColumns][2]) {
  struct Lane {
    float (*sums)[kColumns][4];
    const uint32_t (*a)[4];
    const uint32_t (*b)[2];
  } mine = {sums, a, b};
  Emulator::WithWarp(&mine, [](void* const* lanes) {
    const auto of = [lanes](int l) -> const Lane& { return *static_cast<Lane*>(lanes[l]); };
    const auto half = [](uint32_t word, int i) {
      return FloatOfBits(i == 0 ? word << 16 : word & 0xffff0000u);
    };
    float left[16][16], right[16][8];  // (row, k), (k, column)
    for (int r = 0; r < kRows; ++r) {
      for (int l = 0; l < kWarp; ++l) {
        for (int i = 0; i < 8; ++i) {
          left[l / 4 + i / 2 % 2 * 8][l % 4 * 2 + i % 2 + i / 4 * 8] =
              half(of(l).a[r][i / 2], i % 2);
        }
      }
      for (int c = 0; c < kColumns; ++c) {
        for (int l = 0; l < kWarp; ++l) {
          for (int i = 0; i < 4; ++i) {
            right[l % 4 * 2 + i % 2 + i / 2 * 8][l / 4] = half(of(l).b[c][i / 2], i % 2);
          }
        }
        float product[16][8] = {};
        for (int i = 0; i < 16; ++i) {
          for (int k = 0; k < 16; ++k) {
            for (int j = 0; j < 8; ++j) product[i][j] += left[i][k] * right[k][j];
          }
        }
        for (int l = 0; l < kWarp; ++l) {
          for (int i = 0; i < 4; ++i) {
            of(l).sums[r][c][i] += product[l / 4 + i / 2 * 8][l % 4 * 2 + i % 2];
          }
        }
      }
    }
  });
}

inline float Exp2(float x) { return std::exp2(x); }
inline float CoarseTanh(float x) { return std::tanh(x); }
inline float Tanh(float x) { return std::tanh(x); }
inline float Sqrt(float x) { return std::sqrt(x); }
inline float Max(float a, float b) { return a > b ? a : b; }
inline float Abs(float x) { return std::fabs(x); }

#endif

DIME_DEVICE float Low(uint32_t word) { return FloatOfBits(word << 16); }
DIME_DEVICE float High(uint32_t word) { return FloatOfBits(word & 0xffff0000u); }
DIME_DEVICE float Widen(Bf16 value) { return FloatOfBits(uint32_t{value} << 16); }
DIME_DEVICE Bf16 Narrow(float value) { return static_cast<Bf16>(Pack(value, 0) & 0xffff); }

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_SIMT_H_
