#include "model/cuda/cuda_scorer.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "index/status_macros.h"
#include "model/local_side.h"

namespace dime {
namespace {

using cuda::DeviceBytes;
using cuda::DeviceKernel;
using cuda::HostItems;

}  // namespace

CudaScorer::Blocks::~Blocks() {
  if (bytes_ != nullptr) kernel_->Free(bytes_);
}

absl::Status CudaScorer::Blocks::Reserve(int64_t count, size_t stride) {
  stride_ = stride;
  const size_t bytes = static_cast<size_t>(count) * stride;
  if (bytes <= reserved_) return absl::OkStatus();
  if (bytes_ != nullptr) kernel_->Free(bytes_);
  bytes_ = nullptr;
  reserved_ = 0;
  ASSIGN_OR_RETURN(bytes_, kernel_->Allocate(bytes));
  reserved_ = bytes;
  return absl::OkStatus();
}

// Items on the device, each direction's apart.
class CudaScorer::Bank : public FeatureBank {
 public:
  Bank(const CudaScorer& scorer, Modality modality, int64_t count, bool slab)
      : scorer_(scorer), modality_(modality), count_(count), slab_(slab) {
    for (Direction direction : kDirections) {
      if (scorer.kernel(direction) == nullptr) continue;
      blocks_[static_cast<int>(direction)] = std::make_unique<Blocks>(scorer.kernel(direction));
    }
  }

  absl::Status Reserve() {
    for (Direction direction : kDirections) {
      Blocks* const blocks = blocks_[static_cast<int>(direction)].get();
      if (blocks == nullptr || count_ == 0) continue;
      RETURN_IF_ERROR(blocks->Reserve(count_, scorer_.BlockBytes(modality_, direction)));
    }
    return absl::OkStatus();
  }
  absl::Status Fill(absl::Span<const int64_t> places, const EncodedItemsView& items) {
    std::lock_guard<std::mutex> lock(scorer_.mutex_);
    for (Direction direction : kDirections) {
      const Blocks* const blocks = blocks_[static_cast<int>(direction)].get();
      if (blocks == nullptr) continue;
      RETURN_IF_ERROR(scorer_.Prepare(items, direction, *blocks, places));
    }
    return absl::OkStatus();
  }

  Modality modality() const override { return modality_; }
  int64_t count() const override { return count_; }
  absl::Status Write(absl::Span<const int64_t> slots, const EncodedItemsView& items) override {
    if (!slab_) return FeatureBank::Write(slots, items);
    RETURN_IF_ERROR(CheckFeatureShape(items, scorer_.info_));
    if (items.modality != modality_ || static_cast<int64_t>(slots.size()) != items.count) {
      return absl::InvalidArgumentError("the items are not the slab's, or not one for each slot");
    }
    for (const int64_t slot : slots) {
      if (slot < 0 || slot >= count_) {
        return absl::InvalidArgumentError(
            absl::StrCat("slot ", slot, " of a slab of ", count_, " slots"));
      }
    }
    return Fill(slots, items);
  }
  DeviceBytes block(Direction direction, int64_t row) const {
    return blocks_[static_cast<int>(direction)]->at(row);
  }

 private:
  const CudaScorer& scorer_;
  const Modality modality_;
  const int64_t count_;
  const bool slab_;
  std::array<std::unique_ptr<Blocks>, kNumDirections> blocks_;
};

CudaScorer::CudaScorer(Kernels kernels, ModelInfo info)
    : kernels_(std::move(kernels)), info_(std::move(info)) {
  for (Direction direction : kDirections) {
    if (kernel(direction) == nullptr) continue;
    queries_[static_cast<int>(direction)] = std::make_unique<Blocks>(kernel(direction));
  }
}

CudaScorer::~CudaScorer() = default;

size_t CudaScorer::BlockBytes(Modality modality, Direction direction) const {
  return IsLocal(modality, direction) ? kernel(direction)->local_bytes()
                                      : kernel(direction)->context_bytes();
}

absl::StatusOr<std::unique_ptr<FeatureBank>> CudaScorer::MakeBank(
    const EncodedItemsView& features) const {
  RETURN_IF_ERROR(CheckFeatureShape(features, info_));
  auto bank = std::make_unique<Bank>(*this, features.modality, features.count, /*slab=*/false);
  RETURN_IF_ERROR(bank->Reserve());
  std::vector<int64_t> rows(static_cast<size_t>(features.count));
  std::iota(rows.begin(), rows.end(), 0);
  RETURN_IF_ERROR(bank->Fill(rows, features));
  return bank;
}

absl::StatusOr<std::unique_ptr<FeatureBank>> CudaScorer::MakeSlabBank(const EncodedItemsView& shape,
                                                                      int64_t capacity) const {
  RETURN_IF_ERROR(CheckFeatureShape(shape, info_));
  if (capacity < 1) return absl::InvalidArgumentError("a slab needs at least one slot");
  auto bank = std::make_unique<Bank>(*this, shape.modality, capacity, /*slab=*/true);
  RETURN_IF_ERROR(bank->Reserve());
  return bank;
}

int64_t CudaScorer::BankItemBytes(const EncodedItemsView& shape) const {
  size_t bytes = 0;
  for (Direction direction : kDirections) {
    if (kernel(direction) != nullptr) bytes += BlockBytes(shape.modality, direction);
  }
  return static_cast<int64_t>(bytes);
}

int64_t CudaScorer::launch_pairs() const {
  int64_t pairs = std::numeric_limits<int64_t>::max();
  for (const auto& kernel : kernels_) {
    if (kernel != nullptr) pairs = std::min<int64_t>(pairs, kernel->max_items());
  }
  return pairs;
}

RoutingCounts CudaScorer::routing_counts() const {
  return {.run = open_cells_.load(std::memory_order_relaxed),
          .skipped = skipped_cells_.load(std::memory_order_relaxed)};
}

absl::Status CudaScorer::Prepare(const EncodedItemsView& items, Direction direction,
                                 const Blocks& blocks, absl::Span<const int64_t> places) const {
  DeviceKernel& of_direction = *kernel(direction);
  const DirectionFeaturesView& part = items.of(direction);
  const int64_t size = part.embed_size;
  const bool local = IsLocal(items.modality, direction);
  const auto most = static_cast<int64_t>(of_direction.max_items());
  for (int64_t first = 0; first < items.count; first += most) {
    const int64_t count = std::min(most, items.count - first);
    const HostItems chunk = {
        .count = static_cast<int>(count),
        .positions = items.positions,
        .local = part.local.data() + first * items.positions * size,
        .global = part.global.data() + first * size,
        .lengths = items.lengths.data() + first,
    };
    std::vector<DeviceBytes> of_chunk;
    of_chunk.reserve(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) of_chunk.push_back(blocks.at(places[first + i]));
    RETURN_IF_ERROR(local ? of_direction.PrepareLocals(chunk, of_chunk)
                          : of_direction.PrepareContexts(chunk, of_chunk));
  }
  return absl::OkStatus();
}

absl::Status CudaScorer::PrepareQueries(absl::Span<const ScoringRequest> requests,
                                        Direction direction, const Blocks& blocks) const {
  const int d = static_cast<int>(direction);
  for (Modality modality : {Modality::kImage, Modality::kCaption}) {
    std::vector<int64_t> places;
    for (size_t q = 0; q < requests.size(); ++q) {
      const ScoringRequest& request = requests[q];
      if (request.query.modality == modality && Uses(request.mode, direction) &&
          !request.rows.empty()) {
        places.push_back(static_cast<int64_t>(q));
      }
    }
    if (places.empty()) continue;
    if (places.size() == 1) {
      RETURN_IF_ERROR(Prepare(requests[places[0]].query, direction, blocks, places));
      continue;
    }
    // Side by side, for the device is waited for once a call of it. All are of the model's shape.
    EncodedItems joined = {.modality = modality, .count = static_cast<int64_t>(places.size())};
    DirectionFeatures& to = joined.directions[d];
    for (const int64_t place : places) {
      const EncodedItemsView& query = requests[place].query;
      const DirectionFeaturesView& from = query.of(direction);
      joined.positions = query.positions;
      to.embed_size = from.embed_size;
      joined.lengths.insert(joined.lengths.end(), query.lengths.begin(), query.lengths.end());
      to.local.insert(to.local.end(), from.local.begin(), from.local.end());
      to.global.insert(to.global.end(), from.global.begin(), from.global.end());
    }
    RETURN_IF_ERROR(Prepare(joined.view(), direction, blocks, places));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<PairScores>> CudaScorer::Score(
    absl::Span<const ScoringRequest> requests) const {
  for (const ScoringRequest& request : requests) {
    if (dynamic_cast<const Bank*>(request.bank) == nullptr) {
      return absl::InvalidArgumentError("the feature bank was not made by this scorer");
    }
    RETURN_IF_ERROR(CheckScoringRequest(request, info_));
  }
  std::vector<PairScores> results(requests.size());
  std::lock_guard<std::mutex> lock(mutex_);
  for (Direction direction : kDirections) {
    if (kernel(direction) == nullptr) continue;
    RETURN_IF_ERROR(ScoreDirection(requests, direction, absl::MakeSpan(results)));
  }
  return results;
}

absl::Status CudaScorer::ScoreDirection(absl::Span<const ScoringRequest> requests,
                                        Direction direction, absl::Span<PairScores> results) const {
  DeviceKernel& of_direction = *kernel(direction);
  const int d = static_cast<int>(direction);
  // Queries of both kinds may come together; their blocks have room for the larger.
  const size_t stride = std::max(of_direction.local_bytes(), of_direction.context_bytes());
  Blocks& queries = *queries_[d];
  RETURN_IF_ERROR(queries.Reserve(static_cast<int64_t>(requests.size()), stride));
  RETURN_IF_ERROR(PrepareQueries(requests, direction, queries));
  std::vector<DeviceBytes> locals, contexts;
  bool want_paths = false;
  for (size_t q = 0; q < requests.size(); ++q) {
    const ScoringRequest& request = requests[q];
    if (!Uses(request.mode, direction) || request.rows.empty()) continue;
    const auto& bank = static_cast<const Bank&>(*request.bank);
    const bool bank_is_local = IsLocal(bank.modality(), direction);
    for (const int64_t row : request.rows) {
      const DeviceBytes item = bank.block(direction, row),
                        query = queries.at(static_cast<int64_t>(q));
      locals.push_back(bank_is_local ? item : query);
      contexts.push_back(bank_is_local ? query : item);
    }
    want_paths = want_paths || request.want_paths;
  }

  std::vector<float> scores(locals.size());
  std::vector<float> paths(want_paths ? locals.size() * kNumPathWeights : 0);
  const auto most = static_cast<size_t>(of_direction.max_items());
  for (size_t first = 0; first < locals.size(); first += most) {
    const size_t count = std::min(most, locals.size() - first);
    ASSIGN_OR_RETURN(const kernels::CellCounts counts,
                     of_direction.Score(
                         absl::MakeConstSpan(locals).subspan(first, count),
                         absl::MakeConstSpan(contexts).subspan(first, count),
                         absl::MakeSpan(scores).subspan(first, count),
                         absl::MakeSpan(paths).subspan(want_paths ? first * kNumPathWeights : 0,
                                                       want_paths ? count * kNumPathWeights : 0)));
    open_cells_.fetch_add(counts.open, std::memory_order_relaxed);
    skipped_cells_.fetch_add(counts.skipped, std::memory_order_relaxed);
  }

  auto score = scores.begin();
  auto path = paths.begin();
  for (size_t q = 0; q < requests.size(); ++q) {
    const ScoringRequest& request = requests[q];
    if (!Uses(request.mode, direction)) continue;
    const auto size = static_cast<ptrdiff_t>(request.rows.size());
    results[q].scores[d].assign(score, score + size);
    score += size;
    if (!want_paths) continue;
    if (request.want_paths) results[q].paths[d].assign(path, path + size * kNumPathWeights);
    path += size * kNumPathWeights;
  }
  return absl::OkStatus();
}

}  // namespace dime
