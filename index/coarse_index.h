#ifndef DIME_INDEX_COARSE_INDEX_H_
#define DIME_INDEX_COARSE_INDEX_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace dime {

// An item that the first stage recalled.
struct Candidate {
  int64_t row = 0;  // dense number within the gallery's images or captions
  float score = 0;  // inner product of unit coarse embeddings, in [-1, 1]
};

// The first stage: a FAISS index of unit vectors under the inner product. FAISS is seen in the .cc
// alone, and its exceptions end there. The same vectors and options give the same index on the same
// machine. Immutable once built or loaded, hence thread-safe; a search runs in its caller's thread.
class CoarseIndex {
 public:
  struct Options {
    // A FAISS factory string ("Flat", "IVF256,Flat", "HNSW32", "SQ8", ...), or "auto" by size:
    // Flat to 50,000 vectors, above that IVF<L>,Flat with L the power of two nearest to 4 sqrt(n).
    // Nothing to index is always Flat.
    std::string factory = "auto";
  };
  struct SearchOptions {
    // Effort of approximate forms: nprobe of IVF, efSearch of HNSW; other forms ignore it.
    // 0 = the default: a sixteenth of the lists but at least 8; efSearch 64.
    int effort = 0;
  };

  // `vectors`: (count, dim) float32 row-major, unit rows. INVALID_ARGUMENT for a factory string
  // that FAISS does not take or whose metric or training needs do not fit (it says which).
  static absl::StatusOr<std::unique_ptr<CoarseIndex>> Build(absl::Span<const float> vectors,
                                                            int dim, const Options& options);
  // INVALID_ARGUMENT for a damaged file: FAISS sees its bytes only once their checksum fits.
  static absl::StatusOr<std::unique_ptr<CoarseIndex>> Load(const std::string& path);
  // The file appears under its name when it is whole (it is written beside it as NAME.part).
  absl::Status Save(const std::string& path) const;
  ~CoarseIndex();

  int64_t size() const;
  int dim() const;
  const std::string& factory() const;  // the string actually used; never "auto"

  // The `k` best rows for one query of dim() floats, best first, ties by the smaller row, also at
  // the k-th place among all that the form looks at: all vectors for Flat, those of the probed
  // lists for IVF. Fewer if the index, or what the form looks at, holds fewer. INVALID_ARGUMENT for
  // a negative `k` or effort and for a query of another size or with a NaN or infinity.
  absl::StatusOr<std::vector<Candidate>> Search(absl::Span<const float> query, int64_t k,
                                                const SearchOptions& options) const;

 private:
  struct Impl;
  explicit CoarseIndex(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace dime

#endif  // DIME_INDEX_COARSE_INDEX_H_
