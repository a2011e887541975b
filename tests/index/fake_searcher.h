#ifndef DIME_TESTS_INDEX_FAKE_SEARCHER_H_
#define DIME_TESTS_INDEX_FAKE_SEARCHER_H_

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "index/coarse_segment.h"
#include "index/vector_searcher.h"

namespace dime {

// Makes searchers that compare one by one, and counts what is asked of them.
class FakeSearcherFactory : public VectorSearcherFactory {
 public:
  absl::StatusOr<std::unique_ptr<VectorSearcher>> Make(absl::Span<const float> vectors,
                                                       int dim) const override {
    ++made;
    if (static_cast<int64_t>(vectors.size()) / dim > room) {
      return absl::ResourceExhaustedError("no room");
    }
    return std::make_unique<Searcher>(*this, std::vector<float>(vectors.begin(), vectors.end()),
                                      dim);
  }
  std::string place() const override { return "fake:3"; }

  int64_t room = 1'000'000;  // vectors
  mutable std::atomic<int> made{0};
  mutable std::atomic<int> searches{0};

 private:
  class Searcher : public VectorSearcher {
   public:
    Searcher(const FakeSearcherFactory& factory, std::vector<float> vectors, int dim)
        : factory_(factory), vectors_(std::move(vectors)), dim_(dim) {}
    int64_t max_results() const override { return 1000; }
    absl::StatusOr<std::vector<Candidate>> Search(absl::Span<const float> query, int64_t k,
                                                  const RowSelection* selection) const override {
      ++factory_.searches;
      const size_t dim = static_cast<size_t>(dim_);
      std::vector<Candidate> found;
      for (size_t row = 0; row < vectors_.size() / dim; ++row) {
        if (selection != nullptr && !selection->Contains(static_cast<int64_t>(row))) continue;
        found.push_back(
            {static_cast<int64_t>(row),
             InnerProduct(absl::MakeConstSpan(vectors_).subspan(row * dim, dim), query)});
      }
      std::sort(found.begin(), found.end(), [](const Candidate& a, const Candidate& b) {
        return a.score != b.score ? a.score > b.score : a.row < b.row;
      });
      if (static_cast<int64_t>(found.size()) > k) found.resize(static_cast<size_t>(k));
      return found;
    }

   private:
    const FakeSearcherFactory& factory_;
    const std::vector<float> vectors_;
    const int dim_;
  };
};

}  // namespace dime

#endif  // DIME_TESTS_INDEX_FAKE_SEARCHER_H_
