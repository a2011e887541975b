#ifndef DIME_MODEL_CUDA_INTERACTION_PROGRAM_H_
#define DIME_MODEL_CUDA_INTERACTION_PROGRAM_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "index/status_macros.h"
#include "model/cuda/attention_kernels.h"
#include "model/cuda/device_kernel.h"
#include "model/cuda/device_memory.h"
#include "model/cuda/item_kernels.h"
#include "model/cuda/packed_product.h"
#include "model/cuda/routing_kernels.h"
#include "model/cuda/row_tiles.h"

namespace dime::cuda {

// DeviceKernel in terms of a Device (see device_memory.h).
template <class Device>
class InteractionProgram : public DeviceKernel {
 public:
  // UNIMPLEMENTED if a block of some kernel would need more shared memory than there is.
  static absl::StatusOr<std::unique_ptr<DeviceKernel>> Create(
      std::unique_ptr<Device> device, const kernels::InteractionShape& shape,
      const kernels::InteractionWeights& weights, int max_items) {
    std::unique_ptr<InteractionProgram> program(
        new InteractionProgram(std::move(device), shape, max_items));
    RETURN_IF_ERROR(program->CheckSizes());
    RETURN_IF_ERROR(program->UploadWeights(weights));
    RETURN_IF_ERROR(program->AllocateBuffers());
    RETURN_IF_ERROR(program->RecordLaunches());
    return std::unique_ptr<DeviceKernel>(std::move(program));
  }

  size_t local_bytes() const override { return static_cast<size_t>(local_.bytes); }
  size_t context_bytes() const override { return static_cast<size_t>(context_.bytes); }
  int max_items() const override { return max_items_; }
  absl::StatusOr<DeviceBytes> Allocate(size_t bytes) override { return device_->Allocate(bytes); }
  void Free(DeviceBytes bytes) override { device_->Free(bytes); }

  absl::Status PrepareLocals(const HostItems& items, absl::Span<const DeviceBytes> blocks) override;
  absl::Status PrepareContexts(const HostItems& items,
                               absl::Span<const DeviceBytes> blocks) override;
  absl::StatusOr<kernels::CellCounts> Score(absl::Span<const DeviceBytes> locals,
                                            absl::Span<const DeviceBytes> contexts,
                                            absl::Span<float> scores,
                                            absl::Span<float> paths) override;

 private:
  static constexpr int kLayers = 3;
  // What each pair has of ints: for each layer and cell the number of pairs that it is run for.
  static constexpr int kSizes = kLayers * kCells;

  struct Layer {
    Product router_hidden[kCells];
    const float* router_output[kCells];
    const float* router_bias[kCells];
    Product guidance, attention, feed_in, feed_out, refine_in, refine_out;
  };

  InteractionProgram(std::unique_ptr<Device> device, const kernels::InteractionShape& shape,
                     int max_items)
      : device_(std::move(device)),
        memory_(device_.get()),
        shape_(shape),
        max_items_(max_items),
        M_(shape.positions),
        E_(RoundUp(shape.embed_size, 32)),
        C_(RoundUp(shape.max_context, 16)),
        H_(RoundUp(shape.feed_forward_size, 32)) {
    const int64_t part = Aligned(int64_t{M_} * E_ * 2);
    local_ = {.sequence = 0,
              .product = part,
              .reasoned = 2 * part,
              .gates = 3 * part,
              .bytes = 3 * part + 256};
    context_.rows = 0;
    context_.guide = 256;
    context_.matrix = context_.guide + Aligned(int64_t{E_} * 4);
    context_.projections = context_.matrix + Aligned(int64_t{C_} * E_ * 2);
    context_.bytes = context_.projections + Aligned(int64_t{6} * C_ * E_ * 2);
  }

  static int64_t Aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }
  int blocks() const { return RoundUp(M_, 16) / 16; }
  int head_size() const { return shape_.embed_size / shape_.num_heads; }
  int tiles(int items, int positions) const {
    return RoundUp(items * positions, kTileRows) / kTileRows;
  }

  // Calls with_blocks(std::integral_constant<int, n>) for the number of blocks of 16 positions that
  // attention is compiled for.
  template <class With>
  auto WithBlocks(With&& with_blocks) const {
    if (blocks() <= 1) return with_blocks(std::integral_constant<int, 1>());
    if (blocks() <= 2) return with_blocks(std::integral_constant<int, 2>());
    if (blocks() <= 3) return with_blocks(std::integral_constant<int, 3>());
    if (blocks() <= 5) return with_blocks(std::integral_constant<int, 5>());
    return with_blocks(std::integral_constant<int, kMaxBlocks>());
  }

  absl::Status CheckSizes() const;
  absl::Status UploadWeights(const kernels::InteractionWeights& weights);
  absl::Status AllocateBuffers();
  absl::Status RecordLaunches();
  // The launches that take so many pairs may be those for this many.
  int RoundCount(int count) const {
    for (const int rounded : device_->counts()) {
      if (count <= rounded && rounded <= max_items_) return rounded;
    }
    return count;
  }
  absl::StatusOr<Product> UploadProduct(const PackedProduct& packed);

  Sequence Buffer(unsigned char* base, int width) const {
    return {.base = base, .stride = int64_t{M_} * width * 2, .width = width};
  }
  Sequence InBlocks(unsigned char* const* blocks, int64_t offset) const {
    return {.blocks = blocks, .offset = offset, .width = E_};
  }
  Selection All() const { return {.count = count_}; }
  Selection Open(int layer, int cell) const {
    return {.list = lists_[cell], .count = sizes_ + layer * kCells + cell};
  }
  void StartCall(int count, absl::Span<const DeviceBytes> locals,
                 absl::Span<const DeviceBytes> contexts);
  absl::Status CheckCount(size_t count, bool fits) const;

  void Route(int layer, int items, int paths, float* gates, unsigned char* const* blocks);
  void Plan(int layer, int items);
  void Linear(const Selection& selection, int items, const Sequence& in, const Product& product,
              const Sequence& out);
  void FeedForward(const Selection& selection, int items, const Sequence& in, const Product& first,
                   const Product& second, const Sequence& residual, const Sequence& out);
  void Reason(int layer, const Selection& selection, int items, const Sequence& in,
              const Sequence& out);
  void Refine(int layer, const Selection& selection, int items, const Sequence& in,
              const Sequence& out);
  void ScoreLayers(int items);

  const std::unique_ptr<Device> device_;
  DeviceMemory<Device> memory_;  // of all that follows
  const kernels::InteractionShape shape_;
  const int max_items_;
  // Positions; padded: channels, rows of a context, feed-forward width.
  const int M_, E_, C_, H_;
  LocalLayout local_;
  ContextLayout context_;

  Layer layers_[kLayers];
  Product projections_;
  const float* norm_scale_ = nullptr;
  const float* norm_shift_ = nullptr;

  // On the device, of a call: by item or pair.
  unsigned char** locals_ = nullptr;
  unsigned char** contexts_ = nullptr;
  int* count_ = nullptr;
  int* sizes_ = nullptr;  // (layers, cells)
  int* lists_[kCells] = {};
  float* gates_ = nullptr;
  MixWeights* weights_ = nullptr;
  Bf16* means_[kCells] = {};
  unsigned char* sequences_[kCells] = {};
  unsigned char* product_ = nullptr;    // of the guidance cell
  unsigned char* projected_ = nullptr;  // query, key, value
  unsigned char* attended_ = nullptr;
  unsigned char* reasoned_ = nullptr;
  unsigned char* crossed_ = nullptr;
  unsigned char* refined_ = nullptr;
  float* scores_ = nullptr;
  float* paths_ = nullptr;
  float* staged_ = nullptr;  // float32 items
  float* staged_global_ = nullptr;
  int* lengths_ = nullptr;
};

template <class Device>
absl::Status InteractionProgram<Device>::CheckSizes() const {
  const size_t most = device_->max_shared_bytes();
  const size_t attention = WithBlocks([&](auto n) {
    return std::max(SelfAttentionKernel<n.value>::SharedBytes(shape_.num_heads, head_size()),
                    CrossAttentionKernel<n.value>::SharedBytes(E_, C_));
  });
  const size_t needed = std::max({FeedForwardKernel::SharedBytes(E_, std::max(H_, E_)), attention,
                                  RouteKernel::SharedBytes(E_)});
  if (needed <= most && blocks() <= kMaxBlocks) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat(
      "the device's kernels take up to ", kMaxBlocks * 16, " positions and what fits ", most,
      " bytes a block; this model has ", M_, " positions and would take ", needed, " bytes"));
}

template <class Device>
absl::StatusOr<Product> InteractionProgram<Device>::UploadProduct(const PackedProduct& packed) {
  Product product = {.tiles = packed.tiles, .steps = packed.steps};
  ASSIGN_OR_RETURN(product.weights, memory_.Upload(packed.weights));
  ASSIGN_OR_RETURN(product.bias, memory_.Upload(packed.bias));
  return product;
}

template <class Device>
absl::Status InteractionProgram<Device>::UploadWeights(const kernels::InteractionWeights& weights) {
  const int size = shape_.embed_size;
  for (int n = 0; n < kLayers; ++n) {
    const kernels::LayerWeights& from = weights.layers[n];
    Layer& to = layers_[n];
    for (int j = 0; j < kCells; ++j) {
      const kernels::LinearWeights& output = from.routers[j].output;
      ASSIGN_OR_RETURN(to.router_hidden[j], UploadProduct(PackSplit(from.routers[j].hidden, E_)));
      const int width = to.router_hidden[j].tiles * 8;
      std::vector<float> rows(static_cast<size_t>(output.out) * width, 0.0f);
      for (int p = 0; p < output.out; ++p) {
        std::copy_n(output.weight + static_cast<ptrdiff_t>(p) * output.in, output.in,
                    rows.begin() + static_cast<ptrdiff_t>(p) * width);
      }
      ASSIGN_OR_RETURN(to.router_output[j], memory_.Upload(rows));
      ASSIGN_OR_RETURN(to.router_bias[j],
                       memory_.Upload(std::vector<float>(output.bias, output.bias + output.out)));
    }
    ASSIGN_OR_RETURN(to.guidance, UploadProduct(PackLinear(from.guidance)));
    ASSIGN_OR_RETURN(to.attention,
                     UploadProduct(PackJoined({&from.query, &from.key, &from.value}, E_)));
    ASSIGN_OR_RETURN(to.feed_in, UploadProduct(PackLinear(from.feed_in)));
    ASSIGN_OR_RETURN(to.feed_out, UploadProduct(PackLinear(from.feed_out)));
    ASSIGN_OR_RETURN(to.refine_in, UploadProduct(PackLinear(from.refine_in)));
    ASSIGN_OR_RETURN(to.refine_out, UploadProduct(PackLinear(from.refine_out)));
  }
  const kernels::LayerWeights* const layers = weights.layers;
  ASSIGN_OR_RETURN(projections_,
                   UploadProduct(PackJoined({&layers[0].scale, &layers[0].shift, &layers[1].scale,
                                             &layers[1].shift, &layers[2].scale, &layers[2].shift},
                                            E_)));
  const auto channels = [&](const float* values) {
    std::vector<float> padded(static_cast<size_t>(E_), 0.0f);
    std::copy_n(values, size, padded.begin());
    return memory_.Upload(padded);
  };
  ASSIGN_OR_RETURN(norm_scale_, channels(weights.norm_scale));
  ASSIGN_OR_RETURN(norm_shift_, channels(weights.norm_shift));
  return absl::OkStatus();
}

template <class Device>
absl::Status InteractionProgram<Device>::AllocateBuffers() {
  const int64_t n = max_items_;
  const int64_t sequence = n * M_ * E_ * 2;
  ASSIGN_OR_RETURN(locals_, memory_.template Allocate<unsigned char*>(n));
  ASSIGN_OR_RETURN(contexts_, memory_.template Allocate<unsigned char*>(n));
  ASSIGN_OR_RETURN(count_, memory_.template Allocate<int>(1));
  ASSIGN_OR_RETURN(sizes_, memory_.template Allocate<int>(kSizes));
  for (int j = 0; j < kCells; ++j) {
    ASSIGN_OR_RETURN(lists_[j], memory_.template Allocate<int>(n));
    ASSIGN_OR_RETURN(means_[j], memory_.template Allocate<Bf16>(n * 3 * E_));
    ASSIGN_OR_RETURN(sequences_[j], memory_.template Allocate<unsigned char>(sequence));
  }
  ASSIGN_OR_RETURN(gates_, memory_.template Allocate<float>(n * kCells * kCells));
  ASSIGN_OR_RETURN(weights_, memory_.template Allocate<MixWeights>(n));
  ASSIGN_OR_RETURN(projected_, memory_.template Allocate<unsigned char>(3 * sequence));
  for (unsigned char** buffer : {&product_, &attended_, &reasoned_, &crossed_, &refined_}) {
    ASSIGN_OR_RETURN(*buffer, memory_.template Allocate<unsigned char>(sequence));
  }
  ASSIGN_OR_RETURN(scores_, memory_.template Allocate<float>(n));
  ASSIGN_OR_RETURN(paths_, memory_.template Allocate<float>(n * 36));
  const int64_t rows = std::max(shape_.positions, shape_.max_context);
  ASSIGN_OR_RETURN(staged_, memory_.template Allocate<float>(n * rows * shape_.embed_size));
  ASSIGN_OR_RETURN(staged_global_, memory_.template Allocate<float>(n * shape_.embed_size));
  ASSIGN_OR_RETURN(lengths_, memory_.template Allocate<int>(n));
  return device_->Finish();
}

// Before the first call, so that none is slow for being the first.
template <class Device>
absl::Status InteractionProgram<Device>::RecordLaunches() {
  StartCall(0, {}, {});  // of no pairs: every block ends at once
  for (const int items : device_->counts()) {
    if (items <= max_items_) device_->Repeat(items, [&] { ScoreLayers(items); });
  }
  return device_->Finish();
}

// --- The plan -----------------------------------------------------------------------------------

template <class Device>
absl::Status InteractionProgram<Device>::CheckCount(size_t count, bool fits) const {
  if (count <= static_cast<size_t>(max_items_) && fits) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(count, " items or pairs do not fit a call of the device's kernel"));
}

template <class Device>
void InteractionProgram<Device>::StartCall(int count, absl::Span<const DeviceBytes> locals,
                                           absl::Span<const DeviceBytes> contexts) {
  device_->Upload(count_, &count, sizeof(count));
  if (!locals.empty()) {
    device_->Upload(locals_, locals.data(), locals.size() * sizeof(DeviceBytes));
  }
  if (!contexts.empty()) {
    device_->Upload(contexts_, contexts.data(), contexts.size() * sizeof(DeviceBytes));
  }
}

template <class Device>
void InteractionProgram<Device>::Route(int layer, int items, int paths, float* gates,
                                       unsigned char* const* blocks) {
  RouteKernel kernel = {.count = count_,
                        .embed_size = E_,
                        .paths = paths,
                        .gates = gates,
                        .blocks = blocks,
                        .gates_offset = local_.gates};
  for (int j = 0; j < kCells; ++j) {
    kernel.means[j] = means_[layer == 0 ? 0 : j];  // layer 0's cells all take the bare sequence
    kernel.hidden[j] = layers_[layer].router_hidden[j];
    kernel.output[j] = layers_[layer].router_output[j];
    kernel.bias[j] = layers_[layer].router_bias[j];
  }
  device_->Launch(kernel, tiles(items, 1), kCells, RouteKernel::SharedBytes(E_));
}

template <class Device>
void InteractionProgram<Device>::FeedForward(const Selection& selection, int items,
                                             const Sequence& in, const Product& first,
                                             const Product& second, const Sequence& residual,
                                             const Sequence& out) {
  device_->Launch(FeedForwardKernel{.selection = selection,
                                    .positions = M_,
                                    .in = in,
                                    .first = first,
                                    .second = second,
                                    .residual = residual,
                                    .out = out},
                  tiles(items, M_), 1, FeedForwardKernel::SharedBytes(E_, second.steps * 32));
}

template <class Device>
void InteractionProgram<Device>::Linear(const Selection& selection, int items, const Sequence& in,
                                        const Product& product, const Sequence& out) {
  device_->Launch(
      LinearKernel{
          .selection = selection, .positions = M_, .in = in, .product = product, .out = out},
      tiles(items, M_), 1, LinearKernel::SharedBytes(E_));
}

template <class Device>
void InteractionProgram<Device>::Reason(int layer, const Selection& selection, int items,
                                        const Sequence& in, const Sequence& out) {
  const Layer& weights = layers_[layer];
  const Sequence projected = Buffer(projected_, 3 * E_), attended = Buffer(attended_, E_);
  Linear(selection, items, in, weights.attention, projected);
  WithBlocks([&](auto n) {
    using Kernel = SelfAttentionKernel<n.value>;
    device_->Launch(Kernel{.selection = selection,
                           .positions = M_,
                           .num_heads = shape_.num_heads,
                           .head_size = head_size(),
                           .projected = projected,
                           .x = in,
                           .out = attended},
                    items, 1, Kernel::SharedBytes(shape_.num_heads, head_size()));
  });
  FeedForward(selection, items, attended, weights.feed_in, weights.feed_out, attended, out);
}

template <class Device>
void InteractionProgram<Device>::Refine(int layer, const Selection& selection, int items,
                                        const Sequence& in, const Sequence& out) {
  const Layer& weights = layers_[layer];
  const Sequence crossed = Buffer(crossed_, E_);
  WithBlocks([&](auto n) {
    using Kernel = CrossAttentionKernel<n.value>;
    device_->Launch(Kernel{.selection = selection,
                           .positions = M_,
                           .context_rows = C_,
                           .norm = shape_.norm,
                           .lambda = shape_.lambda,
                           .contexts = contexts_,
                           .layout = context_,
                           .layer = layer,
                           .x = in,
                           .out = crossed},
                    items, 1, Kernel::SharedBytes(E_, C_));
  });
  FeedForward(selection, items, crossed, weights.refine_in, weights.refine_out, in, out);
}

template <class Device>
absl::Status InteractionProgram<Device>::PrepareLocals(const HostItems& items,
                                                       absl::Span<const DeviceBytes> blocks) {
  const int count = items.count;
  RETURN_IF_ERROR(CheckCount(blocks.size(),
                             items.positions == M_ && blocks.size() == static_cast<size_t>(count)));
  if (count == 0) return absl::OkStatus();
  StartCall(count, blocks, {});
  device_->Upload(staged_, items.local,
                  sizeof(float) * static_cast<size_t>(count) * M_ * shape_.embed_size);
  device_->Launch(ConvertLocalKernel{.from = staged_,
                                     .positions = M_,
                                     .true_size = shape_.embed_size,
                                     .blocks = locals_,
                                     .layout = local_,
                                     .embed_size = E_,
                                     .means = means_[0]},
                  count, 1, 0);
  const Sequence sequence = InBlocks(locals_, local_.sequence);
  Linear(All(), count, sequence, layers_[0].guidance, InBlocks(locals_, local_.product));
  Reason(0, All(), count, sequence, InBlocks(locals_, local_.reasoned));
  Route(0, count, kCells, nullptr, locals_);
  return device_->Finish();
}

template <class Device>
absl::Status InteractionProgram<Device>::PrepareContexts(const HostItems& items,
                                                         absl::Span<const DeviceBytes> blocks) {
  const int count = items.count;
  RETURN_IF_ERROR(CheckCount(blocks.size(), items.positions <= shape_.max_context &&
                                                blocks.size() == static_cast<size_t>(count)));
  if (count == 0) return absl::OkStatus();
  StartCall(count, {}, blocks);
  const size_t size = static_cast<size_t>(count) * shape_.embed_size;
  device_->Upload(staged_, items.local, sizeof(float) * size * items.positions);
  device_->Upload(staged_global_, items.global, sizeof(float) * size);
  device_->Upload(lengths_, items.lengths, sizeof(int) * static_cast<size_t>(count));
  device_->Launch(ConvertContextKernel{.from = staged_,
                                       .global = staged_global_,
                                       .lengths = lengths_,
                                       .from_rows = items.positions,
                                       .true_size = shape_.embed_size,
                                       .blocks = contexts_,
                                       .layout = context_,
                                       .context_rows = C_,
                                       .embed_size = E_},
                  count, 1, 0);
  device_->Launch(ProjectKernel{.selection = All(),
                                .context_rows = C_,
                                .in = InBlocks(contexts_, context_.matrix),
                                .product = projections_,
                                .blocks = contexts_,
                                .offset = context_.projections},
                  tiles(count, C_), 1, LinearKernel::SharedBytes(E_));
  return device_->Finish();
}

template <class Device>
void InteractionProgram<Device>::Plan(int layer, int items) {
  PlanKernel kernel = {.count = count_,
                       .last = layer == kLayers - 1,
                       .gates = layer == 0 ? nullptr : gates_,
                       .locals = locals_,
                       .gates_offset = local_.gates,
                       .weights = weights_,
                       .paths = paths_,
                       .paths_offset = layer * 16};
  for (int j = 0; j < kCells; ++j) {
    kernel.lists[j] = lists_[j];
    kernel.sizes[j] = sizes_ + layer * kCells + j;
  }
  device_->Launch(kernel, RoundUp(items, kBlockThreads) / kBlockThreads, 1, 0);
}

template <class Device>
void InteractionProgram<Device>::ScoreLayers(int items) {
  device_->Zero(sizes_, kSizes * sizeof(int));
  const Sequence refined = Buffer(refined_, E_);
  const auto mix = [&](const CellOutputs& cells) {
    MixKernel kernel = {.count = count_,
                        .positions = M_,
                        .embed_size = E_,
                        .cells = cells,
                        .weights = weights_,
                        .contexts = contexts_,
                        .guide_offset = context_.guide};
    for (int j = 0; j < kCells; ++j) {
      kernel.next[j] = Buffer(sequences_[j], E_);
      kernel.means[j] = means_[j];
    }
    device_->Launch(kernel, items, 1, 0);
  };

  // Layer 0: what its cells take is the bare sequence, and most of it was prepared.
  const Sequence bare = InBlocks(locals_, local_.sequence);
  Plan(0, items);
  Refine(0, Open(0, 3), items, bare, refined);
  mix({.identity = bare,
       .guided = bare,
       .product = InBlocks(locals_, local_.product),
       .reasoned = InBlocks(locals_, local_.reasoned),
       .refined = refined});

  for (int n = 1; n < kLayers; ++n) {
    const bool last = n == kLayers - 1;
    Sequence in[kCells];
    for (int j = 0; j < kCells; ++j) in[j] = Buffer(sequences_[j], E_);
    Route(n, items, last ? 1 : kCells, gates_, nullptr);
    Plan(n, items);
    const Sequence product = Buffer(product_, E_), reasoned = Buffer(reasoned_, E_);
    Linear(Open(n, 1), items, in[1], layers_[n].guidance, product);
    Reason(n, Open(n, 2), items, in[2], reasoned);
    Refine(n, Open(n, 3), items, in[3], refined);
    const CellOutputs cells = {.identity = in[0],
                               .guided = in[1],
                               .product = product,
                               .reasoned = reasoned,
                               .refined = refined};
    if (!last) {
      mix(cells);
      continue;
    }
    device_->Launch(FinishKernel{.count = count_,
                                 .positions = M_,
                                 .embed_size = E_,
                                 .cells = cells,
                                 .inputs = {in[0], in[1], in[2], in[3]},
                                 .weights = weights_,
                                 .contexts = contexts_,
                                 .guide_offset = context_.guide,
                                 .norm_scale = norm_scale_,
                                 .norm_shift = norm_shift_,
                                 .scores = scores_},
                    items, 1, FinishKernel::SharedBytes());
  }
}

template <class Device>
absl::StatusOr<kernels::CellCounts> InteractionProgram<Device>::Score(
    absl::Span<const DeviceBytes> locals, absl::Span<const DeviceBytes> contexts,
    absl::Span<float> scores, absl::Span<float> paths) {
  const size_t size = locals.size();
  RETURN_IF_ERROR(CheckCount(size, contexts.size() == size && scores.size() == size &&
                                       (paths.empty() || paths.size() == size * 36)));
  if (size == 0) return kernels::CellCounts();
  const int count = static_cast<int>(size);
  StartCall(count, locals, contexts);
  const int items = RoundCount(count);
  device_->Repeat(items, [&] { ScoreLayers(items); });
  int sizes[kSizes];
  device_->Download(sizes, sizes_, sizeof(sizes));
  device_->Download(scores.data(), scores_, scores.size() * sizeof(float));
  if (!paths.empty()) device_->Download(paths.data(), paths_, paths.size() * sizeof(float));
  RETURN_IF_ERROR(device_->Finish());
  // Layer 0's guidance and self-attention were prepared, and count in neither.
  kernels::CellCounts counts;
  for (int n = 0; n < kLayers; ++n) {
    for (int j = n == 0 ? 3 : 1; j < kCells; ++j) {
      counts.open += sizes[n * kCells + j];
      counts.skipped += count - sizes[n * kCells + j];
    }
  }
  return counts;
}

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_INTERACTION_PROGRAM_H_
