#include "index/vector_searcher.h"

#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"

namespace dime {

absl::Status SearchElsewhere(const VectorSearcherFactory* factory, absl::Span<const float> vectors,
                             CoarseIndex& index) {
  if (factory == nullptr || vectors.empty()) return absl::OkStatus();
  absl::StatusOr<std::unique_ptr<VectorSearcher>> searcher = factory->Make(vectors, index.dim());
  if (absl::IsResourceExhausted(searcher.status())) {
    const std::string message =
        absl::StrCat(index.size(), " vectors do not fit ", factory->place(), " (",
                     searcher.status().message(), "); they are searched on the CPU");
    std::fprintf(stderr, "warning: %s\n", message.c_str());
    return absl::OkStatus();
  }
  if (!searcher.ok()) return searcher.status();
  index.SearchBy(*std::move(searcher), factory->place());
  return absl::OkStatus();
}

}  // namespace dime
