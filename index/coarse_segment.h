#ifndef DIME_INDEX_COARSE_SEGMENT_H_
#define DIME_INDEX_COARSE_SEGMENT_H_

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/coarse_index.h"
#include "index/vector_searcher.h"

namespace dime {

// The inner product of two vectors of one width, always summed in the same order.
float InnerProduct(absl::Span<const float> a, absl::Span<const float> b);

// When rows ended: the number of the write that replaced or removed each, or kAlive. A view of
// sequence S sees a row as alive while its end lies beyond S, so that marks made later do not
// change what it sees. Marks may be set while others read.
inline constexpr int64_t kAlive = std::numeric_limits<int64_t>::max();

// The coarse embeddings of a gallery's rows up to some write, with their FAISS index: derived from
// the store, immutable but for the marks of rows that ended. Kept as two files, NAME.rows and
// NAME.faiss, each with its checksum. Thread-safe.
class CoarseBase {
 public:
  // `rows`: ascending. `vectors`: (rows.size(), dim). `sequence`: the write up to which the rows
  // were alive.
  static absl::StatusOr<std::shared_ptr<CoarseBase>> Build(std::vector<int64_t> rows,
                                                           std::vector<float> vectors, int dim,
                                                           int64_t sequence,
                                                           const CoarseIndex::Options& options);
  // INVALID_ARGUMENT for damaged files or ones that do not belong together, NOT_FOUND if one is
  // missing.
  static absl::StatusOr<std::shared_ptr<CoarseBase>> Load(const std::string& name);
  absl::Status Save(const std::string& name) const;
  static std::string RowsPath(const std::string& name);
  static std::string IndexPath(const std::string& name);

  int64_t size() const { return static_cast<int64_t>(rows_.size()); }
  int dim() const { return dim_; }
  int64_t sequence() const { return sequence_; }
  const CoarseIndex& index() const { return *index_; }
  // See vector_searcher.h. Before the base is shared.
  absl::Status SearchElsewhere(const VectorSearcherFactory* factory) {
    return dime::SearchElsewhere(factory, vectors_, *index_);
  }
  int64_t row(int64_t place) const { return rows_[static_cast<size_t>(place)]; }
  absl::Span<const float> vector(int64_t place) const {
    return absl::MakeConstSpan(vectors_).subspan(
        static_cast<size_t>(place) * static_cast<size_t>(dim_), static_cast<size_t>(dim_));
  }
  // The first place whose row is not below `row`; size() if there is none.
  int64_t FirstPlace(int64_t row) const;
  std::optional<int64_t> FindPlace(int64_t row) const;
  bool AliveAt(int64_t place, int64_t sequence) const { return EndOf(place) > sequence; }
  int64_t EndOf(int64_t place) const {
    return ends_[static_cast<size_t>(place)].load(std::memory_order_relaxed);
  }
  void SetEnd(int64_t place, int64_t sequence) {
    ends_[static_cast<size_t>(place)].store(sequence, std::memory_order_relaxed);
  }

 private:
  CoarseBase(std::vector<int64_t> rows, std::vector<float> vectors, int dim, int64_t sequence,
             std::unique_ptr<CoarseIndex> index);

  const std::vector<int64_t> rows_;   // ascending
  const std::vector<float> vectors_;  // (size, dim)
  const int dim_;
  const int64_t sequence_;
  const std::unique_ptr<CoarseIndex> index_;
  const std::unique_ptr<std::atomic<int64_t>[]> ends_;
};

// The rows written since the base was built, to be scanned one by one. One thread at a time
// appends; a reader keeps to the first `count` rows that it was told of, whose place in memory
// never changes. Copying a tail shares its chunks: the copy that is appended to is the one that
// lives on.
class CoarseTail {
 public:
  explicit CoarseTail(int dim) : dim_(dim) {}

  int64_t size() const { return size_; }
  // `row` must be greater than those before. Returns its place.
  int64_t Append(int64_t row, absl::Span<const float> vector);

  int64_t row(int64_t place) const { return chunk(place).rows[Within(place)]; }
  absl::Span<const float> vector(int64_t place) const {
    return absl::MakeConstSpan(chunk(place).vectors)
        .subspan(Within(place) * static_cast<size_t>(dim_), static_cast<size_t>(dim_));
  }
  bool AliveAt(int64_t place, int64_t sequence) const { return EndOf(place) > sequence; }
  int64_t EndOf(int64_t place) const {
    return chunk(place).ends[Within(place)].load(std::memory_order_relaxed);
  }
  void SetEnd(int64_t place, int64_t sequence) const {
    chunk(place).ends[Within(place)].store(sequence, std::memory_order_relaxed);
  }
  // As CoarseBase's.
  int64_t FirstPlace(int64_t row) const;
  std::optional<int64_t> FindPlace(int64_t row) const;

 private:
  static constexpr int64_t kChunkRows = 512;
  struct Chunk {
    explicit Chunk(int dim) : vectors(static_cast<size_t>(kChunkRows * dim)) {}
    int64_t rows[kChunkRows];
    std::atomic<int64_t> ends[kChunkRows];
    std::vector<float> vectors;
  };
  Chunk& chunk(int64_t place) const { return *chunks_[static_cast<size_t>(place / kChunkRows)]; }
  static size_t Within(int64_t place) { return static_cast<size_t>(place % kChunkRows); }

  int dim_;
  int64_t size_ = 0;
  std::vector<std::shared_ptr<Chunk>> chunks_;
};

}  // namespace dime

#endif  // DIME_INDEX_COARSE_SEGMENT_H_
