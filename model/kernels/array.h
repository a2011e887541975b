#ifndef DIME_MODEL_KERNELS_ARRAY_H_
#define DIME_MODEL_KERNELS_ARRAY_H_

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

// Memory for the units that float_vector.h is for, and arithmetic on sizes. In an unnamed
// namespace, as they share no inline functions with other units.
namespace dime::kernels {
namespace {

static constexpr int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
static inline int Lesser(int a, int b) { return a < b ? a : b; }
static inline int64_t Greater(int64_t a, int64_t b) { return a > b ? a : b; }

// Memory for arrays that are used together, on huge pages where the system grants them: megabytes
// of weights and sequences that pass through again and again would otherwise miss the processor's
// tables of pages. Given back as a whole. For one thread at a time.
class Slab {
 public:
  Slab() = default;
  ~Slab() {
    while (blocks_ != nullptr) {
      Block* const block = blocks_;
      blocks_ = block->before;
      std::free(block->memory);
      std::free(block);
    }
  }
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;
  // Zeroed bytes on cache lines, which stay for as long as the slab does.
  void* Take(int64_t bytes) {
    bytes = RoundUp(bytes, 64);
    if (bytes > left_) {
      const int64_t size = RoundUp(bytes, kHugePage);
      char* const memory = Allocate(size);
      if (size - bytes <= left_) return memory;  // the block before has more to offer
      next_ = memory;
      left_ = size;
    }
    void* const taken = next_;
    next_ += bytes;
    left_ -= bytes;
    return taken;
  }

 private:
  static constexpr int64_t kHugePage = 2 << 20;
  struct Block {
    Block* before;
    void* memory;
  };

  char* Allocate(int64_t size) {
    auto* const block = static_cast<Block*>(std::malloc(sizeof(Block)));
    void* const memory = std::aligned_alloc(kHugePage, size);
    if (block == nullptr || memory == nullptr) std::abort();
    madvise(memory, size, MADV_HUGEPAGE);  // advice: what comes of it is no matter
    std::memset(memory, 0, size);
    *block = {blocks_, memory};
    blocks_ = block;
    return static_cast<char*>(memory);
  }

  Block* blocks_ = nullptr;
  char* next_ = nullptr;  // what is left of one of them
  int64_t left_ = 0;
};

// An array on cache lines, zero at first; zeros make what stands beyond a matrix's edge finite. Its
// memory is its own or a slab's, which must outlive it.
template <class T>
class Array {
 public:
  Array() = default;
  ~Array() { std::free(own_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  void Resize(int64_t count) {
    std::free(own_);
    const size_t bytes = RoundUp(count * sizeof(T), 64);
    values_ = own_ = static_cast<T*>(std::aligned_alloc(64, bytes));
    if (values_ == nullptr) std::abort();
    std::memset(values_, 0, bytes);
  }
  void Resize(int64_t count, Slab& slab) {
    std::free(own_);
    own_ = nullptr;
    values_ = static_cast<T*>(slab.Take(count * static_cast<int64_t>(sizeof(T))));
  }
  T* get() const { return values_; }

 private:
  T* values_ = nullptr;
  T* own_ = nullptr;
};

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_ARRAY_H_
