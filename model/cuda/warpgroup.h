#ifndef DIME_MODEL_CUDA_WARPGROUP_H_
#define DIME_MODEL_CUDA_WARPGROUP_H_

#include <cstdint>
#include <cstring>

#include "model/cuda/simt.h"

#if !defined(__CUDACC__)
#include <deque>
#endif

// What Hopper's multiprocessors (compute capability 9.0) have beyond simt.h's: copies that run by
// themselves, barriers in memory that tell when these are there, and products of four warps out of
// shared memory. As there: PTX where nvcc compiles for such a device, else the emulator's. For
// other devices there is nothing of it: kernels that need it are not launched there.
namespace dime::cuda {

inline constexpr int kWarpgroup = 128;  // threads, the first a multiple of as many

// Where sm_90a's own instructions may be written.
#if !defined(__CUDACC__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define DIME_WARPGROUPS 1
#else
#define DIME_WARPGROUPS 0
#endif

// A matrix in shared memory for MultiplyByWarpgroup(): of blocks of 8 rows by 8 values, 128 bytes
// each; `along` and `across` are the bytes from one to the next along the rows and to the next 8
// rows. PTX's matrix descriptor without swizzling, "K-major"; all multiples of 16.
DIME_DEVICE uint64_t MatrixDescriptor(uint32_t address, int along, int across) {
  return (address & 0x3ffff) >> 4 | static_cast<uint64_t>(along >> 4) << 16 |
         static_cast<uint64_t>(across >> 4) << 32;
}
// The same matrix from so many bytes on.
DIME_DEVICE uint64_t Advanced(uint64_t descriptor, int bytes) {
  return descriptor + static_cast<uint64_t>(bytes >> 4);
}

#if defined(__CUDACC__)

DIME_DEVICE uint32_t SharedAddress(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

#if DIME_WARPGROUPS

// A barrier in shared memory (mbarrier), of 8 bytes: its phase ends, and the next begins, once
// `arrivals` threads have arrived and the bytes expected are there.
DIME_DEVICE void InitBarrier(uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(SharedAddress(barrier)),
               "r"(arrivals)
               : "memory");
}
// After InitBarrier(), before the block's threads meet.
DIME_DEVICE void PublishBarriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
DIME_DEVICE void Arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(SharedAddress(barrier)) : "memory");
}
// Returns once the phase of this parity (0: the first) has ended.
DIME_DEVICE void WaitForPhase(uint64_t* barrier, uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred ended;\n"
      "AGAIN:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 ended, [%0], %1;\n"
      "@ended bra ENDED;\n"
      "bra AGAIN;\n"
      "ENDED:\n"
      "}" ::"r"(SharedAddress(barrier)),
      "r"(parity)
      : "memory");
}
// Starts a copy into shared memory, both 16-byte aligned, and arrives; it counts as there when it
// is.
DIME_DEVICE void CopyAndArrive(void* to, const void* from, int bytes, uint64_t* barrier) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(SharedAddress(barrier)),
      "r"(bytes)
      : "memory");
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(SharedAddress(to)),
      "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(SharedAddress(barrier))
      : "memory");
}
// Makes what this thread stored in shared memory there for other threads' matrix products, once
// they meet.
DIME_DEVICE void PublishToProducts() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
// For the first so many threads of a block, whole warps.
DIME_DEVICE void SyncThreads(int threads) {
  asm volatile("bar.sync 1, %0;" ::"r"(threads) : "memory");
}

#define DIME_SUM(i) "+f"(sums[i])
#define DIME_SUMS_8(i)                                                             \
  DIME_SUM(i), DIME_SUM(i + 1), DIME_SUM(i + 2), DIME_SUM(i + 3), DIME_SUM(i + 4), \
      DIME_SUM(i + 5), DIME_SUM(i + 6), DIME_SUM(i + 7)
#define DIME_SUMS_32(i) DIME_SUMS_8(i), DIME_SUMS_8(i + 8), DIME_SUMS_8(i + 16), DIME_SUMS_8(i + 24)
#define DIME_NAMES_0                                       \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define DIME_NAMES_32                                                \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define DIME_NAMES_64                                                \
  "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79," \
  "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"

// Products of a warpgroup (wgmma.m64nNk16, bfloat16 into float32): sums += a b^T, for 64 rows of a
// and kColumns of b, 16 values of each. A thread's sums lie as mma.m16n8k16's do: its warp's 16
// rows, kColumns / 8 blocks of columns. They run by themselves: sums and operands are not to be
// touched until Wait() says so.
class WarpgroupProducts {
 public:
  // Before the first Multiply() after sums were written.
  DIME_DEVICE void Begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
  template <int kColumns>
  DIME_DEVICE void Multiply(float (&sums)[kColumns / 2], uint64_t a, uint64_t b) {
    static_assert(kColumns == 64 || kColumns == 128 || kColumns == 192);
    if constexpr (kColumns == 64) {
      asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" DIME_NAMES_0
                   "}, %32, %33, 1, 1, 1, 0, 0;"
                   : DIME_SUMS_32(0)
                   : "l"(a), "l"(b));
    } else if constexpr (kColumns == 128) {
      asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" DIME_NAMES_0
                   "," DIME_NAMES_32 "}, %64, %65, 1, 1, 1, 0, 0;"
                   : DIME_SUMS_32(0), DIME_SUMS_32(32)
                   : "l"(a), "l"(b));
    } else {
      asm volatile("wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 {" DIME_NAMES_0
                   "," DIME_NAMES_32 "," DIME_NAMES_64 "}, %96, %97, 1, 1, 1, 0, 0;"
                   : DIME_SUMS_32(0), DIME_SUMS_32(32), DIME_SUMS_32(64)
                   : "l"(a), "l"(b));
    }
  }
  // What was multiplied since the last End() is a group.
  DIME_DEVICE void End() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
  // Returns once all groups but the last kGroups are done.
  template <int kGroups>
  DIME_DEVICE void Wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kGroups) : "memory");
  }
  // So that the compiler does not read sums before Wait().
  template <int kSums>
  DIME_DEVICE void Hold(float (&sums)[kSums]) {
#pragma unroll
    for (int i = 0; i < kSums; ++i) asm volatile("" : "+f"(sums[i])::"memory");
  }
};

#undef DIME_SUM
#undef DIME_SUMS_8
#undef DIME_SUMS_32
#undef DIME_NAMES_0
#undef DIME_NAMES_32
#undef DIME_NAMES_64

#endif  // DIME_WARPGROUPS

#else  // emulated

inline uint32_t SharedAddress(const void* shared) {
  return static_cast<uint32_t>(static_cast<const unsigned char*>(shared) - SharedMemory());
}
inline void InitBarrier(uint64_t* barrier, int arrivals) {
  Emulator::InitBarrier(barrier, arrivals);
}
inline void PublishBarriers() {}
inline void Arrive(uint64_t* barrier) { Emulator::Arrive(barrier); }
inline void WaitForPhase(uint64_t* barrier, uint32_t parity) {
  Emulator::WaitForPhase(barrier, parity);
}
inline void CopyAndArrive(void* to, const void* from, int bytes, uint64_t* barrier) {
  Emulator::CopyAndArrive(to, from, bytes, barrier);
}
inline void PublishToProducts() { Emulator::PublishToProducts(); }
inline void SyncThreads(int threads) { Emulator::SyncThreads(threads); }

// Runs products at once where threads run in ascending order, and else as late as may be, when
// copies are done at once: so that operands are found to be missing in the one case, and to be
// overwritten in the other.
class WarpgroupProducts {
 public:
  void Begin() {}
  template <int kColumns>
  void Multiply(float (&sums)[kColumns / 2], uint64_t a, uint64_t b) {
    open_.push_back({&RunOne<kColumns>, sums, a, b});
    if (Emulator::order() == Emulator::Order::kAscending) RunAll(&open_);
  }
  void End() { groups_.push_back(std::exchange(open_, {})); }
  template <int kGroups>
  void Wait() {
    while (groups_.size() > kGroups) {
      RunAll(&groups_.front());
      groups_.pop_front();
    }
    Emulator::ProductsAreDone();
    Emulator::SyncWarp();  // what was read was read
  }
  template <int kSums>
  void Hold(float (&)[kSums]) {}

 private:
  struct Product {
    void (*run)(float* sums, uint64_t a, uint64_t b);
    float* sums;
    uint64_t a, b;
  };

  static void RunAll(std::deque<Product>* products) {
    for (const Product& product : *products) product.run(product.sums, product.a, product.b);
    products->clear();
  }

  // 8 values of a row.
  static Words4 Piece(uint64_t descriptor, int row, int half) {
    const auto field = [descriptor](int bit) {
      return static_cast<int64_t>(descriptor >> bit & 0x3fff) << 4;
    };
    const unsigned char* const from =
        SharedMemory() + field(0) + half * field(16) + row / 8 * field(32) + row % 8 * 16;
    Emulator::ReadByProducts(from);
    return LoadWords4(from);
  }

  template <int kColumns>
  static void RunOne(float* sums, uint64_t a, uint64_t b) {
    struct Lane {
      float* sums;
      Words4 a, b[kColumns / 64];
    } mine;
    // Each lane reads its share, as itself, and then they put it together.
    const int lane = Thread() % kWarpgroup;
    mine.sums = sums;
    mine.a = Piece(a, lane / 2, lane % 2);
    for (int i = 0; i < kColumns / 64; ++i) mine.b[i] = Piece(b, i * 64 + lane / 2, lane % 2);
    Emulator::WithWarpgroup(&mine, [](void* const* lanes) {
      const auto of = [lanes](int l) -> const Lane& { return *static_cast<Lane*>(lanes[l]); };
      const auto widen = [](const Words4& piece, int i) {
        uint32_t words[4];
        std::memcpy(words, &piece, sizeof(words));
        return FloatOfBits(i % 2 == 0 ? words[i / 2] << 16 : words[i / 2] & 0xffff0000u);
      };
      float left[64][16], right[16][kColumns];  // (row, k), (k, column)
      for (int l = 0; l < kWarpgroup; ++l) {
        for (int i = 0; i < 8; ++i) {
          left[l / 2][l % 2 * 8 + i] = widen(of(l).a, i);
          for (int c = 0; c < kColumns / 64; ++c) {
            right[l % 2 * 8 + i][c * 64 + l / 2] = widen(of(l).b[c], i);
          }
        }
      }
      for (int row = 0; row < 64; ++row) {
        float product[kColumns] = {};
        for (int k = 0; k < 16; ++k) {
          for (int c = 0; c < kColumns; ++c) product[c] += left[row][k] * right[k][c];
        }
        for (int l = 0; l < 4; ++l) {
          float* const to = of(row / 16 * 32 + row % 8 * 4 + l).sums;
          for (int c = 0; c < kColumns / 8; ++c) {
            for (int i = 0; i < 2; ++i) {
              to[c * 4 + row % 16 / 8 * 2 + i] += product[c * 8 + l * 2 + i];
            }
          }
        }
      }
    });
  }

  std::deque<Product> open_;
  std::deque<std::deque<Product>> groups_;
};

#endif

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_WARPGROUP_H_
