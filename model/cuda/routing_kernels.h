#ifndef DIME_MODEL_CUDA_ROUTING_KERNELS_H_
#define DIME_MODEL_CUDA_ROUTING_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "model/cuda/item_kernels.h"
#include "model/cuda/row_tiles.h"
#include "model/cuda/simt.h"
#include "model/cuda/tile_products.h"

// Kernels of DIME's interaction on a device (see row_tiles.h): gates, what they make of the cells,
// the mixing along the paths, and the score. Gates and what is mixed are float32.
namespace dime::cuda {

// The gates of a layer's cells out of the means of their inputs. Tiles of 64 items by cell
// (BlockY()). The first product is of split values, so that gates are as exact as their inputs:
// where a path's gates are all but shut, what flows along it depends on them by a step.
struct RouteKernel {
  const int* count;
  int embed_size;
  int paths;                  // 4, or 1 in the last layer
  const Bf16* means[kCells];  // (items, 3 E)
  Product hidden[kCells];
  const float* output[kCells];  // (paths, 8 hidden.tiles)
  const float* bias[kCells];    // (paths)
  float* gates;                 // (items, 4 cells, 4 paths); null: into the items' local blocks
  unsigned char* const* blocks;
  int64_t gates_offset;

  using Products = WarpTiles<64>;
  static constexpr int kRows = Products::kRows;

  static size_t SharedBytes(int embed_size) {
    return BlockedRows::Bytes(kRows, 3 * embed_size) + sizeof(float) * 2 * kRows * kCells;
  }
  DIME_DEVICE void operator()() const {
    const int first = BlockX() * kRows, cell = BlockY();
    if (first >= *count) return;
    SharedPieces memory;
    const BlockedRows rows = memory.TakeRows(kRows, 3 * embed_size);
    auto* const partial = memory.Take<float>(2 * kRows * kCells);  // (2, rows, paths)
    FillRows<kRows, kBlockThreads>(rows, [&](int row, int column) {
      return first + row < *count
                 ? LoadWords4(means[cell] + int64_t{first + row} * rows.width + column)
                 : Words4{0, 0, 0, 0};
    });
    SyncBlock();
    const Product& product = hidden[cell];
    const float* const weights = output[cell];
    const int outputs = product.tiles * 8;
    float sums[4][kCells] = {};  // by the thread's rows
    Products({}, &memory).Multiply(rows, product, NoAddend(), [&](int r) {
      return [&, mine = r % 32 / 8](int n, float v0, float v1) {
        DIME_UNROLL
        for (int i = 0; i < 4; ++i) {
          if (i != mine) continue;  // so that the sums are registers
          DIME_UNROLL
          for (int p = 0; p < kCells; ++p) {
            if (p >= paths) break;
            const Floats2 w = LoadFloats2(weights + p * outputs + n);
            sums[i][p] += Max(v0, 0) * w.x + Max(v1, 0) * w.y;
          }
        }
      };
    });
    const int lane = Thread() % kWarp, warp = Thread() / kWarp;
    DIME_UNROLL
    for (int i = 0; i < 4; ++i) {
      DIME_UNROLL
      for (int p = 0; p < kCells; ++p) {
        float sum = sums[i][p];
        sum += ShuffleXor(sum, 1);
        sum += ShuffleXor(sum, 2);
        if (lane % 4 == 0) {
          const int row = warp % 2 * 32 + i * 8 + lane / 4;
          partial[(warp / 2 * kRows + row) * kCells + p] = sum;
        }
      }
    }
    SyncBlock();
    if (Thread() < kRows && first + Thread() < *count) {
      const int item = first + Thread();
      float* const of_item = gates != nullptr
                                 ? gates + int64_t{item} * kCells * kCells
                                 : reinterpret_cast<float*>(blocks[item] + gates_offset);
      float* const to = of_item + cell * kCells;
      for (int p = 0; p < kCells; ++p) {
        const float sum = partial[Thread() * kCells + p] + partial[(kRows + Thread()) * kCells + p];
        to[p] = p < paths ? Max(Tanh(sum + bias[cell][p]), 0) : 0;
      }
    }
  }
};

// What the gates of one pair and layer make of its cells. In the last layer there is one path, and
// the weights of the cells' inputs beside those of their outputs.
struct MixWeights {
  float output[kCells][kCells];  // [path][cell]; for the rectified identity the skip too
  float input[kCells];           // by cell; last layer alone
  int open[kCells];
};

// Weights and shares out of gates, and which pairs each cell is to run for. A thread a pair.
struct PlanKernel {
  const int* count;
  bool last;
  const float* gates;            // (pairs, 4, 4); null: they are in the pairs' local blocks
  unsigned char* const* locals;  // by pair, where `gates` is null
  int64_t gates_offset;
  MixWeights* weights;  // (pairs)
  int* lists[kCells];   // of cells 1 to 3
  int* sizes[kCells];   // of the lists, zero before
  float* paths;         // (pairs, 36)
  int paths_offset;

  DIME_DEVICE void operator()() const {
    const int pair = BlockX() * kBlockThreads + Thread();
    if (pair >= *count) return;
    const float* const of_pair = gates != nullptr
                                     ? gates + int64_t{pair} * kCells * kCells
                                     : reinterpret_cast<const float*>(locals[pair] + gates_offset);
    float gate[kCells][kCells];  // [cell][path]
    for (int j = 0; j < kCells; ++j) {
      for (int i = 0; i < kCells; ++i) gate[j][i] = of_pair[j * kCells + i];
    }
    MixWeights& to = weights[pair];
    float* const shares = paths + int64_t{pair} * 36 + paths_offset;
    if (last) {
      float total = 0, shut[kCells];
      for (int j = 0; j < kCells; ++j) {
        shut[j] = gate[j][0] < kOpen / kCells ? 1.0f : 0.0f;
        total += gate[j][0] + shut[j];
      }
      for (int j = 0; j < kCells; ++j) {
        to.output[0][j] = gate[j][0] / total;
        to.input[j] = shut[j] / total;
        shares[j] = gate[j][0];
      }
    } else {
      for (int i = 0; i < kCells; ++i) {
        float sum = 0;
        for (int j = 0; j < kCells; ++j) sum += gate[j][i];
        for (int j = 0; j < kCells; ++j) {
          to.output[i][j] = shares[i * kCells + j] = gate[j][i] / (sum + 1e-8f);
        }
        if (sum < kOpen) to.output[i][0] += 1;
      }
    }
    for (int j = 0; j < kCells; ++j) {
      to.open[j] = gate[j][0] > 0 || gate[j][1] > 0 || gate[j][2] > 0 || gate[j][3] > 0;
      // The order of a list is nobody's concern.
      if (j > 0 && to.open[j]) lists[j][AtomicAdd(sizes[j], 1)] = pair;
    }
  }
};

// The outputs of a layer's cells for one pair in two channels: rows that lie `width` values apart,
// from the first position on. Null where a cell did not run.
struct CellRows {
  int width;
  const Bf16* identity;
  const Bf16* guided;
  const Bf16* product;
  const Bf16* reasoned;
  const Bf16* refined;

  // As they lie in memory, zeros where there is nothing.
  struct Words {
    uint32_t identity, guided, product, reasoned, refined;
  };
  DIME_DEVICE Words Load(int m) const {
    const auto load = [&](const Bf16* rows) {
      return rows != nullptr ? LoadWord(rows + m * width) : 0;
    };
    return {load(identity), load(guided), load(product), load(reasoned), load(refined)};
  }
  // What the guidance cell's input is multiplied by is 1 + product * factor, with factor = guide /
  // max(|guide| norm, tiny), norms along the positions. Two values of `guide`.
  DIME_DEVICE void GuideFactors(int positions, const float* guide, float (&factors)[2]) const {
    factors[0] = factors[1] = 0;
    if (product == nullptr) return;
    float squares[2] = {0, 0};
    DIME_UNROLL_BY_4
    for (int m = 0; m < positions; ++m) {
      const uint32_t word = LoadWord(product + m * width);
      squares[0] += Low(word) * Low(word);
      squares[1] += High(word) * High(word);
    }
    for (int i = 0; i < 2; ++i) {
      factors[i] = guide[i] / Max(Abs(guide[i]) * Sqrt(squares[i]), kTiny);
    }
  }
  // By cell; zero where it did not run.
  static DIME_DEVICE void Values(const Words& words, const float (&factors)[2], float (&v0)[kCells],
                                 float (&v1)[kCells]) {
    v0[0] = Max(Low(words.identity), 0);
    v1[0] = Max(High(words.identity), 0);
    v0[1] = Low(words.guided) + Low(words.guided) * (Low(words.product) * factors[0]);
    v1[1] = High(words.guided) + High(words.guided) * (High(words.product) * factors[1]);
    v0[2] = Low(words.reasoned);
    v1[2] = High(words.reasoned);
    v0[3] = Low(words.refined);
    v1[3] = High(words.refined);
  }
};

// The same of all pairs; a cell that did not run has no weight, and its place is not looked at.
struct CellOutputs {
  Sequence identity;         // what the rectified identity takes
  Sequence guided, product;  // what the guidance cell takes, and its product
  Sequence reasoned, refined;

  DIME_DEVICE CellRows Of(int pair, int channel, const int (&open)[kCells]) const {
    const auto rows = [&](bool there, const Sequence& sequence) -> const Bf16* {
      return there ? sequence.row(pair, 0) + channel : nullptr;
    };
    return {.width = identity.width,
            .identity = rows(true, identity),
            .guided = rows(open[1], guided),
            .product = rows(open[1], product),
            .reasoned = rows(open[2], reasoned),
            .refined = rows(open[3], refined)};
  }
};

// What the next layer's cells take of a pair, and its means. A block a pair. It may go where the
// layer's own inputs were: what is written at a place was read before, by the same thread.
struct MixKernel {
  const int* count;
  int positions, embed_size;
  CellOutputs cells;
  const MixWeights* weights;
  unsigned char* const* contexts;
  int64_t guide_offset;
  Sequence next[kCells];
  Bf16* means[kCells];  // (pairs, 3 E)

  DIME_DEVICE void operator()() const {
    const int pair = BlockX();
    if (pair >= *count) return;
    const MixWeights w = weights[pair];  // a copy, which no store may change
    const auto* const guide = reinterpret_cast<const float*>(contexts[pair] + guide_offset);
    for (int e = Thread() * 2; e < embed_size; e += kBlockThreads * 2) {
      const CellRows rows = cells.Of(pair, e, w.open);
      Bf16* to[kCells];
      DIME_UNROLL
      for (int i = 0; i < kCells; ++i) to[i] = next[i].row(pair, 0) + e;
      float factors[2], sums[kCells][2] = {};
      rows.GuideFactors(positions, guide + e, factors);
      // Some rows are read before any is written, so that reading does not wait for each.
      constexpr int kAhead = 4;
      for (int first = 0; first < positions; first += kAhead) {
        CellRows::Words words[kAhead];
        DIME_UNROLL
        for (int r = 0; r < kAhead; ++r) {
          const int m = first + r < positions ? first + r : positions - 1;
          words[r] = rows.Load(m);
        }
        DIME_UNROLL
        for (int r = 0; r < kAhead; ++r) {
          const int m = first + r;
          if (m >= positions) break;
          float v0[kCells], v1[kCells];
          CellRows::Values(words[r], factors, v0, v1);
          DIME_UNROLL
          for (int i = 0; i < kCells; ++i) {
            float mixed0 = 0, mixed1 = 0;
            DIME_UNROLL
            for (int j = 0; j < kCells; ++j) {
              mixed0 += w.output[i][j] * v0[j];
              mixed1 += w.output[i][j] * v1[j];
            }
            sums[i][0] += mixed0;
            sums[i][1] += mixed1;
            StoreWord(to[i] + m * next[i].width, Pack(mixed0, mixed1));
          }
        }
      }
      const float share = 1.0f / static_cast<float>(positions);
      DIME_UNROLL
      for (int i = 0; i < kCells; ++i) {
        StoreSplit(means[i] + int64_t{pair} * 3 * embed_size, embed_size, e, sums[i][0] * share,
                   sums[i][1] * share);
      }
    }
  }
};

// The last layer's output and the score of a pair. A block a pair.
struct FinishKernel {
  const int* count;
  int positions, embed_size;
  CellOutputs cells;
  Sequence inputs[kCells];
  const MixWeights* weights;
  unsigned char* const* contexts;
  int64_t guide_offset;
  const float* norm_scale;  // (E)
  const float* norm_shift;
  float* scores;  // (pairs)

  static size_t SharedBytes() { return sizeof(float) * 2 * kBlockThreads / kWarp; }
  DIME_DEVICE void operator()() const {
    const int pair = BlockX();
    if (pair >= *count) return;
    const MixWeights w = weights[pair];  // a copy, which no store may change
    const auto* const guide = reinterpret_cast<const float*>(contexts[pair] + guide_offset);
    float square = 0, product = 0;
    for (int e = Thread() * 2; e < embed_size; e += kBlockThreads * 2) {
      const CellRows rows = cells.Of(pair, e, w.open);
      const Bf16* in[kCells];  // null without weight
      DIME_UNROLL
      for (int j = 0; j < kCells; ++j) {
        in[j] = w.input[j] == 0 ? nullptr : inputs[j].row(pair, 0) + e;
      }
      float factors[2], sums[2] = {0, 0}, tops[2] = {-3e38f, -3e38f};
      rows.GuideFactors(positions, guide + e, factors);
      DIME_UNROLL_BY_4
      for (int m = 0; m < positions; ++m) {
        float v0[kCells], v1[kCells], y[2] = {0, 0};
        CellRows::Values(rows.Load(m), factors, v0, v1);
        DIME_UNROLL
        for (int j = 0; j < kCells; ++j) {
          y[0] += w.output[0][j] * v0[j];
          y[1] += w.output[0][j] * v1[j];
          if (in[j] == nullptr) continue;
          const uint32_t z = LoadWord(in[j] + m * rows.width);
          y[0] += w.input[j] * Low(z);
          y[1] += w.input[j] * High(z);
        }
        DIME_UNROLL
        for (int i = 0; i < 2; ++i) {
          y[i] = y[i] * norm_scale[e + i] + norm_shift[e + i];
          sums[i] += y[i];
          tops[i] = Max(tops[i], y[i]);
        }
      }
      DIME_UNROLL
      for (int i = 0; i < 2; ++i) {
        const float v = sums[i] / static_cast<float>(positions) + tops[i];
        square += v * v;
        product += v * guide[e + i];
      }
    }
    auto* const shared = reinterpret_cast<float*>(SharedMemory());
    for (int mask = 1; mask < kWarp; mask *= 2) {
      square += ShuffleXor(square, mask);
      product += ShuffleXor(product, mask);
    }
    if (Thread() % kWarp == 0) {
      shared[Thread() / kWarp * 2] = square;
      shared[Thread() / kWarp * 2 + 1] = product;
    }
    SyncBlock();
    if (Thread() != 0) return;
    for (int warp = 1; warp < kBlockThreads / kWarp; ++warp) {
      square += shared[warp * 2];
      product += shared[warp * 2 + 1];
    }
    scores[pair] = product / Max(Sqrt(square), kTiny);
  }
};

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_ROUTING_KERNELS_H_
