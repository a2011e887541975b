#ifndef DIME_MODEL_CUDA_DEVICE_SEARCH_H_
#define DIME_MODEL_CUDA_DEVICE_SEARCH_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/coarse_index.h"

namespace dime::cuda {

// Exact search of vectors on a device, several queries in one pass over them. Scores are inner
// products in float32, summed in the channels' order. One call at a time.
class DeviceSearch {
 public:
  struct Query {
    const float* vector = nullptr;   // (dim)
    int64_t k = 0;                   // 1 to max_results()
    const uint32_t* mask = nullptr;  // the rows that may be found, a bit each; null: all
  };
  virtual ~DeviceSearch() = default;
  virtual int max_queries() const = 0;
  virtual int64_t max_results() const = 0;
  // Of each query the k best rows, best first, ties by the smaller row; fewer if fewer may be
  // found. Errors are the device's.
  virtual absl::StatusOr<std::vector<std::vector<Candidate>>> Search(
      absl::Span<const Query> queries) = 0;
};

// Of `vectors`, (rows, dim) float32, which are not needed afterwards, on CUDA device `device`.
// UNIMPLEMENTED in a build without the CUDA toolkit, FAILED_PRECONDITION if there is no such
// device, RESOURCE_EXHAUSTED if its memory does not suffice.
absl::StatusOr<std::unique_ptr<DeviceSearch>> MakeCudaSearch(absl::Span<const float> vectors,
                                                             int dim, int device);

// On the emulator, for tests. `descending`: see Emulator::Order.
absl::StatusOr<std::unique_ptr<DeviceSearch>> MakeEmulatedSearch(absl::Span<const float> vectors,
                                                                 int dim, bool descending);

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_DEVICE_SEARCH_H_
