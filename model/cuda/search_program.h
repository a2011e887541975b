#ifndef DIME_MODEL_CUDA_SEARCH_PROGRAM_H_
#define DIME_MODEL_CUDA_SEARCH_PROGRAM_H_

#include <algorithm>
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
#include "model/cuda/device_memory.h"
#include "model/cuda/device_search.h"
#include "model/cuda/search_kernels.h"

namespace dime::cuda {

// DeviceSearch in terms of a Device (see device_memory.h).
template <class Device>
class SearchProgram : public DeviceSearch {
 public:
  static absl::StatusOr<std::unique_ptr<DeviceSearch>> Create(std::unique_ptr<Device> device,
                                                              absl::Span<const float> vectors,
                                                              int dim) {
    if (dim < 1 || vectors.empty() || vectors.size() % static_cast<size_t>(dim) != 0) {
      return absl::InvalidArgumentError(absl::StrCat("search on the device: ", vectors.size(),
                                                     " floats are no vectors of ", dim));
    }
    const auto rows = static_cast<int64_t>(vectors.size()) / dim;
    if (rows > kMaxRows) {
      return absl::ResourceExhaustedError(
          absl::StrCat("search on the device takes up to ", kMaxRows, " vectors, not ", rows));
    }
    std::unique_ptr<SearchProgram> program(new SearchProgram(std::move(device), rows, dim));
    RETURN_IF_ERROR(program->Fill(vectors));
    return std::unique_ptr<DeviceSearch>(std::move(program));
  }

  int max_queries() const override { return kMaxQueries; }
  int64_t max_results() const override { return capacity_; }
  absl::StatusOr<std::vector<std::vector<Candidate>>> Search(
      absl::Span<const Query> queries) override;

 private:
  static constexpr int64_t kMaxRows = (int64_t{1} << 31) - 1;
  static constexpr int64_t kMaxResults = 1 << 16;
  static constexpr int64_t kUploadRows = 1 << 16;  // multiple of kWarp

  SearchProgram(std::unique_ptr<Device> device, int64_t rows, int dim)
      : device_(std::move(device)),
        memory_(device_.get()),
        rows_(rows),
        dim_(dim),
        padded_dim_((dim + 3) / 4 * 4),
        capacity_(static_cast<int>(std::min(rows, kMaxResults))) {}

  absl::Status Fill(absl::Span<const float> vectors);

  const std::unique_ptr<Device> device_;
  DeviceMemory<Device> memory_;  // of all that follows
  const int64_t rows_;
  const int dim_;
  const int padded_dim_;
  const int capacity_;
  float* vectors_ = nullptr;
  float* queries_ = nullptr;
  uint32_t* masks_[kMaxQueries] = {};  // null until one is needed
  uint32_t* keys_ = nullptr;
  SelectionState* states_ = nullptr;
  int* sizes_ = nullptr;
  uint32_t* found_rows_ = nullptr;
  uint32_t* found_keys_ = nullptr;
};

template <class Device>
absl::Status SearchProgram<Device>::Fill(absl::Span<const float> vectors) {
  const int64_t padded_rows = (rows_ + kWarp - 1) / kWarp * kWarp;
  ASSIGN_OR_RETURN(vectors_, memory_.template Allocate<float>(padded_rows * padded_dim_));
  ASSIGN_OR_RETURN(queries_, memory_.template Allocate<float>(kMaxQueries * padded_dim_));
  ASSIGN_OR_RETURN(keys_, memory_.template Allocate<uint32_t>(kMaxQueries * rows_));
  ASSIGN_OR_RETURN(states_, memory_.template Allocate<SelectionState>(kMaxQueries));
  ASSIGN_OR_RETURN(sizes_, memory_.template Allocate<int>(kMaxQueries));
  ASSIGN_OR_RETURN(found_rows_, memory_.template Allocate<uint32_t>(kMaxQueries * capacity_));
  ASSIGN_OR_RETURN(found_keys_, memory_.template Allocate<uint32_t>(kMaxQueries * capacity_));
  // In the kernel's layout, some rows at a time.
  std::vector<float> chunk;
  for (int64_t first = 0; first < rows_; first += kUploadRows) {
    const int64_t count = std::min(kUploadRows, rows_ - first);
    const int64_t padded = (count + kWarp - 1) / kWarp * kWarp;
    chunk.assign(static_cast<size_t>(padded * padded_dim_), 0.0f);
    for (int64_t r = 0; r < count; ++r) {
      const float* const row = vectors.data() + (first + r) * dim_;
      float* const group = chunk.data() + r / kWarp * kWarp * padded_dim_;
      for (int d = 0; d < dim_; ++d) {
        group[(int64_t{d / 4} * kWarp + r % kWarp) * 4 + d % 4] = row[d];
      }
    }
    device_->Upload(vectors_ + first * padded_dim_, chunk.data(), chunk.size() * sizeof(float));
    RETURN_IF_ERROR(device_->Finish());
  }
  return absl::OkStatus();
}

template <class Device>
absl::StatusOr<std::vector<std::vector<Candidate>>> SearchProgram<Device>::Search(
    absl::Span<const Query> queries) {
  const int count = static_cast<int>(queries.size());
  if (count < 1 || count > kMaxQueries) {
    return absl::InvalidArgumentError(absl::StrCat(count, " queries in a search on the device"));
  }
  SearchScoreKernel score = {.vectors = vectors_,
                             .rows = rows_,
                             .dim = padded_dim_,
                             .num_queries = count,
                             .queries = queries_,
                             .keys = keys_};
  std::vector<float> vectors(static_cast<size_t>(count) * padded_dim_, 0.0f);
  std::vector<SelectionState> states(static_cast<size_t>(count));
  for (int q = 0; q < count; ++q) {
    const Query& query = queries[static_cast<size_t>(q)];
    if (query.k < 1 || query.k > capacity_) {
      return absl::InvalidArgumentError(absl::StrCat(
          query.k, " results of a search on the device, which gives 1 to ", capacity_));
    }
    std::copy_n(query.vector, dim_, vectors.begin() + int64_t{q} * padded_dim_);
    states[static_cast<size_t>(q)] = {.left = static_cast<int>(query.k)};
    if (query.mask == nullptr) continue;
    const int64_t words = (rows_ + 31) / 32;
    if (masks_[q] == nullptr) {
      ASSIGN_OR_RETURN(masks_[q], memory_.template Allocate<uint32_t>(words));
    }
    device_->Upload(masks_[q], query.mask, static_cast<size_t>(words) * sizeof(uint32_t));
    score.masks[q] = masks_[q];
  }
  device_->Upload(queries_, vectors.data(), vectors.size() * sizeof(float));
  device_->Upload(states_, states.data(), states.size() * sizeof(SelectionState));
  device_->Zero(sizes_, sizeof(int) * kMaxQueries);

  const auto blocks = [this](int64_t rows_a_block) {
    return static_cast<int>((rows_ + rows_a_block - 1) / rows_a_block);
  };
  const int64_t many = int64_t{kBlockThreads} * kRowsAThread;
  device_->Launch(score, blocks(kBlockThreads), 1, SearchScoreKernel::SharedBytes(padded_dim_));
  for (int pass = 0; pass < 2 * kKeyPasses; ++pass) {
    device_->Launch(
        SearchHistogramKernel{.keys = keys_, .rows = rows_, .pass = pass, .states = states_},
        blocks(many), count, SearchHistogramKernel::SharedBytes());
    device_->Launch(SearchDigitKernel{.pass = pass, .states = states_}, count, 1, 0);
  }
  device_->Launch(SearchCollectKernel{.keys = keys_,
                                      .rows = rows_,
                                      .states = states_,
                                      .capacity = capacity_,
                                      .sizes = sizes_,
                                      .found_rows = found_rows_,
                                      .found_keys = found_keys_},
                  blocks(many), count, 0);
  std::vector<int> sizes(static_cast<size_t>(count));
  device_->Download(sizes.data(), sizes_, sizes.size() * sizeof(int));
  RETURN_IF_ERROR(device_->Finish());

  std::vector<std::vector<Candidate>> results(static_cast<size_t>(count));
  std::vector<uint32_t> rows, keys;
  for (int q = 0; q < count; ++q) {
    const auto size = static_cast<size_t>(sizes[static_cast<size_t>(q)]);
    if (size == 0) continue;
    if (size > static_cast<size_t>(queries[static_cast<size_t>(q)].k)) {
      return absl::InternalError(absl::StrCat("the device found ", size, " of ",
                                              queries[static_cast<size_t>(q)].k, " results"));
    }
    rows.resize(size);
    keys.resize(size);
    device_->Download(rows.data(), found_rows_ + int64_t{q} * capacity_, size * sizeof(uint32_t));
    device_->Download(keys.data(), found_keys_ + int64_t{q} * capacity_, size * sizeof(uint32_t));
    RETURN_IF_ERROR(device_->Finish());
    std::vector<Candidate>& found = results[static_cast<size_t>(q)];
    found.resize(size);
    for (size_t i = 0; i < size; ++i) {
      const uint32_t bits = ScoreBitsOf(keys[i]);
      found[i].row = rows[i];
      std::memcpy(&found[i].score, &bits, sizeof(bits));
    }
    std::sort(found.begin(), found.end(), [](const Candidate& a, const Candidate& b) {
      return a.score != b.score ? a.score > b.score : a.row < b.row;
    });
  }
  return results;
}

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_SEARCH_PROGRAM_H_
