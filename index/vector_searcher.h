#ifndef DIME_INDEX_VECTOR_SEARCHER_H_
#define DIME_INDEX_VECTOR_SEARCHER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/coarse_index.h"

namespace dime {

// Exact search of some vectors by inner product elsewhere than in FAISS, such as on a GPU. What it
// finds is what CoarseIndex::Search() does with a form that loses nothing, up to the rounding of
// sums in another order. Implementations are thread-safe, and let concurrent queries share passes.
class VectorSearcher {
 public:
  virtual ~VectorSearcher() = default;
  // The largest k of a search.
  virtual int64_t max_results() const = 0;
  // `query`: finite. `selection`: the rows that may be found; null = all.
  virtual absl::StatusOr<std::vector<Candidate>> Search(absl::Span<const float> query, int64_t k,
                                                        const RowSelection* selection) const = 0;
};

// Makes searchers. Thread-safe; must outlive what it makes.
class VectorSearcherFactory {
 public:
  virtual ~VectorSearcherFactory() = default;
  // Of `vectors`, (count, dim), which are not needed afterwards. RESOURCE_EXHAUSTED if they do not
  // fit where they should be searched.
  virtual absl::StatusOr<std::unique_ptr<VectorSearcher>> Make(absl::Span<const float> vectors,
                                                               int dim) const = 0;
  // Where that is, for people: "cuda:0".
  virtual std::string place() const = 0;
};

// Has `index`, which is of these vectors and not shared yet, search by a searcher of `factory`'s.
// Nothing is done without a factory or vectors; where they do not fit the index searches itself, of
// which standard error is warned.
absl::Status SearchElsewhere(const VectorSearcherFactory* factory, absl::Span<const float> vectors,
                             CoarseIndex& index);

}  // namespace dime

#endif  // DIME_INDEX_VECTOR_SEARCHER_H_
