#ifndef DIME_INDEX_ROW_BITMAP_H_
#define DIME_INDEX_ROW_BITMAP_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace dime {

// A set of rows, a bit each. A value; not thread-safe.
class RowBitmap {
 public:
  bool Contains(int64_t row) const {
    const size_t word = static_cast<size_t>(row) / 64;
    return word < words_.size() && (words_[word] >> (row % 64) & 1) != 0;
  }
  void Add(int64_t row) {
    const size_t word = static_cast<size_t>(row) / 64;
    if (word >= words_.size()) words_.resize(word + 1);
    words_[word] |= uint64_t{1} << (row % 64);
  }

 private:
  std::vector<uint64_t> words_;
};

}  // namespace dime

#endif  // DIME_INDEX_ROW_BITMAP_H_
