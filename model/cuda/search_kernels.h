#ifndef DIME_MODEL_CUDA_SEARCH_KERNELS_H_
#define DIME_MODEL_CUDA_SEARCH_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "model/cuda/simt.h"

// The kernels of exact search by inner products on a device. Scores become keys, unsigned numbers
// in the same order; the k-th best key, and among rows of that key the k-th smallest row, are found
// digit by digit out of histograms, and then all that is not worse is collected.
namespace dime::cuda {

inline constexpr int kMaxQueries = 8;  // of one call
inline constexpr int kDigits = 256;
inline constexpr int kKeyPasses = 4;  // digits of a key; as many of a row
inline constexpr int kRowsAThread = 16;

// How far the selection for one query is. On the device.
struct SelectionState {
  uint32_t key;     // the digits found so far, of the k-th best key
  uint32_t row;     // and then of its row, bitwise inverted: the smaller row is the better one
  int left;         // how many are to be taken of what has these digits
  int choose_rows;  // more rows have the key than are to be taken
  int histogram[kDigits];
};

// Of a score, in its order; 0 stands for a row that may not be found, below all scores.
DIME_DEVICE uint32_t KeyOf(float score) {
  const uint32_t bits = BitsOf(score);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
DIME_HOST_DEVICE uint32_t ScoreBitsOf(uint32_t key) {
  return key & 0x80000000u ? key & 0x7fffffffu : ~key;
}

// The keys of all rows for each query. Vectors lie in groups of 32, four channels of each side by
// side, so that a warp reads whole lines; sums run over the channels in order, whatever else is in
// the call. A thread a row.
struct SearchScoreKernel {
  const float* vectors;  // (rows / 32, dim / 4, 32, 4)
  int64_t rows;
  int dim;  // padded to 4
  int num_queries;
  const float* queries;                // (num_queries, dim)
  const uint32_t* masks[kMaxQueries];  // bits of the rows that may be found; null: all
  uint32_t* keys;                      // (num_queries, rows)

  static size_t SharedBytes(int dim) { return sizeof(float) * kMaxQueries * dim; }
  DIME_DEVICE void operator()() const {
    auto* const shared = reinterpret_cast<float*>(SharedMemory());
    for (int i = Thread(); i < num_queries * dim; i += kBlockThreads) shared[i] = queries[i];
    SyncBlock();
    const int64_t row = int64_t{BlockX()} * kBlockThreads + Thread();
    if (row >= rows) return;
    const float* const vector = vectors + (row / kWarp * (dim / 4) * kWarp + row % kWarp) * 4;
    float sums[kMaxQueries] = {};
    // Some are read before any is multiplied, so that reading does not wait for each.
    constexpr int kAhead = 4;
    for (int first = 0; first < dim / 4; first += kAhead) {
      Words4 words[kAhead];
      DIME_UNROLL
      for (int a = 0; a < kAhead; ++a) {
        if (first + a < dim / 4) words[a] = LoadWords4(vector + int64_t{first + a} * kWarp * 4);
      }
      DIME_UNROLL
      for (int q = 0; q < kMaxQueries; ++q) {
        if (q >= num_queries) break;
        DIME_UNROLL
        for (int a = 0; a < kAhead; ++a) {
          if (first + a >= dim / 4) break;
          const Words4 query = LoadWords4(shared + q * dim + (first + a) * 4);
          sums[q] += FloatOfBits(words[a].x) * FloatOfBits(query.x);
          sums[q] += FloatOfBits(words[a].y) * FloatOfBits(query.y);
          sums[q] += FloatOfBits(words[a].z) * FloatOfBits(query.z);
          sums[q] += FloatOfBits(words[a].w) * FloatOfBits(query.w);
        }
      }
    }
    DIME_UNROLL
    for (int q = 0; q < kMaxQueries; ++q) {
      if (q >= num_queries) break;
      const bool may = masks[q] == nullptr || (masks[q][row / 32] >> (row % 32) & 1) != 0;
      keys[q * rows + row] = may ? KeyOf(sums[q]) : 0;
    }
  }
};

// Counts the next digit of what has the digits found so far: in the first passes of keys, in the
// others of inverted rows. BlockY(): the query.
struct SearchHistogramKernel {
  const uint32_t* keys;
  int64_t rows;
  int pass;  // 0 to 2 kKeyPasses - 1
  SelectionState* states;

  static size_t SharedBytes() { return sizeof(int) * kDigits; }
  DIME_DEVICE void operator()() const {
    SelectionState& state = states[BlockY()];
    const bool of_keys = pass < kKeyPasses;
    if (!of_keys && !state.choose_rows) return;
    auto* const counts = reinterpret_cast<int*>(SharedMemory());
    for (int i = Thread(); i < kDigits; i += kBlockThreads) counts[i] = 0;
    SyncBlock();
    const int shift = 24 - pass % kKeyPasses * 8;
    const uint32_t above = shift == 24 ? 0 : 0xffffffffu << (shift + 8);
    const int64_t first = int64_t{BlockX()} * kBlockThreads * kRowsAThread;
    for (int i = 0; i < kRowsAThread; ++i) {
      const int64_t row = first + i * kBlockThreads + Thread();
      if (row >= rows) break;
      const uint32_t key = keys[BlockY() * rows + row];
      const uint32_t number = of_keys ? key : ~static_cast<uint32_t>(row);
      const bool counts_here = of_keys
                                   ? (key & above) == (state.key & above)
                                   : key == state.key && (number & above) == (state.row & above);
      if (counts_here) AtomicAdd(&counts[number >> shift & 0xff], 1);
    }
    SyncBlock();
    for (int i = Thread(); i < kDigits; i += kBlockThreads) {
      if (counts[i] > 0) AtomicAdd(&state.histogram[i], counts[i]);
    }
  }
};

// Chooses that digit, by one thread for each query, and empties the histogram.
struct SearchDigitKernel {
  int pass;
  SelectionState* states;

  DIME_DEVICE void operator()() const {
    if (Thread() != 0) return;
    SelectionState& state = states[BlockX()];
    const bool of_keys = pass < kKeyPasses;
    if (!of_keys && !state.choose_rows) return;
    const int shift = 24 - pass % kKeyPasses * 8;
    int digit = kDigits - 1;
    for (; digit > 0 && state.histogram[digit] < state.left; --digit) {
      state.left -= state.histogram[digit];
    }
    uint32_t& found = of_keys ? state.key : state.row;
    found |= static_cast<uint32_t>(digit) << shift;
    if (pass == kKeyPasses - 1) state.choose_rows = state.histogram[digit] > state.left ? 1 : 0;
    for (int i = 0; i < kDigits; ++i) state.histogram[i] = 0;
  }
};

// Collects, in no order, what is not worse than the k-th best. BlockY(): the query.
struct SearchCollectKernel {
  const uint32_t* keys;
  int64_t rows;
  const SelectionState* states;
  int capacity;  // of a query's rows found
  int* sizes;    // (num_queries), zero before
  uint32_t* found_rows;
  uint32_t* found_keys;  // (num_queries, capacity) both

  DIME_DEVICE void operator()() const {
    const SelectionState& state = states[BlockY()];
    const int64_t first = int64_t{BlockX()} * kBlockThreads * kRowsAThread;
    for (int i = 0; i < kRowsAThread; ++i) {
      const int64_t row = first + i * kBlockThreads + Thread();
      if (row >= rows) break;
      const uint32_t key = keys[BlockY() * rows + row];
      if (key == 0 || key < state.key) continue;
      if (key == state.key && state.choose_rows && ~static_cast<uint32_t>(row) < state.row)
        continue;
      const int place = AtomicAdd(&sizes[BlockY()], 1);
      if (place >= capacity) continue;  // does not happen: k of them are no worse
      found_rows[BlockY() * capacity + place] = static_cast<uint32_t>(row);
      found_keys[BlockY() * capacity + place] = key;
    }
  }
};

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_SEARCH_KERNELS_H_
