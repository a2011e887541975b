// Compiled for AVX-512 with bfloat16 and AMX (see CMakeLists.txt), entered only where
// IsSupported(). Nothing here may instantiate inline functions of the standard library that other
// units share.
#include <immintrin.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "model/kernels/bf16_kernels.h"
#include "model/kernels/bf16_self_attention.h"
#include "model/kernels/bf16_softmax.h"
#include "model/kernels/interaction_kernel.h"
#include "model/kernels/packed_linear.h"
#include "model/kernels/routing.h"
#include "model/kernels/tile_product.h"
#include "model/kernels/vector_math.h"

namespace dime::kernels {
namespace {

// Pairs that go through the layers together, so that a layer's weights are read once for all of
// them, and pairs whose rows one cell's products take at once: measured on 2 MB of second-level
// cache.
constexpr int kGroup = 32;
constexpr int kChunk = 8;
constexpr float kTiny = 1e-12f;  // the modules' clamp of norms

struct PackedLayer {
  PackedLinear router_hidden[kCells], router_output[kCells];
  PackedLinear guidance;
  PackedLinear attention;  // query, key and value, each padded to whole panels
  PackedLinear feed_in, feed_out;
  PackedLinear scale, shift;
  PackedLinear refine_in, refine_out;
};

class WorkspaceImpl : public InteractionKernel::Workspace {
 public:
  Slab slab;
  Array<Bf16> sequence[kCells];  // (group x M, E) each: what layers 1 and 2's cells take
  Array<Bf16> cell[kCells];      // (group x M, E): outputs of GLGC, IMRC, CMRC; 0 is not used
  Array<Bf16> input, output;     // (chunk x M, E): pairs that do not lie side by side
  Array<Bf16> attention;         // (chunk x M, 3 E): query, key, value
  Array<Bf16> middle;            // (chunk x M, E)
  Array<Bf16> hidden;            // (chunk x M, feed-forward size or E)
  SelfAttentionScratch self_attention;
  Array<Bf16> cross_shares;    // (M, C)
  Array<float> scores;         // (M, C)
  Array<float> exact;          // (chunk x M, E): the last layer's self-attention cell
  Array<float> norms;          // (group, E): of the guidance cell's product
  Array<float> factors;        // (E): see GuideFactors()
  Array<const Bf16*> rows;     // (chunk x M)
  Array<float> channels;       // (4, E): what adds up over positions
  Array<float> block, block2;  // of a product
  Array<float> inverse_sums;   // (M)
  Array<Bf16> means[kCells];   // (group, 2 E), split
  Array<Bf16> router_hidden;   // (group, 2 x router size), split
  Routing routing[kGroup];
};

// What becomes of a product's sums: 32 of a row, at (r, n) of a matrix whose rows are `ld` values
// apart.
struct AddBias {
  Bf16* to;
  int64_t ld;
  const float* bias;
  void operator()(int r, int n, const float* sums) const {
    StorePair(to + r * ld + n, _mm512_add_ps(_mm512_loadu_ps(sums), _mm512_loadu_ps(bias + n)),
              _mm512_add_ps(_mm512_loadu_ps(sums + 16), _mm512_loadu_ps(bias + n + 16)));
  }
};
struct AddBiasAndRectify {
  Bf16* to;
  int64_t ld;
  const float* bias;
  void operator()(int r, int n, const float* sums) const {
    const __m512 zero = _mm512_setzero_ps();
    StorePair(to + r * ld + n,
              _mm512_max_ps(zero, _mm512_add_ps(_mm512_loadu_ps(sums), _mm512_loadu_ps(bias + n))),
              _mm512_max_ps(
                  zero, _mm512_add_ps(_mm512_loadu_ps(sums + 16), _mm512_loadu_ps(bias + n + 16))));
  }
};
// `residual`: the row that is added.
template <class Out>
inline void AddBiasAndResidual(const float* sums, const float* bias, const Bf16* residual,
                               Out* to) {
  StorePair(to,
            _mm512_add_ps(_mm512_add_ps(_mm512_loadu_ps(sums), _mm512_loadu_ps(bias)),
                          LoadBf16(residual)),
            _mm512_add_ps(_mm512_add_ps(_mm512_loadu_ps(sums + 16), _mm512_loadu_ps(bias + 16)),
                          LoadBf16(residual + 16)));
}

template <class Isa>
class KernelImpl : public InteractionKernel {
 public:
  KernelImpl(const InteractionShape& shape, const InteractionWeights& weights)
      : shape_(shape),
        M_(shape.positions),
        E_(static_cast<int>(RoundUp(shape.embed_size, 32))),
        H_(static_cast<int>(RoundUp(shape.feed_forward_size, 32))),
        R_(static_cast<int>(RoundUp(shape.router_size, 32))),
        M16_(static_cast<int>(RoundUp(M_, 16))),
        self_attention_(shape, E_) {
    for (int n = 0; n < kLayers; ++n) {
      const LayerWeights& from = weights.layers[n];
      PackedLayer& to = layers_[n];
      for (int j = 0; j < kCells; ++j) {
        to.router_hidden[j].PackSplit(from.routers[j].hidden, slab_);
        to.router_output[j].PackSplit(from.routers[j].output, slab_);
      }
      to.guidance.Pack(from.guidance, slab_);
      to.attention.Allocate(shape.embed_size, 3 * E_, 1, slab_);
      to.attention.Put(from.query, 0);
      to.attention.Put(from.key, E_);
      to.attention.Put(from.value, 2 * E_);
      to.feed_in.Pack(from.feed_in, slab_);
      to.feed_out.Pack(from.feed_out, slab_);
      to.scale.Pack(from.scale, slab_);
      to.shift.Pack(from.shift, slab_);
      to.refine_in.Pack(from.refine_in, slab_);
      to.refine_out.Pack(from.refine_out, slab_);
    }
    norm_scale_.Resize(E_, slab_);
    norm_shift_.Resize(E_, slab_);
    std::memcpy(norm_scale_.get(), weights.norm_scale, shape.embed_size * sizeof(float));
    std::memcpy(norm_shift_.get(), weights.norm_shift, shape.embed_size * sizeof(float));
  }

  std::unique_ptr<Workspace> MakeWorkspace() const override {
    auto* const w = new WorkspaceImpl;
    const int64_t group_rows = kGroup * M_ + 32, chunk_rows = kChunk * M_ + 32;
    const int64_t C16 = RoundUp(shape_.max_context, 16), C32 = RoundUp(shape_.max_context, 32);
    // PrepareContext() runs its rows through a chunk's memory too.
    const int64_t rows = Greater(chunk_rows, C32 + 32);
    for (int j = 0; j < kCells; ++j) {
      w->sequence[j].Resize(group_rows * E_, w->slab);
      if (j > 0) w->cell[j].Resize(group_rows * E_, w->slab);
      w->means[j].Resize(RoundUp(kGroup, 32) * 2 * E_, w->slab);
    }
    w->input.Resize(rows * E_, w->slab);
    w->output.Resize(rows * E_, w->slab);
    w->attention.Resize(chunk_rows * 3 * E_ + 32, w->slab);
    w->middle.Resize(rows * E_, w->slab);
    w->hidden.Resize(chunk_rows * Greater(H_, E_), w->slab);
    self_attention_.Allocate(w->self_attention, w->slab);
    w->cross_shares.Resize(int64_t{M16_} * C32, w->slab);
    w->scores.Resize(int64_t{M16_} * C16, w->slab);
    w->block.Resize(kBlock * kBlock, w->slab);
    w->block2.Resize(kBlock * kBlock, w->slab);
    w->exact.Resize(chunk_rows * E_, w->slab);
    w->norms.Resize(int64_t{kGroup} * E_, w->slab);
    w->factors.Resize(E_, w->slab);
    w->rows.Resize(chunk_rows, w->slab);
    w->channels.Resize(kCells * E_, w->slab);
    w->inverse_sums.Resize(M16_, w->slab);
    w->router_hidden.Resize(RoundUp(kGroup, 32) * 2 * R_, w->slab);
    return std::unique_ptr<Workspace>(w);
  }

  int group_size() const override { return kGroup; }

  size_t local_bytes() const override {
    // The sequence is read in whole tiles of 16 rows, which of a short one end beyond all the rest.
    const int64_t read = int64_t{M16_} * E_ * 2;
    return RoundUp(Greater(LocalGates() + 64 * sizeof(float), read), 64);
  }
  size_t context_bytes(int rows) const override {
    const int64_t used = ContextMatrix(rows) + E_ * RoundUp(rows, 16) * 2;
    // A projection's panels are read in whole tiles of 16 pairs of rows, the last one's beyond its
    // end.
    const int64_t read = ContextMatrix(rows) + (RoundUp(rows, 32) - RoundUp(rows, 2)) * 16 * 2;
    return RoundUp(Greater(used, read), 64);
  }

  void PrepareLocal(const float* local, PreparedLocal* out, Workspace& workspace) const override;
  void PrepareContext(const float* context, int rows, const float* global, PreparedContext* out,
                      Workspace& workspace) const override;
  void Score(const PreparedPair* pairs, int count, float* scores, float* paths,
             Workspace& workspace) const override {
    auto& w = static_cast<WorkspaceImpl&>(workspace);
    Isa::Begin();
    for (int first = 0; first < count; first += kGroup) {
      ScoreGroup(pairs + first, Lesser(kGroup, count - first), scores + first,
                 paths == nullptr ? nullptr : paths + int64_t{first} * 36, w);
    }
    Isa::End();
  }

 private:
  // A prepared local item: sequence, layer 0's guidance product and self-attention cell, (M, E)
  // bfloat16 each; the product's norms along M, (E) float32; layer 0's gates, (4 cells, 4 paths).
  int64_t LocalPart() const { return RoundUp(int64_t{M_} * E_ * 2, 64); }
  int64_t LocalNorms() const { return 3 * LocalPart(); }
  int64_t LocalGates() const { return LocalNorms() + E_ * 4; }
  // A prepared context: number of rows (in a cache line of its own); the guide, (E) float32; for
  // each layer scale and shift, in panels of 16 channels, pairs of rows by channel, so that they
  // are read from one end to the other; the context, pairs of channels by row.
  int64_t ContextGuide() const { return 64; }
  int64_t ContextProjections() const { return ContextGuide() + E_ * 4; }
  static int64_t Panel(int rows) { return RoundUp(rows, 2) * 16; }  // values
  int64_t Projection(int rows) const { return RoundUp(rows, 2) * E_; }
  int64_t ContextMatrix(int rows) const { return ContextProjections() + Projection(rows) * 6 * 2; }

  static int ContextRows(const PreparedContext* context) {
    int32_t rows;
    std::memcpy(&rows, context, sizeof(rows));
    return rows;
  }
  const float* Guide(const PreparedContext* context) const {
    return reinterpret_cast<const float*>(context + ContextGuide());
  }

  template <bool kSplit = false, class Row>
  static inline void Product(const Bf16* a, int64_t lda, int rows, const PackedLinear& linear,
                             WorkspaceImpl& w, Row&& row);
  void Guidance(const PackedLayer& layer, const Bf16* x, int rows, Bf16* out,
                WorkspaceImpl& w) const;
  void GuideFactors(const float* norms, const float* guide, float* factors) const;
  void Norms(const Bf16* product, float* norms) const;
  template <class Out>
  void Reason(const PackedLayer& layer, const Bf16* x, int pairs, Out* out, WorkspaceImpl& w) const;
  void Refine(int n, const Bf16* const* x, const PreparedContext* const* contexts, int pairs,
              Bf16* out, WorkspaceImpl& w) const;
  void CrossAttend(int n, const Bf16* x, const PreparedContext* context, Bf16* out,
                   WorkspaceImpl& w) const;
  void NormalizeScores(float* scores, int64_t lds, int columns) const;
  void Route(const PackedLayer& layer, int count, int paths, WorkspaceImpl& w) const;
  template <class Body>
  void ForOpen(int j, int count, WorkspaceImpl& w, Body&& body) const;
  const Bf16* Gather(const Bf16* sequences, const int* pairs, int size, WorkspaceImpl& w) const;
  template <class Cell>
  void RunCell(int j, int count, WorkspaceImpl& w, Cell&& cell) const;
  // What a layer's cells give for one pair. Of a cell that did not run, which has no weight, what
  // stands in for it must only be finite.
  struct Sequences {
    const Bf16* identity;  // the first cell's, before it rectifies
    // The guidance cell's is guided + guided * product * factors.
    const Bf16 *guided, *product;
    const float* factors;  // (E)
    const Bf16 *reasoned, *refined;
  };
  // The guidance cell's output: 16 channels from e on, at place `at` of the sequence.
  static inline __m512 Guided(const Sequences& cells, int64_t at, int e) {
    const __m512 z = LoadBf16(cells.guided + at);
    return _mm512_fmadd_ps(_mm512_mul_ps(z, LoadBf16(cells.product + at)),
                           _mm512_load_ps(cells.factors + e), z);
  }
  void MixToCells(const Sequences& cells, const Routing& routing, int pair, WorkspaceImpl& w) const;
  float Finish(const Sequences& cells, const float* exact, const Bf16* const inputs[kCells],
               const Routing& routing, const float* guide) const;
  void ScoreGroup(const PreparedPair* pairs, int count, float* scores, float* paths,
                  WorkspaceImpl& w) const;

  const InteractionShape shape_;
  // Sizes, padded to whole tiles: channels, feed-forward and router widths.
  const int M_, E_, H_, R_;
  const int M16_;
  const SelfAttention<Isa> self_attention_;
  Slab slab_;
  PackedLayer layers_[kLayers];
  Array<float> norm_scale_, norm_shift_;
};

// Calls row(r, n, sums) for each row r < rows and each 32 columns from n on, with the product's
// sums without the bias. kSplit: of a's rows, the second half are the low parts of the first.
template <class Isa>
template <bool kSplit, class Row>
inline void KernelImpl<Isa>::Product(const Bf16* a, int64_t lda, int rows,
                                     const PackedLinear& linear, WorkspaceImpl& w, Row&& row) {
  // What is left to do with the sums of the block before, while this one's are made.
  const float* done = nullptr;
  int done_first = 0, done_size = 0, done_column = 0;
  const int rows_a_step = (kBlock + linear.steps - 1) / linear.steps;
  const auto hand_out = [&](int step) {
    const int end = Lesser(done_size, (step + 1) * rows_a_step);
    for (int r = step * rows_a_step; r < end; ++r) {
      row(done_first + r, done_column, done + r * kBlock);
    }
  };
  float* block = w.block.get();
  float* other_block = w.block2.get();
  // A block of rows stays in the first-level cache while the weights stream past it.
  for (int first = 0; first < rows; first += kBlock) {
    const int size = Lesser(kBlock, rows - first);
    for (int panel = 0; panel < linear.count; ++panel) {
      Isa::template Block<kSplit>(a + first * lda, lda, lda / 2, size > 16 ? 32 : 16,
                                  linear.Panel(panel), linear.steps, block, hand_out);
      done = block;
      done_first = first;
      done_size = size;
      done_column = panel * kBlock;
      block = other_block;
      other_block = const_cast<float*>(done);
    }
  }
  for (int step = 0; step < linear.steps; ++step) hand_out(step);
}

// --- GLGC ---------------------------------------------------------------------------------------

// out (rows, E) = fc_1(x).
template <class Isa>
void KernelImpl<Isa>::Guidance(const PackedLayer& layer, const Bf16* x, int rows, Bf16* out,
                               WorkspaceImpl& w) const {
  Product(x, E_, rows, layer.guidance, w, AddBias{out, E_, layer.guidance.bias.get()});
}

// Norms along M of one pair's product, for each channel.
template <class Isa>
void KernelImpl<Isa>::Norms(const Bf16* product, float* norms) const {
  for (int e = 0; e < E_; e += 32) {
    __m512 first = _mm512_setzero_ps(), second = _mm512_setzero_ps();
    for (int m = 0; m < M_; ++m) {
      const __m512 v = LoadBf16(product + int64_t{m} * E_ + e);
      const __m512 u = LoadBf16(product + int64_t{m} * E_ + e + 16);
      first = _mm512_fmadd_ps(v, v, first);
      second = _mm512_fmadd_ps(u, u, second);
    }
    _mm512_storeu_ps(norms + e, _mm512_sqrt_ps(first));
    _mm512_storeu_ps(norms + e + 16, _mm512_sqrt_ps(second));
  }
}

// What the guidance cell's product is multiplied by for each channel of a pair: its output, (1 +
// normalize(product * guide)) * x, is x + x * product * factor with guide / max(|guide| norm,
// tiny).
template <class Isa>
void KernelImpl<Isa>::GuideFactors(const float* norms, const float* guide, float* factors) const {
  for (int e = 0; e < E_; e += 16) {
    const __m512 g = _mm512_loadu_ps(guide + e);
    const __m512 length = _mm512_mul_ps(_mm512_abs_ps(g), _mm512_loadu_ps(norms + e));
    _mm512_storeu_ps(factors + e, _mm512_div_ps(g, _mm512_max_ps(length, _mm512_set1_ps(kTiny))));
  }
}

// --- IMRC ---------------------------------------------------------------------------------------

// out (pairs x M, E) = the self-attention cell of x.
template <class Isa>
template <class Out>
void KernelImpl<Isa>::Reason(const PackedLayer& layer, const Bf16* x, int pairs, Out* out,
                             WorkspaceImpl& w) const {
  const int rows = pairs * M_;
  Product(x, E_, rows, layer.attention, w,
          AddBias{w.attention.get(), 3 * E_, layer.attention.bias.get()});
  Bf16* const attended = w.middle.get();
  for (int p = 0; p < pairs; ++p) {
    const int64_t at = int64_t{p} * M_;
    self_attention_.Attend(x + at * E_, w.attention.get() + at * 3 * E_, attended + at * E_,
                           w.self_attention);
  }
  Product(attended, E_, rows, layer.feed_in, w,
          AddBiasAndRectify{w.hidden.get(), H_, layer.feed_in.bias.get()});
  const float* const bias = layer.feed_out.bias.get();
  Product(w.hidden.get(), H_, rows, layer.feed_out, w, [&](int r, int n, const float* sums) {
    const int64_t at = int64_t{r} * E_ + n;
    AddBiasAndResidual(sums, bias + n, attended + at, out + at);
  });
}

// --- CMRC ---------------------------------------------------------------------------------------

static inline __m512 Clip(__m512 v) {  // leaky relu, 0.1
  return _mm512_max_ps(v, _mm512_mul_ps(v, _mm512_set1_ps(0.1f)));
}

// Raw scores (M, columns) to logits, in place: normalised along M for each column, times lambda.
template <class Isa>
void KernelImpl<Isa>::NormalizeScores(float* scores, int64_t lds, int columns) const {
  const ScoreNorm norm = shape_.norm;
  const bool clipped =
      norm == ScoreNorm::kClippedL2 || norm == ScoreNorm::kClippedL1 || norm == ScoreNorm::kClipped;
  const __m512 lambda = _mm512_set1_ps(shape_.lambda);
  const __m512 small = _mm512_set1_ps(1e-8f);
  for (int c = 0; c < columns; c += 16) {
    float* const column = scores + c;
    __m512 factor = lambda;
    if (norm == ScoreNorm::kSoftmax) {
      __m512 top = _mm512_loadu_ps(column), sum = _mm512_setzero_ps();
      for (int m = 1; m < M_; ++m) top = _mm512_max_ps(top, _mm512_loadu_ps(column + m * lds));
      for (int m = 0; m < M_; ++m) {
        const __m512 e = Exp(_mm512_sub_ps(_mm512_loadu_ps(column + m * lds), top));
        _mm512_storeu_ps(column + m * lds, e);
        sum = _mm512_add_ps(sum, e);
      }
      factor = _mm512_div_ps(lambda, sum);
    } else if (norm != ScoreNorm::kClipped && norm != ScoreNorm::kNone) {
      const bool squares = norm == ScoreNorm::kClippedL2 || norm == ScoreNorm::kL2;
      __m512 sum = _mm512_setzero_ps();
      for (int m = 0; m < M_; ++m) {
        __m512 v = _mm512_loadu_ps(column + m * lds);
        if (clipped) v = Clip(v);
        sum = squares ? _mm512_fmadd_ps(v, v, sum) : _mm512_add_ps(sum, _mm512_abs_ps(v));
      }
      if (squares) sum = _mm512_sqrt_ps(sum);
      factor = _mm512_div_ps(lambda, norm == ScoreNorm::kClippedL2
                                         ? _mm512_max_ps(sum, _mm512_set1_ps(kTiny))
                                         : _mm512_add_ps(sum, small));
    }
    for (int m = 0; m < M_; ++m) {
      __m512 v = _mm512_loadu_ps(column + m * lds);
      if (clipped) v = Clip(v);
      _mm512_storeu_ps(column + m * lds, _mm512_mul_ps(v, factor));
    }
  }
}

// out = x * tanh(P scale) + P shift for one pair.
template <class Isa>
void KernelImpl<Isa>::CrossAttend(int n, const Bf16* x, const PreparedContext* context, Bf16* out,
                                  WorkspaceImpl& w) const {
  const int rows = ContextRows(context);
  const int64_t C16 = RoundUp(rows, 16), C32 = RoundUp(rows, 32);
  const auto* const matrix = reinterpret_cast<const Bf16*>(context + ContextMatrix(rows));
  const auto* const scale =
      reinterpret_cast<const Bf16*>(context + ContextProjections()) + 2 * n * Projection(rows);
  const Bf16* const shift = scale + Projection(rows);
  const int blocks = M16_ / 16, columns = static_cast<int>(C16 / 16);
  float* const scores = w.scores.get();
  for (int b = 0; b < blocks; ++b) {
    for (int c = 0; c < columns; c += 4) {
      Isa::Strip(x + int64_t{b} * 16 * E_, E_, Lesser(16, M_ - b * 16), matrix + c * 32, C16 * 2,
                 Lesser(4, columns - c), E_ / 32, scores + b * 16 * C16 + c * 16, C16);
    }
  }
  NormalizeScores(scores, C16, rows);
  Softmax(scores, C16, M_, rows, 1.0f, w.cross_shares.get(), C32, w.inverse_sums.get());
  const int steps = static_cast<int>(C32 / 32);
  const int64_t panel = Panel(rows);
  float* const scaled = w.block.get();
  float* const shifted = w.block2.get();
  for (int e = 0; e < E_; e += 32) {
    const int64_t column = e / 16 * panel;
    for (int b = 0; b < blocks; ++b) {
      const int size = Lesser(16, M_ - b * 16);
      Isa::TwoStrips(w.cross_shares.get() + b * 16 * C32, C32, size, scale + column, shift + column,
                     panel, steps, scaled, shifted);
      for (int r = 0; r < size; ++r) {
        const __m512 inverse = _mm512_set1_ps(w.inverse_sums.get()[b * 16 + r]);
        const __m512 twice = _mm512_mul_ps(inverse, _mm512_set1_ps(2 * kLog2e));
        const int64_t at = int64_t{b * 16 + r} * E_ + e;
        __m512 z[2];
        for (int i = 0; i < 2; ++i) {
          const int k = r * 32 + i * 16;
          const __m512 t = TanhCoarse(_mm512_mul_ps(_mm512_load_ps(scaled + k), twice));
          z[i] = _mm512_fmadd_ps(LoadBf16(x + at + i * 16), t,
                                 _mm512_mul_ps(_mm512_load_ps(shifted + k), inverse));
        }
        StorePair(out + at, z[0], z[1]);
      }
    }
  }
}

// out (pairs x M, E) = the refinement cell of each pair's sequence.
template <class Isa>
void KernelImpl<Isa>::Refine(int n, const Bf16* const* x, const PreparedContext* const* contexts,
                             int pairs, Bf16* out, WorkspaceImpl& w) const {
  const PackedLayer& layer = layers_[n];
  const int rows = pairs * M_;
  const Bf16** const row_of = w.rows.get();
  for (int p = 0; p < pairs; ++p) {
    CrossAttend(n, x[p], contexts[p], w.middle.get() + int64_t{p} * M_ * E_, w);
    for (int m = 0; m < M_; ++m) row_of[p * M_ + m] = x[p] + int64_t{m} * E_;
  }
  Product(w.middle.get(), E_, rows, layer.refine_in, w,
          AddBiasAndRectify{w.hidden.get(), E_, layer.refine_in.bias.get()});
  const float* const bias = layer.refine_out.bias.get();
  Product(w.hidden.get(), E_, rows, layer.refine_out, w, [&](int r, int column, const float* sums) {
    AddBiasAndResidual(sums, bias + column, row_of[r] + column, out + int64_t{r} * E_ + column);
  });
}

// --- Routing ------------------------------------------------------------------------------------

// Gates of `count` pairs out of the means of their cells' inputs, to `paths` paths: all four, or in
// the last layer one.
template <class Isa>
void KernelImpl<Isa>::Route(const PackedLayer& layer, int count, int paths,
                            WorkspaceImpl& w) const {
  const __m512 zero = _mm512_setzero_ps();
  for (int j = 0; j < kCells; ++j) {
    const float* const bias = layer.router_hidden[j].bias.get();
    Bf16* const hidden = w.router_hidden.get();
    // Gates as exact as their inputs: where a path's gates are all but shut, what flows along it
    // depends on them by a step.
    Product<true>(w.means[j].get(), 2 * E_, count, layer.router_hidden[j], w,
                  [&](int r, int n, const float* sums) {
                    for (int h = 0; h < 32; h += 16) {
                      StoreSplit(hidden + int64_t{r} * 2 * R_ + n + h, R_,
                                 _mm512_max_ps(zero, _mm512_add_ps(_mm512_loadu_ps(sums + h),
                                                                   _mm512_loadu_ps(bias + n + h))));
                    }
                  });
    const float* const bias2 = layer.router_output[j].bias.get();
    Product<true>(
        hidden, 2 * R_, count, layer.router_output[j], w, [&](int r, int, const float* sums) {
          alignas(64) float gates[16];
          _mm512_store_ps(gates, _mm512_max_ps(zero, Tanh(_mm512_add_ps(_mm512_loadu_ps(sums),
                                                                        _mm512_loadu_ps(bias2)))));
          for (int i = 0; i < paths; ++i) w.routing[r].gate[j][i] = gates[i];
        });
  }
  for (int p = 0; p < count; ++p) {
    if (paths == 1) {
      w.routing[p].MixLast();
    } else {
      w.routing[p].Mix();
    }
  }
}

// Calls body(indices of the pairs, pairs) for those of a group's pairs whose gates open cell j, a
// few at a time.
template <class Isa>
template <class Body>
void KernelImpl<Isa>::ForOpen(int j, int count, WorkspaceImpl& w, Body&& body) const {
  int open[kGroup];
  int size = 0;
  for (int p = 0; p < count; ++p) {
    if (w.routing[p].open[j]) open[size++] = p;
  }
  w.counts.open += size;
  w.counts.skipped += count - size;
  for (int first = 0; first < size; first += kChunk) {
    body(open + first, Lesser(kChunk, size - first));
  }
}

// Some pairs' sequences side by side: copied unless they are.
template <class Isa>
const Bf16* KernelImpl<Isa>::Gather(const Bf16* sequences, const int* pairs, int size,
                                    WorkspaceImpl& w) const {
  const int64_t values = int64_t{M_} * E_;
  if (pairs[size - 1] - pairs[0] == size - 1) return sequences + pairs[0] * values;
  for (int i = 0; i < size; ++i) {
    std::memcpy(w.input.get() + i * values, sequences + pairs[i] * values, values * sizeof(Bf16));
  }
  return w.input.get();
}

// Runs cell j for those of a group's pairs whose gates open it: cell(indices of the pairs, pairs,
// out), its outputs put at the pairs' places.
template <class Isa>
template <class Cell>
void KernelImpl<Isa>::RunCell(int j, int count, WorkspaceImpl& w, Cell&& cell) const {
  const int64_t values = int64_t{M_} * E_;
  Bf16* const out = w.cell[j].get();
  ForOpen(j, count, w, [&](const int* chunk, int pairs) {
    const bool in_order = chunk[pairs - 1] - chunk[0] == pairs - 1;
    Bf16* const to = in_order ? out + chunk[0] * values : w.output.get();
    cell(chunk, pairs, to);
    if (in_order) return;
    for (int i = 0; i < pairs; ++i) {
      std::memcpy(out + chunk[i] * values, to + i * values, values * sizeof(Bf16));
    }
  });
}

// The sequences that the next layer's cells take of one pair, and their means. The cells' may be
// where these go: what is written was read before.
template <class Isa>
void KernelImpl<Isa>::MixToCells(const Sequences& cells, const Routing& routing, int pair,
                                 WorkspaceImpl& w) const {
  Bf16* to[kCells];
  for (int i = 0; i < kCells; ++i) to[i] = w.sequence[i].get() + int64_t{pair} * M_ * E_;
  __m512 weight[kCells][kCells];
  for (int i = 0; i < kCells; ++i) {
    for (int j = 0; j < kCells; ++j) weight[i][j] = _mm512_set1_ps(routing.weight[i][j]);
  }
  const __m512 share = _mm512_set1_ps(1.0f / static_cast<float>(M_));
  float* const sums = w.channels.get();
  std::memset(sums, 0, kCells * E_ * sizeof(float));
  for (int m = 0; m < M_; ++m) {
    for (int e = 0; e < E_; e += 32) {
      const int64_t at = int64_t{m} * E_ + e;
      __m512 cell[kCells][2];
      for (int h = 0; h < 2; ++h) {
        const int64_t k = at + h * 16;
        cell[0][h] = _mm512_max_ps(LoadBf16(cells.identity + k), _mm512_setzero_ps());
        cell[1][h] = Guided(cells, k, e + h * 16);
        cell[2][h] = LoadBf16(cells.reasoned + k);
        cell[3][h] = LoadBf16(cells.refined + k);
      }
      for (int i = 0; i < kCells; ++i) {
        __m512 v[2];
        for (int h = 0; h < 2; ++h) {
          v[h] = _mm512_mul_ps(cell[0][h], weight[i][0]);
          for (int j = 1; j < kCells; ++j) v[h] = _mm512_fmadd_ps(cell[j][h], weight[i][j], v[h]);
          float* const sum = sums + i * E_ + e + h * 16;
          _mm512_store_ps(sum, _mm512_add_ps(_mm512_load_ps(sum), v[h]));
        }
        StorePair(to[i] + at, v[0], v[1]);
      }
    }
  }
  for (int i = 0; i < kCells; ++i) {
    for (int e = 0; e < E_; e += 16) {
      StoreSplit(w.means[i].get() + int64_t{pair} * 2 * E_ + e, E_,
                 _mm512_mul_ps(_mm512_load_ps(sums + i * E_ + e), share));
    }
  }
}

// The last layer's output and the score of one pair. `exact`: the self-attention cell's output, or
// null where it is shut; `inputs`: the cells'.
template <class Isa>
float KernelImpl<Isa>::Finish(const Sequences& cells, const float* exact,
                              const Bf16* const inputs[kCells], const Routing& routing,
                              const float* guide) const {
  __m512 cell_weight[kCells], input_weight[kCells];
  bool identities = false;
  for (int j = 0; j < kCells; ++j) {
    cell_weight[j] = _mm512_set1_ps(routing.weight[0][j]);
    input_weight[j] = _mm512_set1_ps(routing.bypass[j]);
    identities = identities || routing.bypass[j] > 0;
  }
  const __m512 share = _mm512_set1_ps(1.0f / static_cast<float>(M_));
  __m512 square = _mm512_setzero_ps(), product = _mm512_setzero_ps();
  for (int e = 0; e < E_; e += 16) {
    const __m512 scale = _mm512_loadu_ps(norm_scale_.get() + e);
    const __m512 shift = _mm512_loadu_ps(norm_shift_.get() + e);
    __m512 sum = _mm512_setzero_ps(), top = _mm512_set1_ps(-3e38f);
    for (int m = 0; m < M_; ++m) {
      const int64_t at = int64_t{m} * E_ + e;
      const __m512 z = LoadBf16(cells.identity + at);
      __m512 y = _mm512_mul_ps(_mm512_max_ps(z, _mm512_setzero_ps()), cell_weight[0]);
      y = _mm512_fmadd_ps(Guided(cells, at, e), cell_weight[1], y);
      if (exact != nullptr) y = _mm512_fmadd_ps(_mm512_load_ps(exact + at), cell_weight[2], y);
      y = _mm512_fmadd_ps(LoadBf16(cells.refined + at), cell_weight[3], y);
      if (identities) {
        y = _mm512_fmadd_ps(z, input_weight[0], y);
        for (int j = 1; j < kCells; ++j) {
          y = _mm512_fmadd_ps(LoadBf16(inputs[j] + at), input_weight[j], y);
        }
      }
      y = _mm512_fmadd_ps(y, scale, shift);
      sum = _mm512_add_ps(sum, y);
      top = _mm512_max_ps(top, y);
    }
    const __m512 v = _mm512_fmadd_ps(sum, share, top);
    square = _mm512_fmadd_ps(v, v, square);
    product = _mm512_fmadd_ps(v, _mm512_loadu_ps(guide + e), product);
  }
  const float norm = __builtin_sqrtf(_mm512_reduce_add_ps(square));
  return _mm512_reduce_add_ps(product) / (norm > kTiny ? norm : kTiny);
}

// --- The plan -----------------------------------------------------------------------------------

template <class Isa>
void KernelImpl<Isa>::PrepareLocal(const float* local, PreparedLocal* out,
                                   Workspace& workspace) const {
  auto& w = static_cast<WorkspaceImpl&>(workspace);
  Isa::Begin();
  auto* const sequence = reinterpret_cast<Bf16*>(out);
  auto* const product = reinterpret_cast<Bf16*>(out + LocalPart());
  auto* const reasoned = reinterpret_cast<Bf16*>(out + 2 * LocalPart());
  const int E = shape_.embed_size;
  for (int e = 0; e < E_; e += 16) {
    const __mmask16 mask = TailMask(E - e);
    __m512 sum = _mm512_setzero_ps();
    for (int m = 0; m < M_; ++m) {
      const __m512 v = _mm512_maskz_loadu_ps(mask, local + int64_t{m} * E + e);
      sum = _mm512_add_ps(sum, v);
      StoreBf16(sequence + int64_t{m} * E_ + e, v);
    }
    const __m512 mean = _mm512_mul_ps(sum, _mm512_set1_ps(1.0f / static_cast<float>(M_)));
    for (int j = 0; j < kCells; ++j) StoreSplit(w.means[j].get() + e, E_, mean);
  }
  // Through the workspace, whose memory may be read beyond the rows.
  std::memcpy(w.input.get(), sequence, int64_t{M_} * E_ * sizeof(Bf16));
  Guidance(layers_[0], w.input.get(), M_, product, w);
  Norms(product, reinterpret_cast<float*>(out + LocalNorms()));
  Reason(layers_[0], w.input.get(), 1, reasoned, w);
  Route(layers_[0], 1, kCells, w);
  std::memcpy(out + LocalGates(), w.routing[0].gate, sizeof(w.routing[0].gate));
  Isa::End();
}

template <class Isa>
void KernelImpl<Isa>::PrepareContext(const float* context, int rows, const float* global,
                                     PreparedContext* out, Workspace& workspace) const {
  auto& w = static_cast<WorkspaceImpl&>(workspace);
  Isa::Begin();
  std::memset(out, 0, context_bytes(rows));
  const int32_t stored = rows;
  std::memcpy(out, &stored, sizeof(stored));
  const int E = shape_.embed_size;
  std::memcpy(out + ContextGuide(), global, E * sizeof(float));
  Bf16* const x = w.input.get();
  for (int e = 0; e < E_; e += 16) {
    const __mmask16 mask = TailMask(E - e);
    for (int c = 0; c < rows; ++c) {
      StoreBf16(x + int64_t{c} * E_ + e, _mm512_maskz_loadu_ps(mask, context + int64_t{c} * E + e));
    }
  }
  const int64_t C16 = RoundUp(rows, 16);
  auto* const matrix = reinterpret_cast<Bf16*>(out + ContextMatrix(rows));
  for (int first = 0; first < rows; first += 16) {
    for (int e = 0; e < E_; e += 32) {
      __m512i r[16];
      for (int c = 0; c < 16; ++c) {
        r[c] = first + c < rows ? _mm512_loadu_si512(x + int64_t{first + c} * E_ + e)
                                : _mm512_setzero_si512();
      }
      Transpose(r);
      for (int k = 0; k < 16; ++k) {
        _mm512_storeu_si512(matrix + (e / 2 + k) * C16 * 2 + first * 2, r[k]);
      }
    }
  }
  auto* const projections = reinterpret_cast<Bf16*>(out + ContextProjections());
  for (int n = 0; n < 2 * kLayers; ++n) {
    const PackedLinear& linear = n % 2 == 0 ? layers_[n / 2].scale : layers_[n / 2].shift;
    Bf16* const projected = w.middle.get();
    Product(x, E_, rows, linear, w, AddBias{projected, E_, linear.bias.get()});
    Bf16* const to = projections + n * Projection(rows);
    for (int c = 0; c < rows; c += 2) {
      for (int e = 0; e < E_; e += 32) {
        const __m512i a = _mm512_loadu_si512(projected + int64_t{c} * E_ + e);
        const __m512i b = c + 1 < rows ? _mm512_loadu_si512(projected + int64_t{c + 1} * E_ + e)
                                       : _mm512_setzero_si512();
        __m512i first, second;
        Interleave(a, b, &first, &second);
        Bf16* const at = to + e / 16 * Panel(rows) + c * 16;
        _mm512_storeu_si512(at, first);
        _mm512_storeu_si512(at + Panel(rows), second);
      }
    }
  }
  Isa::End();
}

template <class Isa>
void KernelImpl<Isa>::ScoreGroup(const PreparedPair* pairs, int count, float* scores, float* paths,
                                 WorkspaceImpl& w) const {
  const int64_t values = int64_t{M_} * E_;
  // `input_of(p)`: what the refinement cell takes of pair p.
  const auto refine = [&](int n, auto&& input_of) {
    RunCell(kRefinement, count, w, [&](const int* chunk, int size, Bf16* out) {
      const Bf16* inputs[kChunk];
      const PreparedContext* contexts[kChunk];
      for (int i = 0; i < size; ++i) {
        inputs[i] = input_of(chunk[i]);
        contexts[i] = pairs[chunk[i]].context;
      }
      Refine(n, inputs, contexts, size, out, w);
    });
  };
  float* const factors = w.factors.get();

  // Layer 0: what its cells take is the bare sequence, and most of it was prepared.
  const auto bare = [&](int p) { return reinterpret_cast<const Bf16*>(pairs[p].local); };
  for (int p = 0; p < count; ++p) {
    std::memcpy(w.routing[p].gate, pairs[p].local + LocalGates(), sizeof(w.routing[p].gate));
    w.routing[p].Mix();
  }
  refine(0, bare);
  for (int p = 0; p < count; ++p) {
    const PreparedLocal* const local = pairs[p].local;
    const Routing& routing = w.routing[p];
    GuideFactors(reinterpret_cast<const float*>(local + LocalNorms()), Guide(pairs[p].context),
                 factors);
    MixToCells({.identity = bare(p),
                .guided = bare(p),
                .product = reinterpret_cast<const Bf16*>(local + LocalPart()),
                .factors = factors,
                .reasoned = reinterpret_cast<const Bf16*>(local + 2 * LocalPart()),
                .refined = routing.open[kRefinement] ? w.cell[3].get() + p * values : bare(p)},
               routing, p, w);
    if (paths != nullptr) std::memcpy(paths + p * 36, routing.share, sizeof(routing.share));
  }

  for (int n = 1; n < kLayers; ++n) {
    const PackedLayer& layer = layers_[n];
    const bool last = n == kLayers - 1;
    Route(layer, count, last ? 1 : kCells, w);
    RunCell(kGuidance, count, w, [&](const int* chunk, int size, Bf16* out) {
      Guidance(layer, Gather(w.sequence[1].get(), chunk, size, w), size * M_, out, w);
      for (int i = 0; i < size; ++i) {
        Norms(out + i * values, w.norms.get() + int64_t{chunk[i]} * E_);
      }
    });
    refine(n, [&](int p) { return w.sequence[3].get() + p * values; });
    // A pair's cells but for the self-attention one; `factors` become the pair's.
    const auto sequences_of = [&](int p) {
      const Bf16* const identity = w.sequence[0].get() + p * values;
      Sequences cells{.identity = identity,
                      .guided = w.sequence[1].get() + p * values,
                      .product = identity,
                      .factors = factors,
                      .reasoned = identity,
                      .refined = identity};
      if (w.routing[p].open[kGuidance]) {
        cells.product = w.cell[1].get() + p * values;
        GuideFactors(w.norms.get() + int64_t{p} * E_, Guide(pairs[p].context), factors);
      } else {
        std::memset(factors, 0, E_ * sizeof(float));
      }
      if (w.routing[p].open[kRefinement]) cells.refined = w.cell[3].get() + p * values;
      return cells;
    };
    if (!last) {
      RunCell(kReasoning, count, w, [&](const int* chunk, int size, Bf16* out) {
        Reason(layer, Gather(w.sequence[2].get(), chunk, size, w), size, out, w);
      });
      for (int p = 0; p < count; ++p) {
        const Routing& routing = w.routing[p];
        Sequences cells = sequences_of(p);
        if (routing.open[kReasoning]) cells.reasoned = w.cell[2].get() + p * values;
        MixToCells(cells, routing, p, w);
        if (paths != nullptr) {
          std::memcpy(paths + p * 36 + 16, routing.share, sizeof(routing.share));
        }
      }
      continue;
    }
    const auto finish = [&](int p, const float* exact) {
      const Bf16* inputs[kCells];
      for (int j = 0; j < kCells; ++j) inputs[j] = w.sequence[j].get() + p * values;
      scores[p] = Finish(sequences_of(p), exact, inputs, w.routing[p], Guide(pairs[p].context));
      if (paths == nullptr) return;
      for (int j = 0; j < kCells; ++j) paths[p * 36 + 32 + j] = w.routing[p].gate[j][0];
    };
    // The last self-attention cell's output goes into the score and nowhere else. Rounded, it is
    // what would disturb scores most: it is large beside its differences from pair to pair.
    ForOpen(kReasoning, count, w, [&](const int* chunk, int size) {
      float* const exact = w.exact.get();
      Reason(layer, Gather(w.sequence[2].get(), chunk, size, w), size, exact, w);
      for (int i = 0; i < size; ++i) finish(chunk[i], exact + i * values);
    });
    for (int p = 0; p < count; ++p) {
      if (!w.routing[p].open[kReasoning]) finish(p, nullptr);
    }
  }
}

}  // namespace

std::unique_ptr<InteractionKernel> CreateBf16InteractionKernel(const InteractionShape& shape,
                                                               const InteractionWeights& weights,
                                                               Instructions instructions) {
  if (instructions == Instructions::kAmx) {
    return std::unique_ptr<InteractionKernel>(new KernelImpl<Amx>(shape, weights));
  }
  return std::unique_ptr<InteractionKernel>(new KernelImpl<Avx512Bf16>(shape, weights));
}

}  // namespace dime::kernels
