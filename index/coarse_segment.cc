#include "index/coarse_segment.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "index/durable_file.h"
#include "index/mapped_file.h"
#include "index/status_macros.h"

namespace dime {
namespace {

// The file NAME.rows: this header, the rows (int64), the vectors (float32); little-endian.
constexpr char kMagic[8] = {'D', 'I', 'M', 'E', 'R', 'O', 'W', 'S'};
constexpr uint32_t kFormatVersion = 1;
struct RowsHeader {
  char magic[8];
  uint32_t version;
  uint32_t crc32;  // of all that follows it
  int64_t sequence;
  int64_t count;
  int32_t dim;
  uint32_t reserved;  // 0
};
static_assert(sizeof(RowsHeader) == 40);
constexpr size_t kCheckedFrom = offsetof(RowsHeader, sequence);

std::unique_ptr<std::atomic<int64_t>[]> AllAlive(size_t count) {
  std::unique_ptr<std::atomic<int64_t>[]> ends(new std::atomic<int64_t>[count]);
  for (size_t i = 0; i < count; ++i) ends[i].store(kAlive, std::memory_order_relaxed);
  return ends;
}

}  // namespace

float InnerProduct(absl::Span<const float> a, absl::Span<const float> b) {
  // Sums of their own for each of 16 places, so that a compiler may use vector instructions.
  constexpr size_t kLanes = 16;
  float sums[kLanes] = {};
  const size_t whole = a.size() / kLanes * kLanes;
  const float* const x = a.data();
  const float* const y = b.data();
  for (size_t i = 0; i < whole; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += x[i + lane] * y[i + lane];
  }
  for (size_t i = whole; i < a.size(); ++i) sums[i - whole] += x[i] * y[i];
  for (size_t half = kLanes / 2; half > 0; half /= 2) {
    for (size_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  }
  return sums[0];
}

CoarseBase::CoarseBase(std::vector<int64_t> rows, std::vector<float> vectors, int dim,
                       int64_t sequence, std::unique_ptr<CoarseIndex> index)
    : rows_(std::move(rows)),
      vectors_(std::move(vectors)),
      dim_(dim),
      sequence_(sequence),
      index_(std::move(index)),
      ends_(AllAlive(rows_.size())) {}

std::string CoarseBase::RowsPath(const std::string& name) { return absl::StrCat(name, ".rows"); }
std::string CoarseBase::IndexPath(const std::string& name) { return absl::StrCat(name, ".faiss"); }

absl::StatusOr<std::shared_ptr<CoarseBase>> CoarseBase::Build(std::vector<int64_t> rows,
                                                              std::vector<float> vectors, int dim,
                                                              int64_t sequence,
                                                              const CoarseIndex::Options& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<CoarseIndex> index, CoarseIndex::Build(vectors, dim, options));
  return std::shared_ptr<CoarseBase>(
      new CoarseBase(std::move(rows), std::move(vectors), dim, sequence, std::move(index)));
}

absl::Status CoarseBase::Save(const std::string& name) const {
  const std::string path = RowsPath(name);
  const std::string part = PartPath(path);
  const int descriptor = open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) return FileError(errno, "cannot create", part);
  absl::Cleanup close_descriptor = [descriptor] { close(descriptor); };
  absl::Cleanup remove_part = [&part] { unlink(part.c_str()); };
  RowsHeader header = {
      .version = kFormatVersion, .sequence = sequence_, .count = size(), .dim = dim_};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  const auto header_bytes =
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(&header), sizeof(header));
  header.crc32 =
      Crc32(AsBytes(absl::MakeConstSpan(vectors_)),
            Crc32(AsBytes(absl::MakeConstSpan(rows_)), Crc32(header_bytes.subspan(kCheckedFrom))));
  RETURN_IF_ERROR(WriteFully(descriptor, header_bytes, part));
  RETURN_IF_ERROR(WriteFully(descriptor, AsBytes(absl::MakeConstSpan(rows_)), part));
  RETURN_IF_ERROR(WriteFully(descriptor, AsBytes(absl::MakeConstSpan(vectors_)), part));
  RETURN_IF_ERROR(index_->Save(IndexPath(name)));
  // Last: a pair is whole where its rows are there.
  RETURN_IF_ERROR(CommitPart(descriptor, path));
  std::move(remove_part).Cancel();
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<CoarseBase>> CoarseBase::Load(const std::string& name) {
  const std::string path = RowsPath(name);
  ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  const absl::Span<const std::byte> content = file->bytes();
  const auto error = [&path](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", what));
  };
  RowsHeader header;
  if (content.size() < sizeof(header)) return error("too short");
  std::memcpy(&header, content.data(), sizeof(header));
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0) return error("no rows of an index");
  if (header.version != kFormatVersion) return error("of another format version");
  const size_t rest = content.size() - sizeof(header);
  if (header.count < 0 || header.dim < 1 ||
      static_cast<uint64_t>(header.count) >
          rest / (sizeof(int64_t) + sizeof(float) * static_cast<uint64_t>(header.dim)) ||
      rest != static_cast<uint64_t>(header.count) *
                  (sizeof(int64_t) + sizeof(float) * static_cast<uint64_t>(header.dim))) {
    return error("truncated, or its header is damaged");
  }
  if (Crc32(content.subspan(kCheckedFrom)) != header.crc32) return error("its checksum is wrong");
  const size_t count = static_cast<size_t>(header.count);
  std::vector<int64_t> rows(count);
  std::vector<float> vectors(count * static_cast<size_t>(header.dim));
  if (count > 0) {
    const std::byte* const begin = content.data() + sizeof(header);
    std::memcpy(rows.data(), begin, count * sizeof(int64_t));
    std::memcpy(vectors.data(), begin + count * sizeof(int64_t), vectors.size() * sizeof(float));
  }
  if (!std::is_sorted(rows.begin(), rows.end())) return error("its rows are not in order");
  ASSIGN_OR_RETURN(std::unique_ptr<CoarseIndex> index, CoarseIndex::Load(IndexPath(name)));
  if (index->size() != header.count || index->dim() != header.dim) {
    return error("it and the index beside it do not belong together");
  }
  return std::shared_ptr<CoarseBase>(new CoarseBase(std::move(rows), std::move(vectors), header.dim,
                                                    header.sequence, std::move(index)));
}

int64_t CoarseBase::FirstPlace(int64_t row) const {
  return std::lower_bound(rows_.begin(), rows_.end(), row) - rows_.begin();
}

std::optional<int64_t> CoarseBase::FindPlace(int64_t row) const {
  const int64_t place = FirstPlace(row);
  if (place == size() || this->row(place) != row) return std::nullopt;
  return place;
}

int64_t CoarseTail::Append(int64_t row, absl::Span<const float> vector) {
  const int64_t place = size_;
  if (place / kChunkRows == static_cast<int64_t>(chunks_.size())) {
    chunks_.push_back(std::make_shared<Chunk>(dim_));
  }
  Chunk& last = chunk(place);
  const size_t within = Within(place);
  last.rows[within] = row;
  last.ends[within].store(kAlive, std::memory_order_relaxed);
  std::copy(vector.begin(), vector.end(),
            last.vectors.begin() + static_cast<ptrdiff_t>(within * static_cast<size_t>(dim_)));
  ++size_;
  return place;
}

int64_t CoarseTail::FirstPlace(int64_t row) const {
  int64_t low = 0, high = size_;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (this->row(middle) < row) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

std::optional<int64_t> CoarseTail::FindPlace(int64_t row) const {
  const int64_t place = FirstPlace(row);
  if (place == size_ || this->row(place) != row) return std::nullopt;
  return place;
}

}  // namespace dime
