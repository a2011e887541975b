#ifndef DIME_MODEL_CUDA_INTERACTION_PROGRAM_H_
#define DIME_MODEL_CUDA_INTERACTION_PROGRAM_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "index/status_macros.h"
#include "model/cuda/cell_kernels.h"
#include "model/cuda/device_kernel.h"
#include "model/cuda/device_memory.h"
#include "model/cuda/device_weights.h"
#include "model/cuda/item_kernels.h"
#include "model/cuda/routing_kernels.h"
#include "model/cuda/row_tiles.h"
#include "model/cuda/tile_products.h"

namespace dime::cuda {

// DeviceKernel in terms of a Device (see device_memory.h).
template <class Device>
class InteractionProgram : public DeviceKernel {
 public:
  // UNIMPLEMENTED if a block of some kernel would need more shared memory than there is.
  static absl::StatusOr<std::unique_ptr<DeviceKernel>> Create(
      std::unique_ptr<Device> device, const kernels::InteractionShape& shape,
      const kernels::InteractionWeights& weights, int max_items, TileProducts products) {
    std::unique_ptr<InteractionProgram> program(
        new InteractionProgram(std::move(device), shape, max_items, products));
    ASSIGN_OR_RETURN(program->model_,
                     UploadDeviceWeights(weights, shape, products, program->memory_));
    RETURN_IF_ERROR(program->CheckSizes());
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
  static constexpr int kLayers = DeviceWeights::kLayers;
  // What each pair has of ints: for each layer and cell the number of pairs that it is run for.
  static constexpr int kSizes = kLayers * kCells;

  InteractionProgram(std::unique_ptr<Device> device, const kernels::InteractionShape& shape,
                     int max_items, TileProducts products)
      : device_(std::move(device)),
        memory_(device_.get()),
        shape_(shape),
        max_items_(max_items),
        products_(products),
        M_(shape.positions),
        E_(PaddedChannels(shape)),
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

  // Calls with(TypeOf<Products>(), std::integral_constant<int, n>()) for the tiles that are to be
  // used for so many items, and the number of blocks of 16 positions that attention is compiled
  // for.
  template <class T>
  struct TypeOf {
    using Type = T;
  };
  template <class With>
  auto WithKernels(int items, With&& with) const {
    if (products_ == TileProducts::kWarpgroups) {
      if (LargeTiles(items)) return WithBlocks(TypeOf<WarpgroupTiles<128>>(), with);
      return WithBlocks(TypeOf<WarpgroupTiles<64>>(), with);
    }
    if (LargeTiles(items)) return WithBlocks(TypeOf<WarpTiles<128>>(), with);
    return WithBlocks(TypeOf<WarpTiles<64>>(), with);
  }
  template <class Products, class With>
  auto WithBlocks(TypeOf<Products> products, With&& with) const {
    if (blocks() <= 1) return with(products, std::integral_constant<int, 1>());
    if (blocks() <= 2) return with(products, std::integral_constant<int, 2>());
    if (blocks() <= 3) return with(products, std::integral_constant<int, 3>());
    if constexpr (Products::kRows == 64) {
      return with(products, std::integral_constant<int, 4>());
    } else {
      if (blocks() <= 5) return with(products, std::integral_constant<int, 5>());
      return with(products, std::integral_constant<int, kMaxBlocks>());
    }
  }
  // Large tiles read weights less often; small ones leave fewer of the device's processors without
  // any, and fit less shared memory.
  bool LargeTiles(int items) const {
    return M_ > 64 || (large_tiles_fit_ && items > ItemsOfTile(64, M_) * device_->processors());
  }

  absl::Status CheckSizes();
  template <class Products, int kBlocks>
  size_t MostSharedBytes() const;
  absl::Status AllocateBuffers();
  absl::Status RecordLaunches();
  // The launches that take so many pairs may be those for this many.
  int RoundCount(int count) const {
    const std::vector<int> counts = device_->counts();
    if (counts.empty()) return count;
    for (const int rounded : counts) {
      if (count <= rounded && rounded <= max_items_) return rounded;
    }
    return max_items_;
  }

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
  void Guide(int layer, const Selection& selection, int items, const Sequence& in,
             const Sequence& out);
  // Kernels as a layer has them, for any items.
  template <class Kernel>
  Kernel Cell(const CellWeights& weights, int hidden_width) const;
  template <class Kernel>
  void LaunchCell(Kernel kernel, const Selection& selection, int items, const Sequence& in,
                  const Sequence& out);
  template <class Products, int kBlocks>
  ReasonKernel<Products, kBlocks> Reasoning(int layer) const;
  void Reason(int layer, const Selection& selection, int items, const Sequence& in,
              const Sequence& out);
  template <class Products, int kBlocks>
  RefineKernel<Products, kBlocks> Refining(int layer) const;
  void Refine(int layer, const Selection& selection, int items, const Sequence& in,
              const Sequence& out);
  void ScoreLayers(int items);

  const std::unique_ptr<Device> device_;
  DeviceMemory<Device> memory_;  // of all that follows
  const kernels::InteractionShape shape_;
  const int max_items_;
  const TileProducts products_;
  bool large_tiles_fit_ = false;
  // Positions; padded: channels, rows of a context, feed-forward width.
  const int M_, E_, C_, H_;
  LocalLayout local_;
  ContextLayout context_;

  DeviceWeights model_;

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
  unsigned char* product_ = nullptr;  // of the guidance cell
  unsigned char* reasoned_ = nullptr;
  unsigned char* refined_ = nullptr;
  float* scores_ = nullptr;
  float* paths_ = nullptr;
  float* staged_ = nullptr;  // float32 items
  float* staged_global_ = nullptr;
  int* lengths_ = nullptr;
};

template <class Device>
template <class Products, int kBlocks>
size_t InteractionProgram<Device>::MostSharedBytes() const {
  return std::max({Reasoning<Products, kBlocks>(0).SharedBytes(),
                   Refining<Products, kBlocks>(0).SharedBytes(), RouteKernel::SharedBytes(E_),
                   ProjectKernel::SharedBytes(E_),
                   LinearKernel<Products>::SharedBytes(model_.layers[0].guidance.stream, E_)});
}

template <class Device>
absl::Status InteractionProgram<Device>::CheckSizes() {
  if (blocks() > kMaxBlocks) {
    return absl::UnimplementedError(absl::StrCat(
        "the device's kernels take up to ", kMaxBlocks * 16, " positions; this model has ", M_));
  }
  const auto needed = [&](bool large) {
    large_tiles_fit_ = large;
    return WithKernels(max_items_, [&](auto products, auto n) {
      return MostSharedBytes<typename decltype(products)::Type, n.value>();
    });
  };
  const size_t most = device_->max_shared_bytes();
  if (needed(/*large=*/true) <= most) return absl::OkStatus();
  const size_t least = needed(/*large=*/false);
  if (least <= most) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat("the device's kernels take what fits ", most, " bytes a block; this model of ",
                   M_, " positions and ", E_, " channels would take ", least, " bytes"));
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
  for (unsigned char** buffer : {&product_, &reasoned_, &refined_}) {
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
  for (int items : device_->counts()) {
    items = RoundCount(items);
    device_->Repeat(items, [&] { ScoreLayers(items); });
  }
  if (!device_->counts().empty()) device_->Repeat(max_items_, [&] { ScoreLayers(max_items_); });
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
    kernel.hidden[j] = model_.layers[layer].router_hidden[j];
    kernel.output[j] = model_.layers[layer].router_output[j];
    kernel.bias[j] = model_.layers[layer].router_bias[j];
  }
  device_->Launch(kernel, RoundUp(items, RouteKernel::kRows) / RouteKernel::kRows, kCells,
                  RouteKernel::SharedBytes(E_));
}

template <class Device>
void InteractionProgram<Device>::Guide(int layer, const Selection& selection, int items,
                                       const Sequence& in, const Sequence& out) {
  const CellWeights& weights = model_.layers[layer].guidance;
  WithKernels(items, [&](auto products, auto) {
    using Kernel = LinearKernel<typename decltype(products)::Type>;
    device_->Launch(Kernel{.selection = selection,
                           .positions = M_,
                           .stream = weights.stream,
                           .product = weights.products[0],
                           .in = in,
                           .out = out},
                    Kernel::Blocks(items, M_), 1, Kernel::SharedBytes(weights.stream, E_));
  });
}

template <class Device>
template <class Kernel>
Kernel InteractionProgram<Device>::Cell(const CellWeights& weights, int hidden_width) const {
  Kernel kernel;
  const std::vector<Product>& products = weights.products;
  kernel.positions = M_;
  kernel.stream = weights.stream;
  kernel.first = products[products.size() - 2];
  kernel.second = products[products.size() - 1];
  kernel.hidden_width = hidden_width;
  kernel.in.width = kernel.out.width = E_;
  return kernel;
}

template <class Device>
template <class Kernel>
void InteractionProgram<Device>::LaunchCell(Kernel kernel, const Selection& selection, int items,
                                            const Sequence& in, const Sequence& out) {
  kernel.selection = selection;
  kernel.in = in;
  kernel.out = out;
  device_->Launch(kernel, kernel.Blocks(items), 1, kernel.SharedBytes());
}

template <class Device>
template <class Products, int kBlocks>
ReasonKernel<Products, kBlocks> InteractionProgram<Device>::Reasoning(int layer) const {
  const CellWeights& weights = model_.layers[layer].reason;
  auto kernel = Cell<ReasonKernel<Products, kBlocks>>(weights, H_);
  kernel.projection = weights.products[0];
  kernel.num_heads = shape_.num_heads;
  kernel.head_size = head_size();
  kernel.group_heads = model_.group_heads;
  return kernel;
}

template <class Device>
void InteractionProgram<Device>::Reason(int layer, const Selection& selection, int items,
                                        const Sequence& in, const Sequence& out) {
  WithKernels(items, [&](auto products, auto n) {
    LaunchCell(Reasoning<typename decltype(products)::Type, n.value>(layer), selection, items, in,
               out);
  });
}

template <class Device>
template <class Products, int kBlocks>
RefineKernel<Products, kBlocks> InteractionProgram<Device>::Refining(int layer) const {
  auto kernel = Cell<RefineKernel<Products, kBlocks>>(model_.layers[layer].refine, E_);
  kernel.attention = {.positions = M_,
                      .context_rows = C_,
                      .norm = shape_.norm,
                      .lambda = shape_.lambda,
                      .layout = context_,
                      .layer = layer};
  kernel.contexts = contexts_;
  return kernel;
}

template <class Device>
void InteractionProgram<Device>::Refine(int layer, const Selection& selection, int items,
                                        const Sequence& in, const Sequence& out) {
  WithKernels(items, [&](auto products, auto n) {
    LaunchCell(Refining<typename decltype(products)::Type, n.value>(layer), selection, items, in,
               out);
  });
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
  Guide(0, All(), count, sequence, InBlocks(locals_, local_.product));
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
                                .product = model_.projections,
                                .blocks = contexts_,
                                .offset = context_.projections},
                  ProjectKernel::Blocks(count, C_), 1, ProjectKernel::SharedBytes(E_));
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
    device_->Fork([&] { Reason(n, Open(n, 2), items, in[2], reasoned); },
                  [&] { Refine(n, Open(n, 3), items, in[3], refined); },
                  [&] { Guide(n, Open(n, 1), items, in[1], product); });
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
                                 .norm_scale = model_.norm_scale,
                                 .norm_shift = model_.norm_shift,
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
