#ifndef DIME_MODEL_KERNELS_ARRAY_H_
#define DIME_MODEL_KERNELS_ARRAY_H_

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

// An array on cache lines, zero at first; zeros make what stands beyond a matrix's edge finite.
template <class T>
class Array {
 public:
  Array() = default;
  ~Array() { std::free(values_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  void Resize(int64_t count) {
    std::free(values_);
    const size_t bytes = RoundUp(count * sizeof(T), 64);
    values_ = static_cast<T*>(std::aligned_alloc(64, bytes));
    if (values_ == nullptr) std::abort();
    std::memset(values_, 0, bytes);
  }
  T* get() const { return values_; }

 private:
  T* values_ = nullptr;
};

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_ARRAY_H_
