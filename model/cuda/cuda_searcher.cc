#include "model/cuda/cuda_searcher.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "index/status_macros.h"

namespace dime {
namespace {

// How many more results than k are asked for where rows may have to be dropped.
constexpr int64_t kMoreResults = 64;

}  // namespace

CudaSearcher::CudaSearcher(std::unique_ptr<cuda::DeviceSearch> search, int64_t rows)
    : search_(std::move(search)),
      rows_(rows),
      calls_(static_cast<size_t>(search_->max_queries())) {}

absl::StatusOr<std::vector<Candidate>> CudaSearcher::Search(absl::Span<const float> query,
                                                            int64_t k,
                                                            const RowSelection* selection) const {
  k = std::min(k, rows_);
  if (k == 0) return std::vector<Candidate>();
  const int64_t most = std::min(rows_, max_results());
  const int64_t asked = selection == nullptr ? k : std::min(most, k + k / 4 + kMoreResults);
  ASSIGN_OR_RETURN(std::vector<Candidate> found, Run({.vector = query.data(), .k = asked}));
  if (selection == nullptr) return found;
  std::erase_if(found, [selection](const Candidate& candidate) {
    return !selection->Contains(candidate.row);
  });
  if (static_cast<int64_t>(found.size()) < k && asked < rows_) {
    std::vector<uint32_t> mask(static_cast<size_t>((rows_ + 31) / 32), 0);
    for (int64_t row = 0; row < rows_; ++row) {
      if (selection->Contains(row)) mask[static_cast<size_t>(row / 32)] |= 1u << (row % 32);
    }
    ASSIGN_OR_RETURN(found, Run({.vector = query.data(), .k = k, .mask = mask.data()}));
  }
  if (static_cast<int64_t>(found.size()) > k) found.resize(static_cast<size_t>(k));
  return found;
}

absl::StatusOr<std::vector<Candidate>> CudaSearcher::Run(
    const cuda::DeviceSearch::Query& query) const {
  Item item = {.query = query};
  calls_.Run(item, [this](absl::Span<Item* const> batch) {
    std::vector<cuda::DeviceSearch::Query> queries;
    queries.reserve(batch.size());
    for (const Item* of_batch : batch) queries.push_back(of_batch->query);
    absl::StatusOr<std::vector<std::vector<Candidate>>> found = search_->Search(queries);
    for (size_t q = 0; q < batch.size(); ++q) {
      if (found.ok()) {
        batch[q]->found = std::move((*found)[q]);
      } else {
        batch[q]->found = found.status();
      }
    }
  });
  return std::move(item.found);
}

CudaSearcherFactory::CudaSearcherFactory(int device)
    : CudaSearcherFactory([device](absl::Span<const float> vectors,
                                   int dim) { return cuda::MakeCudaSearch(vectors, dim, device); },
                          absl::StrCat("cuda:", device)) {}

CudaSearcherFactory::CudaSearcherFactory(MakeSearch make, std::string place)
    : make_(std::move(make)), place_(std::move(place)) {}

absl::StatusOr<std::unique_ptr<VectorSearcher>> CudaSearcherFactory::Make(
    absl::Span<const float> vectors, int dim) const {
  ASSIGN_OR_RETURN(std::unique_ptr<cuda::DeviceSearch> search, make_(vectors, dim));
  return std::make_unique<CudaSearcher>(std::move(search),
                                        static_cast<int64_t>(vectors.size()) / dim);
}

absl::StatusOr<std::unique_ptr<VectorSearcherFactory>> SearchersOn(const std::string& device) {
  if (device == "cpu") return nullptr;
  int number = 0;
  absl::string_view rest = device;
  if (!absl::ConsumePrefix(&rest, "cuda") ||
      (!rest.empty() && (!absl::ConsumePrefix(&rest, ":") || !absl::SimpleAtoi(rest, &number) ||
                         number < 0 || number > 255))) {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown device \"", device, "\"; use cpu, cuda or cuda:N"));
  }
  return std::make_unique<CudaSearcherFactory>(number);
}

}  // namespace dime
