#ifndef DIME_INDEX_COARSE_INDEX_H_
#define DIME_INDEX_COARSE_INDEX_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace dime {

class VectorSearcher;

// An item that the first stage recalled.
struct Candidate {
  int64_t row = 0;  // dense number within the gallery's images or captions
  float score = 0;  // inner product of unit coarse embeddings, in [-1, 1]
};

// Some rows of an index. Implementations are thread-safe and quick: they are asked row by row.
class RowSelection {
 public:
  virtual ~RowSelection() = default;
  virtual bool Contains(int64_t row) const = 0;
};

// The efforts worth trying with an index of this factory string (see CoarseIndex::SearchOptions),
// ascending: for IVF the powers of two up to its lists, for HNSW those from 16 to 1024; for other
// forms, which know no effort, 0 alone.
std::vector<int> SearchEfforts(const std::string& factory);

// The first stage: a FAISS index of unit vectors under the inner product. FAISS is seen in the .cc
// alone, and its exceptions end there. The same vectors and options give the same index on the same
// machine. Immutable once built or loaded, hence thread-safe; a search runs in its caller's thread.
// Building uses OpenMP's threads for training and lists, one thread for graphs, which would differ
// from run to run otherwise; training looks at 262,144 vectors at most.
class CoarseIndex {
 public:
  struct Options {
    // A FAISS factory string, or "auto" by size; nothing to index is always Flat. The forms that
    // were measured (benchmarks/README.md):
    //   Flat                       loses nothing; time in proportion to size
    //   SQfp16, SQ8                a scan over half or a quarter of the memory; SQ8 is slower
    //   IVF<L>,Flat|SQfp16|SQ8     the lists nearest to the query alone; L near 4 sqrt(n)
    //   HNSW32[,SQfp16|,SQ8]       walks a graph, which takes longest to build and most memory
    // "auto" takes Flat to 50,000 vectors, above that IVF<L>,SQfp16 with L the power of two nearest
    // to 4 sqrt(n), at most 8192.
    std::string factory = "auto";
    // Called in the building thread whenever so many further vectors were added, for progress;
    // training before that is silent. May be empty.
    std::function<void(int64_t added)> on_added;
    // Threads to build with; 0 = all that OpenMP gives.
    int threads = 0;
  };
  struct SearchOptions {
    // Effort of approximate forms: nprobe of IVF, efSearch of HNSW (where that is below `k`, k
    // counts); other forms ignore it. 0 = the default: an eighth of the lists but at least 8;
    // efSearch 256.
    int effort = 0;
    // Only these rows are found; null = all. Forms that cannot leave rows out while they search
    // (other than Flat and IVF) are asked for more and more until `k` are left.
    const RowSelection* selection = nullptr;
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

  // From now on this searches, which is of the same vectors, at `place`: exactly, whatever the form
  // and the effort. Before the index is shared.
  void SearchBy(std::unique_ptr<const VectorSearcher> searcher, std::string place);

  int64_t size() const;
  int dim() const;
  const std::string& factory() const;  // the string actually used; never "auto"
  // How it searches, for people: factory(), or "exact on cuda:0".
  std::string description() const;
  // Whether the form's scores are inner products of the vectors as they were given, not of quantised
  // or projected ones.
  bool keeps_vectors() const;

  // The `k` best rows for one query of dim() floats, best first, ties by the smaller row, also at
  // the k-th place among all that the form looks at: all vectors for Flat and SQ, for IVF those of
  // the probed lists. Where these hold fewer than `k`, twice as many are probed until there are k.
  // Fewer than k come back if the index holds fewer (a graph of HNSW, whose ends a walk may not
  // reach, can give fewer too). Quantised forms score what they kept of a vector, so that vectors
  // that differ little may tie. INVALID_ARGUMENT for a negative `k` or effort and for a query of
  // another size or with a NaN or infinity.
  absl::StatusOr<std::vector<Candidate>> Search(absl::Span<const float> query, int64_t k,
                                                const SearchOptions& options) const;

 private:
  struct Impl;
  explicit CoarseIndex(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace dime

#endif  // DIME_INDEX_COARSE_INDEX_H_
