// device_recall_benchmark: exact search of many vectors on a CUDA device, one query at a time and
// several callers at once, with the rate at which the vectors were read. See --help.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "index/coarse_segment.h"
#include "index/status_macros.h"
#include "model/cuda/cuda_searcher.h"

namespace dime {
namespace {

struct Flags {
  std::string device = "cuda";
  int64_t count = 10'000'000;
  int dim = 128;
  int64_t k = 100;
  int searches = 50;  // of each caller and run
  int runs = 5;
};

// Uniform in [-1, 1), by SplitMix64 over the value's number.
float ValueAt(uint64_t i) {
  uint64_t x = i * 0x9e3779b97f4a7c15u + 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return static_cast<float>((x ^ x >> 31) >> 40) / 8388608.0f - 1;
}

// Whether the device found what comparing one by one does, for one query, up to ties by rounding.
absl::Status Check(const Flags& flags, const std::vector<float>& vectors,
                   const VectorSearcher& searcher, absl::Span<const float> query) {
  ASSIGN_OR_RETURN(const std::vector<Candidate> found, searcher.Search(query, flags.k, nullptr));
  const size_t dim = static_cast<size_t>(flags.dim);
  std::vector<float> scores(static_cast<size_t>(flags.count));
  for (size_t row = 0; row < scores.size(); ++row) {
    scores[row] = InnerProduct(absl::MakeConstSpan(vectors).subspan(row * dim, dim), query);
  }
  std::vector<float> best = scores;
  const auto kth = best.begin() + static_cast<ptrdiff_t>(flags.k - 1);
  std::nth_element(best.begin(), kth, best.end(), std::greater<>());
  for (const Candidate& candidate : found) {
    if (scores[static_cast<size_t>(candidate.row)] < *kth - 1e-3f) {
      return absl::InternalError(absl::StrCat("row ", candidate.row, " is none of the best"));
    }
  }
  return found.size() == static_cast<size_t>(flags.k)
             ? absl::OkStatus()
             : absl::InternalError(absl::StrCat(found.size(), " results of ", flags.k));
}

absl::Status Run(const Flags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<VectorSearcherFactory> factory, SearchersOn(flags.device));
  if (factory == nullptr) return absl::InvalidArgumentError("--device must be cuda or cuda:N");
  std::vector<float> vectors(static_cast<size_t>(flags.count * flags.dim));
  std::vector<std::thread> fillers;
  const size_t share = (vectors.size() + 15) / 16;
  for (size_t first = 0; first < vectors.size(); first += share) {
    fillers.emplace_back([&vectors, first, last = std::min(first + share, vectors.size())] {
      for (size_t i = first; i < last; ++i) vectors[i] = ValueAt(i);
    });
  }
  for (std::thread& filler : fillers) filler.join();
  absl::Time start = absl::Now();
  ASSIGN_OR_RETURN(const std::unique_ptr<VectorSearcher> searcher,
                   factory->Make(vectors, flags.dim));
  std::printf(
      "%lld vectors of %d on %s in %.1f s; %lld results of each search, median of %d runs\n",
      static_cast<long long>(flags.count), flags.dim, factory->place().c_str(),
      absl::ToDoubleSeconds(absl::Now() - start), static_cast<long long>(flags.k), flags.runs);
  const auto query = [&](int64_t q) {
    return absl::MakeConstSpan(vectors).subspan(
        static_cast<size_t>(q * 7919 % flags.count) * static_cast<size_t>(flags.dim),
        static_cast<size_t>(flags.dim));
  };
  RETURN_IF_ERROR(Check(flags, vectors, *searcher, query(1)));
  std::printf(
      "\n| callers | ms a search | lowest | highest | searches/s |\n|---|---|---|---|---|\n");
  for (const int callers : {1, 8, 32}) {
    std::vector<double> ms;
    for (int run = 0; run < flags.runs + 1; ++run) {
      std::atomic<bool> failed{false};
      start = absl::Now();
      std::vector<std::thread> threads;
      for (int c = 0; c < callers; ++c) {
        threads.emplace_back([&, c] {
          for (int s = 0; s < flags.searches; ++s) {
            if (!searcher->Search(query(c * flags.searches + s), flags.k, nullptr).ok()) {
              failed = true;
            }
          }
        });
      }
      for (std::thread& thread : threads) thread.join();
      if (failed) return absl::InternalError("a search failed");
      // The first run warms up.
      if (run > 0) ms.push_back(absl::ToDoubleMilliseconds(absl::Now() - start) / flags.searches);
    }
    std::sort(ms.begin(), ms.end());
    std::printf("| %d | %.3f | %.3f | %.3f | %.0f |\n", callers, ms[ms.size() / 2], ms.front(),
                ms.back(), callers * 1000 / ms[ms.size() / 2]);
    std::fflush(stdout);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) {
  dime::Flags flags;
  CLI::App app{"Exact search of many vectors on a CUDA device: time a search by callers at once."};
  app.add_option("--device", flags.device, "cuda or cuda:N")->capture_default_str();
  app.add_option("--count", flags.count, "Vectors")->capture_default_str();
  app.add_option("--dim", flags.dim, "Their width")->capture_default_str();
  app.add_option("--k", flags.k, "Results of a search")->capture_default_str();
  app.add_option("--searches", flags.searches, "Of each caller and run")->capture_default_str();
  app.add_option("--runs", flags.runs)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = dime::Run(flags);
  if (status.ok()) return 0;
  std::cerr << "device_recall_benchmark: " << status << std::endl;
  return 1;
}
