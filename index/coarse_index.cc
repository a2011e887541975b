#include "index/coarse_index.h"

#include <faiss/IVFlib.h>
#include <faiss/Index.h>
#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIVF.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/impl/io.h>
#include <faiss/index_factory.h>
#include <faiss/index_io.h>
#include <fcntl.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <exception>
#include <limits>
#include <new>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "index/durable_file.h"
#include "index/float_bits.h"
#include "index/mapped_file.h"
#include "index/status_macros.h"
#include "index/vector_searcher.h"

namespace dime {
namespace {

constexpr absl::string_view kAuto = "auto";
constexpr absl::string_view kFlat = "Flat";
constexpr int64_t kMaxAutoFlat = 50'000;
constexpr int64_t kMaxAutoLists = 8192;  // k-means takes as the square of it
constexpr size_t kMinProbes = 8;
constexpr size_t kListsPerProbe = 8;
constexpr int kDefaultEfSearch = 256;
// Lists and scalar quantisers are trained on so many vectors at most, evenly spread, which bounds
// the time of k-means whatever the size.
constexpr int64_t kMaxTrainingVectors = 262'144;
constexpr int kMaxTrainingPointsPerList =
    128;  // FAISS's 256 takes twice as long for the same lists
// Vectors added between two reports of progress.
constexpr int64_t kAddChunk = 8192;
// How many more than `k` are asked for at first, so that ties at the k-th place are seen.
constexpr int64_t kTieMargin = 16;

// The file: magic, version, CRC-32 of all that follows it, size of the FAISS bytes, size of the
// factory string, the factory string, the FAISS bytes. Little-endian.
constexpr absl::string_view kMagic = "DIMECIDX";
constexpr uint32_t kFormatVersion = 1;
struct FileHeader {
  char magic[8];
  uint32_t version;
  uint32_t crc32;
  uint64_t faiss_bytes;
  uint32_t factory_bytes;
  uint32_t reserved;  // 0
};
static_assert(sizeof(FileHeader) == 32);
constexpr size_t kCheckedFrom = offsetof(FileHeader, faiss_bytes);
constexpr size_t kMaxFactoryBytes = 4096;

// FAISS's own message without the function and source file that it begins with.
std::string FaissMessage(const std::exception& exception) {
  const absl::string_view message = exception.what();
  const size_t file = message.rfind(".cpp:");
  const size_t text = file == absl::string_view::npos ? file : message.find(": ", file);
  return std::string(text == absl::string_view::npos ? message : message.substr(text + 2));
}

// Where the exceptions of FAISS end.
template <typename Action>
absl::Status Guarded(absl::string_view context, Action action) {
  try {
    action();
    return absl::OkStatus();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(context, ": out of memory"));
  } catch (const std::exception& exception) {
    return absl::InvalidArgumentError(absl::StrCat(context, ": ", FaissMessage(exception)));
  }
}

// Holds the calling thread to so many OpenMP threads. A single query is too little work to divide
// (HNSW would wake every core for it), and graphs that are built in parallel differ from run to
// run.
class ThreadLimit {
 public:
  explicit ThreadLimit(int threads) : before_(omp_get_max_threads()) {
    omp_set_num_threads(threads);
  }
  ~ThreadLimit() { omp_set_num_threads(before_); }
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;

 private:
  const int before_;
};

class DescriptorWriter : public faiss::IOWriter {
 public:
  DescriptorWriter(int descriptor, std::string path) : descriptor_(descriptor) { name = path; }

  size_t operator()(const void* items, size_t size, size_t count) override {
    const absl::Span<const std::byte> bytes(static_cast<const std::byte*>(items), size * count);
    status_ = WriteFully(descriptor_, bytes, name);
    if (!status_.ok()) return 0;  // FAISS throws then
    crc32_ = Crc32(bytes, crc32_);
    written_ += bytes.size();
    return count;
  }

  const absl::Status& status() const { return status_; }
  uint64_t written() const { return written_; }
  uint32_t crc32() const { return crc32_; }

 private:
  const int descriptor_;
  absl::Status status_;
  uint64_t written_ = 0;
  uint32_t crc32_ = 0;
};

class SpanReader : public faiss::IOReader {
 public:
  explicit SpanReader(absl::Span<const std::byte> bytes) : rest_(bytes) {}

  size_t operator()(void* items, size_t size, size_t count) override {
    if (size == 0 || count == 0) return 0;
    const size_t whole = std::min(count, rest_.size() / size);
    if (whole != 0) std::memcpy(items, rest_.data(), whole * size);
    rest_.remove_prefix(whole * size);
    return whole;
  }

  bool at_end() const { return rest_.empty(); }

 private:
  absl::Span<const std::byte> rest_;
};

std::string AutoFactory(int64_t count) {
  if (count <= kMaxAutoFlat) return std::string(kFlat);
  const double wanted = 4 * std::sqrt(static_cast<double>(count));
  const int64_t lists = int64_t{1} << std::lround(std::log2(wanted));
  return absl::StrCat("IVF", std::min(lists, kMaxAutoLists), ",SQfp16");
}

bool BuildsGraph(absl::string_view factory) {
  return absl::StrContains(factory, "HNSW") || absl::StrContains(factory, "NSG");
}

// What the search itself runs on, behind a rotation or projection if the factory asked for one.
template <typename IndexPointer>
IndexPointer BehindTransform(IndexPointer index) {
  if (const auto* transform = dynamic_cast<const faiss::IndexPreTransform*>(index)) {
    return transform->index;
  }
  return index;
}

// Trains on all vectors, or on an evenly spread sample of them.
void Train(absl::Span<const float> vectors, int dim, faiss::Index* index) {
  const int64_t count = static_cast<int64_t>(vectors.size()) / dim;
  if (count <= kMaxTrainingVectors) {
    index->train(count, vectors.data());
    return;
  }
  std::vector<float> sample(static_cast<size_t>(kMaxTrainingVectors * dim));
  for (int64_t i = 0; i < kMaxTrainingVectors; ++i) {
    const int64_t row = i * count / kMaxTrainingVectors;
    std::copy_n(vectors.data() + row * dim, dim, sample.data() + i * dim);
  }
  index->train(kMaxTrainingVectors, sample.data());
}

class FaissSelector : public faiss::IDSelector {
 public:
  explicit FaissSelector(const RowSelection* selection) : selection_(selection) {}
  bool is_member(idx_t row) const override { return selection_->Contains(row); }

 private:
  const RowSelection* const selection_;
};

void SetDefaults(faiss::Index* index) {
  faiss::Index* const core = BehindTransform(index);
  if (auto* ivf = dynamic_cast<faiss::IndexIVF*>(core)) {
    ivf->nprobe = std::min(ivf->nlist, std::max(kMinProbes, ivf->nlist / kListsPerProbe));
  } else if (auto* hnsw = dynamic_cast<faiss::IndexHNSW*>(core)) {
    hnsw->hnsw.efSearch = kDefaultEfSearch;
  }
}

}  // namespace

std::vector<int> SearchEfforts(const std::string& factory) {
  constexpr int kLeastEfSearch = 16;
  constexpr int kMostEfSearch = 1024;
  constexpr int kMostProbes = 1 << 20;
  int low = 0;
  int high = 0;
  // IVF first: its coarse quantiser may be a graph, whose own effort is not what is set.
  if (const size_t ivf = factory.find("IVF"); ivf != std::string::npos) {
    low = 1;
    for (size_t i = ivf + 3; i < factory.size() && absl::ascii_isdigit(factory[i]); ++i) {
      high = std::min(10 * high + (factory[i] - '0'), kMostProbes);
    }
  } else if (absl::StrContains(factory, "HNSW")) {
    low = kLeastEfSearch;
    high = kMostEfSearch;
  }
  if (high == 0) return {0};
  std::vector<int> efforts;
  for (int effort = low; effort < high; effort *= 2) efforts.push_back(effort);
  efforts.push_back(high);
  return efforts;
}

struct CoarseIndex::Impl {
  std::unique_ptr<faiss::Index> index;
  std::string factory;
  std::unique_ptr<const VectorSearcher> searcher;  // null: FAISS searches
  std::string place;                               // of the searcher

  // The `k` best as FAISS gives them, without the places that it could not fill. `effort` 0 = the
  // default.
  // Rows out of the selection are left out, or may come too where SelectsItself() is false.
  absl::StatusOr<std::vector<Candidate>> SearchFaiss(absl::Span<const float> query, int64_t k,
                                                     const SearchOptions& options) const;
  // Whether the form leaves rows out while it searches.
  bool SelectsItself() const;
  // Twice the effort, or 0 if more effort finds no more: every list is probed, or the form has
  // none.
  int MoreEffort(int effort) const;
};

int CoarseIndex::Impl::MoreEffort(int effort) const {
  const auto* ivf =
      dynamic_cast<const faiss::IndexIVF*>(BehindTransform<const faiss::Index*>(index.get()));
  if (ivf == nullptr) return 0;
  const size_t probes = effort > 0 ? static_cast<size_t>(effort) : ivf->nprobe;
  return probes < ivf->nlist ? static_cast<int>(std::min(2 * probes, ivf->nlist)) : 0;
}

bool CoarseIndex::Impl::SelectsItself() const {
  const faiss::Index* const core = BehindTransform<const faiss::Index*>(index.get());
  return dynamic_cast<const faiss::IndexFlat*>(core) != nullptr ||
         dynamic_cast<const faiss::IndexIVF*>(core) != nullptr;
}

absl::StatusOr<std::vector<Candidate>> CoarseIndex::Impl::SearchFaiss(
    absl::Span<const float> query, int64_t k, const SearchOptions& options) const {
  const int effort = options.effort;
  faiss::SearchParametersIVF ivf;
  faiss::SearchParametersHNSW hnsw;
  faiss::SearchParametersPreTransform transform;
  faiss::SearchParameters plain;
  const faiss::SearchParameters* parameters = nullptr;
  std::unique_ptr<FaissSelector> selector;
  const faiss::Index* const core = BehindTransform<const faiss::Index*>(index.get());
  const bool is_hnsw = dynamic_cast<const faiss::IndexHNSW*>(core) != nullptr;
  if (effort > 0) {
    if (dynamic_cast<const faiss::IndexIVF*>(core) != nullptr) {
      ivf.nprobe = static_cast<size_t>(effort);
      parameters = &ivf;
    } else if (is_hnsw) {
      hnsw.efSearch = effort;
      parameters = &hnsw;
    }
  }
  if (options.selection != nullptr && SelectsItself()) {
    selector = std::make_unique<FaissSelector>(options.selection);
    if (const auto* lists = dynamic_cast<const faiss::IndexIVF*>(core); lists != nullptr) {
      if (effort == 0) ivf.nprobe = lists->nprobe;
      ivf.sel = selector.get();
      parameters = &ivf;
    } else {
      plain.sel = selector.get();
      parameters = &plain;
    }
  }
  if (parameters != nullptr && core != index.get()) {
    transform.index_params = const_cast<faiss::SearchParameters*>(parameters);
    parameters = &transform;
  }
  // HNSW keeps in mind the nodes of the index's own efSearch or of the results asked for, if these
  // are more, whatever the parameters say. So more results are asked for, and dropped again.
  const int64_t fetched = is_hnsw ? std::clamp<int64_t>(effort, k, index->ntotal) : k;
  std::vector<float> scores;
  std::vector<faiss::Index::idx_t> rows;
  RETURN_IF_ERROR(Guarded(absl::StrCat("searching the ", factory, " index"), [&] {
    scores.resize(static_cast<size_t>(fetched));
    rows.resize(static_cast<size_t>(fetched));
    const ThreadLimit single_threaded(1);
    index->search(1, query.data(), fetched, scores.data(), rows.data(), parameters);
  }));
  std::vector<Candidate> candidates;
  candidates.reserve(static_cast<size_t>(k));
  for (size_t i = 0; i < rows.size() && candidates.size() < static_cast<size_t>(k); ++i) {
    if (rows[i] >= 0 && rows[i] < index->ntotal) {
      candidates.push_back({.row = rows[i], .score = scores[i]});
    }
  }
  return candidates;
}

CoarseIndex::CoarseIndex(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CoarseIndex::~CoarseIndex() = default;

int64_t CoarseIndex::size() const { return impl_->index->ntotal; }
int CoarseIndex::dim() const { return impl_->index->d; }
const std::string& CoarseIndex::factory() const { return impl_->factory; }

void CoarseIndex::SearchBy(std::unique_ptr<const VectorSearcher> searcher, std::string place) {
  impl_->searcher = std::move(searcher);
  impl_->place = std::move(place);
}

std::string CoarseIndex::description() const {
  return impl_->searcher == nullptr ? impl_->factory : absl::StrCat("exact on ", impl_->place);
}

bool CoarseIndex::keeps_vectors() const {
  const faiss::Index* const index = impl_->index.get();
  return dynamic_cast<const faiss::IndexFlat*>(index) != nullptr ||
         dynamic_cast<const faiss::IndexIVFFlat*>(index) != nullptr ||
         dynamic_cast<const faiss::IndexHNSWFlat*>(index) != nullptr;
}

absl::StatusOr<std::unique_ptr<CoarseIndex>> CoarseIndex::Build(absl::Span<const float> vectors,
                                                                int dim, const Options& options) {
  if (dim < 1 || vectors.size() % static_cast<size_t>(dim) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("coarse index: ", vectors.size(), " floats are no vectors of ", dim));
  }
  if (const ptrdiff_t found = FindNonFinite(vectors); found >= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("coarse index: vector ", found / dim, " holds a NaN or an infinity"));
  }
  const int64_t count = static_cast<int64_t>(vectors.size()) / dim;
  auto impl = std::make_unique<Impl>();
  impl->factory = count == 0                 ? std::string(kFlat)
                  : options.factory == kAuto ? AutoFactory(count)
                                             : options.factory;
  const std::string& factory = impl->factory;
  if (factory.size() > kMaxFactoryBytes) {
    return absl::InvalidArgumentError("coarse index: the factory string is too long");
  }
  const std::string context = absl::StrCat("coarse index \"", factory, "\" of ", count, " vectors");

  RETURN_IF_ERROR(Guarded(context, [&] {
    impl->index.reset(faiss::index_factory(dim, factory.c_str(), faiss::METRIC_INNER_PRODUCT));
  }));
  faiss::Index& index = *impl->index;
  if (index.metric_type != faiss::METRIC_INNER_PRODUCT || index.d != dim) {
    return absl::InvalidArgumentError(
        absl::StrCat(context, ": this form does not know the inner product"));
  }
  RETURN_IF_ERROR(Guarded(context, [&] {
    const std::unique_ptr<ThreadLimit> limit =
        BuildsGraph(factory)  ? std::make_unique<ThreadLimit>(1)
        : options.threads > 0 ? std::make_unique<ThreadLimit>(options.threads)
                              : nullptr;
    if (auto* ivf = faiss::ivflib::try_extract_index_ivf(&index)) {
      ivf->cp.max_points_per_centroid = kMaxTrainingPointsPerList;
      ivf->cp.min_points_per_centroid = 1;  // below it FAISS only writes a warning
    }
    if (!index.is_trained) Train(vectors, dim, &index);
    for (int64_t first = 0; first < count; first += kAddChunk) {
      const int64_t added = std::min(kAddChunk, count - first);
      index.add(added, vectors.data() + first * dim);
      if (options.on_added) options.on_added(added);
    }
    SetDefaults(&index);
  }));
  return std::unique_ptr<CoarseIndex>(new CoarseIndex(std::move(impl)));
}

absl::Status CoarseIndex::Save(const std::string& path) const {
  const std::string part = PartPath(path);
  const int descriptor = open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) return FileError(errno, "cannot create", part);
  absl::Cleanup close_descriptor = [descriptor] { close(descriptor); };
  absl::Cleanup remove_part = [&part] { unlink(part.c_str()); };

  // The header's sizes and checksum are known at the end; until then zeros hold its place.
  FileHeader header = {};
  const auto header_bytes =
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(&header), sizeof(header));
  RETURN_IF_ERROR(WriteFully(descriptor, header_bytes, part));
  RETURN_IF_ERROR(WriteFully(descriptor, AsBytes(impl_->factory), part));
  DescriptorWriter writer(descriptor, part);
  absl::Status status = Guarded(absl::StrCat("writing ", part),
                                [&] { faiss::write_index(impl_->index.get(), &writer); });
  RETURN_IF_ERROR(writer.status());
  RETURN_IF_ERROR(status);

  std::memcpy(header.magic, kMagic.data(), sizeof(header.magic));
  header.version = kFormatVersion;
  header.faiss_bytes = writer.written();
  header.factory_bytes = static_cast<uint32_t>(impl_->factory.size());
  const uint32_t before_faiss =
      Crc32(AsBytes(impl_->factory), Crc32(header_bytes.subspan(kCheckedFrom)));
  header.crc32 = CombineCrc32(before_faiss, writer.crc32(), writer.written());
  if (lseek(descriptor, 0, SEEK_SET) != 0) return FileError(errno, "cannot write", part);
  RETURN_IF_ERROR(WriteFully(descriptor, header_bytes, part));
  RETURN_IF_ERROR(CommitPart(descriptor, path));
  std::move(remove_part).Cancel();
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<CoarseIndex>> CoarseIndex::Load(const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  const absl::Span<const std::byte> content = file->bytes();
  const auto error = [&path](const auto&... parts) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", parts...));
  };
  FileHeader header;
  if (content.size() < sizeof(header)) return error("not a coarse index (too short)");
  std::memcpy(&header, content.data(), sizeof(header));
  if (absl::string_view(header.magic, sizeof(header.magic)) != kMagic) {
    return error("not a coarse index");
  }
  if (header.version != kFormatVersion) {
    return error("a coarse index of format version ", header.version, "; known is ",
                 kFormatVersion);
  }
  const size_t rest = content.size() - sizeof(header);
  if (header.factory_bytes > kMaxFactoryBytes || header.factory_bytes > rest ||
      header.faiss_bytes != rest - header.factory_bytes) {
    return error("truncated, or its header is damaged");
  }
  if (Crc32(content.subspan(kCheckedFrom)) != header.crc32) return error("its checksum is wrong");

  auto impl = std::make_unique<Impl>();
  impl->factory.assign(reinterpret_cast<const char*>(content.data()) + sizeof(header),
                       header.factory_bytes);
  SpanReader reader(content.subspan(sizeof(header) + header.factory_bytes));
  reader.name = path;
  RETURN_IF_ERROR(Guarded(path, [&] { impl->index.reset(faiss::read_index(&reader)); }));
  if (!reader.at_end() || impl->index->metric_type != faiss::METRIC_INNER_PRODUCT ||
      !impl->index->is_trained || impl->index->d < 1 || impl->index->ntotal < 0) {
    return error("holds no trained inner-product index");
  }
  SetDefaults(impl->index.get());  // this program's, whichever built the file
  return std::unique_ptr<CoarseIndex>(new CoarseIndex(std::move(impl)));
}

absl::StatusOr<std::vector<Candidate>> CoarseIndex::Search(absl::Span<const float> query, int64_t k,
                                                           const SearchOptions& options) const {
  if (query.size() != static_cast<size_t>(dim())) {
    return absl::InvalidArgumentError(
        absl::StrCat("a coarse query of ", query.size(), " floats; the index has ", dim()));
  }
  if (k < 0 || options.effort < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("k is ", k, " and effort ", options.effort, "; neither may be negative"));
  }
  if (FindNonFinite(query) >= 0) {
    return absl::InvalidArgumentError("the coarse query holds a NaN or an infinity");
  }
  k = std::min(k, size());
  if (k == 0) return std::vector<Candidate>();
  if (impl_->searcher != nullptr && k <= impl_->searcher->max_results()) {
    return impl_->searcher->Search(query, k, options.selection);
  }

  // FAISS keeps any of the items that tie for the k-th place. All of them are among the `asked`
  // best once the last of these is worse than the k-th.
  std::vector<Candidate> candidates;
  SearchOptions search = options;
  const bool drops = options.selection != nullptr && !impl_->SelectsItself();
  for (int64_t asked = std::min(k + kTieMargin, size());;) {
    ASSIGN_OR_RETURN(candidates, impl_->SearchFaiss(query, asked, search));
    if (drops) {
      std::erase_if(candidates, [&options](const Candidate& candidate) {
        return !options.selection->Contains(candidate.row);
      });
      if (static_cast<int64_t>(candidates.size()) < k && asked < size()) {
        asked = std::min(2 * asked, size());
        continue;
      }
    }
    std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
      return a.score != b.score ? a.score > b.score : a.row < b.row;
    });
    const int64_t found = static_cast<int64_t>(candidates.size());
    if (found < k) {
      // The probed lists hold too few; the nearest lists are the same ones and some more.
      search.effort = impl_->MoreEffort(search.effort);
      if (search.effort == 0) break;
      continue;
    }
    if (found < asked || asked == size() ||
        candidates.back().score < candidates[static_cast<size_t>(k - 1)].score) {
      break;
    }
    asked = std::min(2 * asked, size());
  }
  if (candidates.size() > static_cast<size_t>(k)) candidates.resize(static_cast<size_t>(k));
  return candidates;
}

}  // namespace dime
