#include "model/kernel_scorer.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "index/status_macros.h"
#include "model/local_side.h"
#include "model/slab_items.h"

namespace dime {
namespace {

using kernels::InteractionKernel;
using kernels::PreparedPair;

// Bytes on cache lines, as kernels take prepared items.
class AlignedBytes {
 public:
  explicit AlignedBytes(size_t size)
      : bytes_(static_cast<unsigned char*>(std::aligned_alloc(64, (size + 63) / 64 * 64))) {}
  unsigned char* get() const { return bytes_.get(); }
  explicit operator bool() const { return bytes_ != nullptr; }

 private:
  struct Free {
    void operator()(unsigned char* bytes) const { std::free(bytes); }
  };
  std::unique_ptr<unsigned char, Free> bytes_;
};

// The prepared form of item `i` into `out`.
void Prepare(const InteractionKernel& kernel, const EncodedItemsView& items, Direction direction,
             int64_t i, unsigned char* out, InteractionKernel::Workspace& workspace) {
  const DirectionFeaturesView& part = items.of(direction);
  const size_t size = part.embed_size;
  const float* const local = part.local.data() + i * items.positions * size;
  if (IsLocal(items.modality, direction)) {
    kernel.PrepareLocal(local, out, workspace);
  } else {
    kernel.PrepareContext(local, items.lengths[i], part.global.data() + i * size, out, workspace);
  }
}
size_t PreparedBytes(const InteractionKernel& kernel, Modality modality, Direction direction,
                     int rows) {
  return IsLocal(modality, direction) ? kernel.local_bytes() : kernel.context_bytes(rows);
}

}  // namespace

// Items in place, and beside each, once it was scored and while there is room, its prepared form.
class KernelScorer::Bank : public FeatureBank {
 public:
  // One direction's prepared items, `stride` apart in memory that is the system's until it is
  // written.
  struct Part {
    size_t stride = 0;
    unsigned char* memory = nullptr;
    std::vector<std::atomic<uint8_t>> states;
  };
  enum State : uint8_t { kAbsent, kBusy, kReady };

  // `slab`: where the items lie if they are to be written to; else null.
  Bank(const EncodedItemsView& items, const Kernels& kernels, int64_t prepared_bytes,
       std::unique_ptr<SlabItems> slab = nullptr)
      : items_(items), kernels_(kernels), slab_(std::move(slab)), room_(prepared_bytes) {
    for (Direction direction : kDirections) {
      const InteractionKernel* const kernel = kernels[static_cast<int>(direction)].get();
      if (kernel == nullptr || items.count == 0) continue;
      Part& part = parts_[static_cast<int>(direction)];
      part.stride = PreparedBytes(*kernel, items.modality, direction, items.positions);
      void* const memory = mmap(nullptr, part.stride * items.count, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      // Without the address space nothing is kept.
      if (memory == MAP_FAILED) continue;
      part.memory = static_cast<unsigned char*>(memory);
      part.states = std::vector<std::atomic<uint8_t>>(items.count);
    }
  }
  ~Bank() override {
    for (Part& part : parts_) {
      if (part.memory != nullptr) munmap(part.memory, part.stride * items_.count);
    }
  }

  Modality modality() const override { return items_.modality; }
  int64_t count() const override { return items_.count; }
  const EncodedItemsView& items() const { return items_; }
  absl::Status Write(absl::Span<const int64_t> slots, const EncodedItemsView& items) override {
    if (slab_ == nullptr) return FeatureBank::Write(slots, items);
    // What was prepared of the slots' former items is given up, with its room.
    for (Direction direction : kDirections) {
      Part& part = parts_[static_cast<int>(direction)];
      if (part.memory == nullptr) continue;
      for (const int64_t slot : slots) {
        if (slot < 0 || slot >= items_.count) continue;  // told below
        if (part.states[slot].exchange(kAbsent, std::memory_order_relaxed) != kReady) continue;
        room_.fetch_add(ItemRoom(direction, slot), std::memory_order_relaxed);
      }
    }
    return slab_->Write(slots, items);
  }
  size_t stride(Direction direction) const { return parts_[static_cast<int>(direction)].stride; }

  // The prepared form of a row, if it is kept.
  const unsigned char* Find(Direction direction, int64_t row) const {
    const Part& part = parts_[static_cast<int>(direction)];
    if (part.memory == nullptr) return nullptr;
    const bool ready = part.states[row].load(std::memory_order_acquire) == kReady;
    return ready ? part.memory + row * part.stride : nullptr;
  }
  // Prepares a row: in its place here, or, if another thread is at it or there is no room for it,
  // in `scratch`, which holds a stride.
  const unsigned char* Make(const InteractionKernel& kernel, Direction direction, int64_t row,
                            unsigned char* scratch, InteractionKernel::Workspace& workspace) const {
    Part& part = parts_[static_cast<int>(direction)];
    if (part.memory != nullptr) {
      std::atomic<uint8_t>& state = part.states[row];
      uint8_t absent = kAbsent;
      // Without room rows are looked at in vain, and by many: the flag is left alone then.
      const bool may_fit = room_.load(std::memory_order_relaxed) >= ItemRoom(direction, row);
      if (may_fit && state.compare_exchange_strong(absent, kBusy, std::memory_order_relaxed)) {
        if (TakeRoom(direction, row)) {
          unsigned char* const kept = part.memory + row * part.stride;
          Prepare(kernel, items_, direction, row, kept, workspace);
          state.store(kReady, std::memory_order_release);
          return kept;
        }
        state.store(kAbsent, std::memory_order_relaxed);
      }
    }
    Prepare(kernel, items_, direction, row, scratch, workspace);
    return scratch;
  }

 private:
  // Takes the row's bytes out of what is left, if they fit; for a row that is the caller's, since
  // its bytes are given back once.
  bool TakeRoom(Direction direction, int64_t row) const {
    const int64_t bytes = ItemRoom(direction, row);
    if (room_.load(std::memory_order_relaxed) < bytes) return false;
    room_.fetch_sub(bytes, std::memory_order_relaxed);
    return true;
  }

  int64_t ItemRoom(Direction direction, int64_t row) const {
    return static_cast<int64_t>(PreparedBytes(*kernels_[static_cast<int>(direction)],
                                              items_.modality, direction, items_.lengths[row]));
  }

  const EncodedItemsView items_;
  const Kernels& kernels_;
  const std::unique_ptr<SlabItems> slab_;
  mutable std::atomic<int64_t> room_;  // bytes
  mutable std::array<Part, kNumDirections> parts_;
};

// A workspace for as long as a task needs one.
class KernelScorer::Lease {
 public:
  Lease(const KernelScorer& scorer, Direction direction)
      : scorer_(scorer), workspace_(scorer.idle_[static_cast<int>(direction)].Take([&] {
          return scorer.kernel(direction)->MakeWorkspace();
        })) {}
  ~Lease() {
    kernels::CellCounts& counts = workspace_->counts;
    scorer_.open_cells_.fetch_add(counts.open, std::memory_order_relaxed);
    scorer_.skipped_cells_.fetch_add(counts.skipped, std::memory_order_relaxed);
    counts = {};
  }
  InteractionKernel::Workspace& operator*() const { return *workspace_; }

 private:
  const KernelScorer& scorer_;
  const IdlePool<InteractionKernel::Workspace>::Lease workspace_;
};

// Some items, prepared side by side.
class KernelScorer::PreparedBlock {
 public:
  PreparedBlock(const KernelScorer& scorer, Direction direction, const EncodedItemsView& items,
                absl::Span<const int64_t> rows)
      : count_(static_cast<int64_t>(rows.size())),
        stride_(
            PreparedBytes(*scorer.kernel(direction), items.modality, direction, items.positions)),
        bytes_(stride_ * count_) {
    scorer.options_.team->Run(count_, [&](int64_t i) {
      const Lease workspace(scorer, direction);
      Prepare(*scorer.kernel(direction), items, direction, rows[i], bytes_.get() + i * stride_,
              *workspace);
    });
  }
  int64_t count() const { return count_; }
  const unsigned char* item(int64_t i) const { return bytes_.get() + i * stride_; }

 private:
  const int64_t count_;
  const size_t stride_;
  const AlignedBytes bytes_;
};

KernelScorer::KernelScorer(Kernels kernels, ModelInfo info, const Options& options)
    : kernels_(std::move(kernels)), info_(std::move(info)), options_(options) {
  if (options_.team == nullptr) options_.team = std::make_shared<ThreadTeam>(/*threads=*/0);
}

KernelScorer::~KernelScorer() = default;

absl::StatusOr<std::unique_ptr<FeatureBank>> KernelScorer::MakeBank(
    const EncodedItemsView& features) const {
  RETURN_IF_ERROR(CheckFeatureShape(features, info_));
  return std::make_unique<Bank>(features, kernels_, options_.prepared_bytes);
}

absl::StatusOr<std::unique_ptr<FeatureBank>> KernelScorer::MakeSlabBank(
    const EncodedItemsView& shape, int64_t capacity) const {
  RETURN_IF_ERROR(CheckFeatureShape(shape, info_));
  ASSIGN_OR_RETURN(std::unique_ptr<SlabItems> slab, SlabItems::Create(shape, capacity));
  const EncodedItemsView items = slab->view();
  return std::make_unique<Bank>(items, kernels_, options_.prepared_bytes, std::move(slab));
}

RoutingCounts KernelScorer::routing_counts() const {
  return {.run = open_cells_.load(std::memory_order_relaxed),
          .skipped = skipped_cells_.load(std::memory_order_relaxed)};
}

absl::StatusOr<std::vector<PairScores>> KernelScorer::Score(
    absl::Span<const ScoringRequest> requests) const {
  for (const ScoringRequest& request : requests) {
    if (dynamic_cast<const Bank*>(request.bank) == nullptr) {
      return absl::InvalidArgumentError("the feature bank was not made by this scorer");
    }
    RETURN_IF_ERROR(CheckScoringRequest(request, info_));
  }
  std::vector<PairScores> results(requests.size());
  for (Direction direction : kDirections) {
    if (kernel(direction) != nullptr) {
      ScoreDirection(requests, direction, absl::MakeSpan(results));
    }
  }
  return results;
}

void KernelScorer::ScoreDirection(absl::Span<const ScoringRequest> requests, Direction direction,
                                  absl::Span<PairScores> results) const {
  const InteractionKernel& kernel = *this->kernel(direction);
  const int d = static_cast<int>(direction);
  struct Pair {
    const Bank* bank;
    int64_t row;
    const unsigned char* query;
  };
  std::vector<AlignedBytes> queries;
  std::vector<Pair> pairs;
  bool want_paths = false;
  {
    const Lease workspace(*this, direction);
    for (const ScoringRequest& request : requests) {
      if (!Uses(request.mode, direction)) continue;
      const EncodedItemsView& query = request.query;
      AlignedBytes& prepared =
          queries.emplace_back(PreparedBytes(kernel, query.modality, direction, query.lengths[0]));
      Prepare(kernel, query, direction, 0, prepared.get(), *workspace);
      for (int64_t row : request.rows) {
        pairs.push_back({static_cast<const Bank*>(request.bank), row, prepared.get()});
      }
      want_paths = want_paths || request.want_paths;
    }
  }

  const int64_t count = static_cast<int64_t>(pairs.size());
  std::vector<float> scores(count);
  std::vector<float> paths(want_paths ? count * kNumPathWeights : 0);
  // As few groups as there can be, of equal size.
  const int64_t groups = (count + kernel.group_size() - 1) / kernel.group_size();
  const int64_t group = groups == 0 ? 1 : (count + groups - 1) / groups;
  options_.team->Run((count + group - 1) / group, [&](int64_t task) {
    const Lease workspace(*this, direction);
    const int64_t first = task * group;
    const int size = static_cast<int>(std::min(group, count - first));
    size_t stride = 0;
    for (int i = 0; i < size; ++i) {
      stride = std::max(stride, pairs[first + i].bank->stride(direction));
    }
    std::unique_ptr<AlignedBytes> scratch;
    std::vector<PreparedPair> prepared(size);
    for (int i = 0; i < size; ++i) {
      const Pair& pair = pairs[first + i];
      const unsigned char* item = pair.bank->Find(direction, pair.row);
      if (item == nullptr) {
        if (scratch == nullptr) scratch = std::make_unique<AlignedBytes>(stride * size);
        item =
            pair.bank->Make(kernel, direction, pair.row, scratch->get() + i * stride, *workspace);
      }
      prepared[i] = IsLocal(pair.bank->modality(), direction) ? PreparedPair{item, pair.query}
                                                              : PreparedPair{pair.query, item};
    }
    kernel.Score(prepared.data(), size, scores.data() + first,
                 want_paths ? paths.data() + first * kNumPathWeights : nullptr, *workspace);
  });

  int64_t first = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    const ScoringRequest& request = requests[i];
    if (!Uses(request.mode, direction)) continue;
    const int64_t size = static_cast<int64_t>(request.rows.size());
    results[i].scores[d].assign(scores.begin() + first, scores.begin() + first + size);
    if (request.want_paths) {
      results[i].paths[d].assign(paths.begin() + first * kNumPathWeights,
                                 paths.begin() + (first + size) * kNumPathWeights);
    }
    first += size;
  }
}

void KernelScorer::ScoreMatrix(Direction direction, const EncodedItemsView& images,
                               absl::Span<const int64_t> image_rows,
                               const EncodedItemsView& captions,
                               absl::Span<const int64_t> caption_rows, absl::Span<float> out,
                               const std::function<void(int64_t)>& progress) const {
  const InteractionKernel& kernel = *this->kernel(direction);
  const int64_t num_captions = static_cast<int64_t>(caption_rows.size());
  // An item's preparation is spread over so many pairs.
  constexpr int64_t kBlock = 512;
  for (int64_t i = 0; i < static_cast<int64_t>(image_rows.size()); i += kBlock) {
    const PreparedBlock block_images(*this, direction, images, image_rows.subspan(i, kBlock));
    for (int64_t c = 0; c < num_captions; c += kBlock) {
      const PreparedBlock block_captions(*this, direction, captions,
                                         caption_rows.subspan(c, kBlock));
      options_.team->Run(block_images.count(), [&](int64_t image) {
        const Lease workspace(*this, direction);
        std::vector<PreparedPair> pairs(block_captions.count());
        for (int64_t caption = 0; caption < block_captions.count(); ++caption) {
          const unsigned char* const a = block_images.item(image);
          const unsigned char* const b = block_captions.item(caption);
          pairs[caption] = direction == Direction::kI2t ? PreparedPair{a, b} : PreparedPair{b, a};
        }
        kernel.Score(pairs.data(), static_cast<int>(pairs.size()),
                     out.data() + (i + image) * num_captions + c, nullptr, *workspace);
      });
      if (progress) progress(block_images.count() * block_captions.count());
    }
  }
}

}  // namespace dime
