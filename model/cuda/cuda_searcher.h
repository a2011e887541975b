#ifndef DIME_MODEL_CUDA_CUDA_SEARCHER_H_
#define DIME_MODEL_CUDA_CUDA_SEARCHER_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/vector_searcher.h"
#include "model/cuda/device_search.h"

namespace dime {

// The first stage on a CUDA device: all vectors there in float32, each search exact. While a pass
// over them is under way further queries wait, and the next pass takes as many as it can. A query
// that rows are left out of is first asked for somewhat more results, of which those are dropped;
// only where too few are left it goes again with a mask of all rows, which the host has to make.
// Thread-safe.
class CudaSearcher : public VectorSearcher {
 public:
  // `rows`: of the vectors that `search` was made of.
  CudaSearcher(std::unique_ptr<cuda::DeviceSearch> search, int64_t rows);

  int64_t max_results() const override { return search_->max_results(); }
  absl::StatusOr<std::vector<Candidate>> Search(absl::Span<const float> query, int64_t k,
                                                const RowSelection* selection) const override
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // A query on its way, on its caller's stack.
  struct Waiter {
    cuda::DeviceSearch::Query query;
    absl::StatusOr<std::vector<Candidate>> found = absl::UnknownError("not searched");
    bool done = false;
    std::condition_variable changed{};
  };
  absl::StatusOr<std::vector<Candidate>> Run(const cuda::DeviceSearch::Query& query) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  const std::unique_ptr<cuda::DeviceSearch> search_;  // used by the caller that `searching_` is of
  const int64_t rows_;
  mutable std::mutex mutex_;
  mutable std::deque<Waiter*> waiting_ ABSL_GUARDED_BY(mutex_);
  mutable bool searching_ ABSL_GUARDED_BY(mutex_) = false;
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
