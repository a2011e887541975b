#ifndef DIME_MODEL_CUDA_CUDA_SEARCHER_H_
#define DIME_MODEL_CUDA_CUDA_SEARCHER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/vector_searcher.h"
#include "model/cuda/device_search.h"
#include "model/shared_calls.h"

namespace dime {

// The first stage on a CUDA device: all vectors there in float32, each search exact. Concurrent
// queries share passes over them (see SharedCalls). A query
// that rows are left out of is first asked for somewhat more results, of which those are dropped;
// only where too few are left it goes again with a mask of all rows, which the host has to make.
// Thread-safe.
class CudaSearcher : public VectorSearcher {
 public:
  // `rows`: of the vectors that `search` was made of.
  CudaSearcher(std::unique_ptr<cuda::DeviceSearch> search, int64_t rows);

  int64_t max_results() const override { return search_->max_results(); }
  absl::StatusOr<std::vector<Candidate>> Search(absl::Span<const float> query, int64_t k,
                                                const RowSelection* selection) const override;

 private:
  struct Item {
    cuda::DeviceSearch::Query query;
    absl::StatusOr<std::vector<Candidate>> found = absl::UnknownError("not searched");
  };
  absl::StatusOr<std::vector<Candidate>> Run(const cuda::DeviceSearch::Query& query) const;

  const std::unique_ptr<cuda::DeviceSearch> search_;  // used within calls_ alone
  const int64_t rows_;
  mutable SharedCalls<Item> calls_;
};

class CudaSearcherFactory : public VectorSearcherFactory {
 public:
  using MakeSearch = std::function<absl::StatusOr<std::unique_ptr<cuda::DeviceSearch>>(
      absl::Span<const float> vectors, int dim)>;
  // On CUDA device `device`.
  explicit CudaSearcherFactory(int device);
  // Elsewhere, for tests.
  CudaSearcherFactory(MakeSearch make, std::string place);

  absl::StatusOr<std::unique_ptr<VectorSearcher>> Make(absl::Span<const float> vectors,
                                                       int dim) const override;
  std::string place() const override { return place_; }

 private:
  const MakeSearch make_;
  const std::string place_;
};

// What a program's --recall-device asks for: null for "cpu"; "cuda" or "cuda:N". INVALID_ARGUMENT
// for another word. Whether there is such a device shows when it makes a searcher.
absl::StatusOr<std::unique_ptr<VectorSearcherFactory>> SearchersOn(const std::string& device);

}  // namespace dime

#endif  // DIME_MODEL_CUDA_CUDA_SEARCHER_H_
