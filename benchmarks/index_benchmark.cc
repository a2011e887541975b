// index_benchmark: build time, memory, latency and recall of the coarse index's forms. See --help.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "benchmarks/clustered_vectors.h"
#include "index/coarse_index.h"
#include "index/progress_bar.h"
#include "index/status_macros.h"

namespace dime {
namespace {

constexpr int kPasses = 5;
constexpr int64_t kDepth = 100;  // candidates of a search

struct Flags {
  int64_t count = 100'000;
  int dim = 256;
  int queries = 200;
  uint64_t seed = 1;
  std::vector<std::string> forms = {"Flat", "SQfp16", "SQ8", "auto"};
  std::vector<int> efforts;
  std::string scratch = "/tmp";
};

double Seconds(absl::Time start) { return absl::ToDoubleSeconds(absl::Now() - start); }

template <typename T>
T Quantile(std::vector<T> values, double share) {
  std::sort(values.begin(), values.end());
  const auto place = static_cast<size_t>(share * static_cast<double>(values.size()));
  return values[std::min(place, values.size() - 1)];
}

// How quickly one core can read the vectors at all: the bound of every scan over them, in GB/s.
// Best of kPasses, as it is a ceiling.
double ReadBandwidth(const std::vector<float>& vectors) {
  const size_t words = vectors.size() / 2;
  const auto* data = reinterpret_cast<const uint64_t*>(vectors.data());
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const absl::Time start = absl::Now();
    uint64_t sum[8] = {};
    for (size_t i = 0; i + 8 <= words; i += 8) {
      for (size_t j = 0; j < 8; ++j) sum[j] += data[i + j];
    }
    // Used, so that the loop is not dropped.
    volatile uint64_t sink = sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
    static_cast<void>(sink);
    best = std::max(best, static_cast<double>(words) * sizeof(uint64_t) / Seconds(start) / 1e9);
  }
  return best;
}

struct Measured {
  double median_us = 0;  // over the queries, of each query's median of kPasses
  double p99_us = 0;
  std::vector<std::vector<Candidate>> found;  // by query
};

absl::StatusOr<Measured> Measure(const CoarseIndex& index, const Flags& flags,
                                 const std::vector<float>& queries, int effort) {
  Measured measured;
  std::vector<double> medians;
  for (int q = 0; q < flags.queries; ++q) {
    const absl::Span<const float> query(queries.data() + size_t{1} * q * flags.dim, flags.dim);
    std::vector<double> times;
    for (int pass = 0; pass < kPasses; ++pass) {
      const absl::Time start = absl::Now();
      ASSIGN_OR_RETURN(std::vector<Candidate> found,
                       index.Search(query, kDepth, {.effort = effort}));
      times.push_back(Seconds(start) * 1e6);
      if (pass == 0) measured.found.push_back(std::move(found));
    }
    medians.push_back(Quantile(times, 0.5));
  }
  measured.median_us = Quantile(medians, 0.5);
  measured.p99_us = Quantile(medians, 0.99);
  return measured;
}

// Share of the exact `k` best among the first `k` found.
double Recall(const Measured& measured, const Measured& exact, size_t k) {
  int64_t kept = 0, wanted = 0;
  for (size_t q = 0; q < exact.found.size(); ++q) {
    const auto& found = measured.found[q];
    for (size_t i = 0; i < std::min(k, exact.found[q].size()); ++i, ++wanted) {
      const auto end = found.begin() + static_cast<int64_t>(std::min(k, found.size()));
      kept += std::any_of(found.begin(), end, [&](const Candidate& candidate) {
        return candidate.row == exact.found[q][i].row;
      });
    }
  }
  return static_cast<double>(kept) / static_cast<double>(wanted);
}

absl::Status Run(const Flags& flags) {
  absl::Time start = absl::Now();
  const ClusteredVectors vectors =
      ClusteredVectors::Make(flags.count, flags.dim, flags.queries, flags.seed);
  std::cerr << absl::StrFormat("%d vectors of %d made in %.1f s\n", flags.count, flags.dim,
                               Seconds(start));
  ASSIGN_OR_RETURN(const std::unique_ptr<CoarseIndex> flat,
                   CoarseIndex::Build(vectors.items, flags.dim, {.factory = "Flat"}));
  ASSIGN_OR_RETURN(const Measured exact, Measure(*flat, flags, vectors.queries, 0));
  std::vector<double> best, tenth;
  for (const auto& found : exact.found) {
    best.push_back(found.front().score);
    tenth.push_back(found[std::min<size_t>(9, found.size() - 1)].score);
  }
  const double bytes = static_cast<double>(vectors.items.size()) * sizeof(float);
  std::cout << absl::StrFormat(
      "%d vectors x %d, %d queries; best cosine of a query %.2f (10%%) %.2f (median) %.2f (90%%), "
      "tenth best %.2f\nflat scan %.1f GB/s, plain read by one core %.1f GB/s\n\n",
      flags.count, flags.dim, flags.queries, Quantile(best, 0.1), Quantile(best, 0.5),
      Quantile(best, 0.9), Quantile(tenth, 0.5), bytes / exact.median_us / 1e3,
      ReadBandwidth(vectors.items));
  std::cout << "| form | build s | load s | MB | effort | median us | p99 us | recall@10 | "
               "recall@100 |\n|---|---|---|---|---|---|---|---|---|"
            << std::endl;

  const std::string path =
      absl::StrCat(flags.scratch, "/index_benchmark.", absl::ToUnixMicros(absl::Now()));
  for (const std::string& form : flags.forms) {
    ProgressBar bar(absl::StrCat("building ", form), flags.count);
    start = absl::Now();
    ASSIGN_OR_RETURN(std::unique_ptr<CoarseIndex> index,
                     CoarseIndex::Build(vectors.items, flags.dim,
                                        {.factory = form, .on_added = [&bar](int64_t added) {
                                           bar.Advance(added);
                                         }}));
    const double build = Seconds(start);
    bar.Finish();
    RETURN_IF_ERROR(index->Save(path));
    std::error_code error;
    const auto size = static_cast<double>(std::filesystem::file_size(path, error));
    start = absl::Now();
    absl::StatusOr<std::unique_ptr<CoarseIndex>> loaded = CoarseIndex::Load(path);
    const double load = Seconds(start);
    std::filesystem::remove(path, error);
    RETURN_IF_ERROR(loaded.status());
    index = *std::move(loaded);
    std::vector<int> efforts = flags.efforts;
    if (efforts.empty() || SearchEfforts(index->factory()).size() == 1) {
      efforts = SearchEfforts(index->factory());
    }
    for (const int effort : efforts) {
      ASSIGN_OR_RETURN(const Measured measured, Measure(*index, flags, vectors.queries, effort));
      std::cout << absl::StrFormat("| %s | %.1f | %.1f | %.1f | %s | %.0f | %.0f | %.3f | %.3f |",
                                   form == index->factory()
                                       ? form
                                       : absl::StrCat(form, " (", index->factory(), ")"),
                                   build, load, size / 1e6, effort > 0 ? absl::StrCat(effort) : "-",
                                   measured.median_us, measured.p99_us, Recall(measured, exact, 10),
                                   Recall(measured, exact, 100))
                << std::endl;
    }
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "Builds forms of the coarse index over clustered vectors and prints a table of build time, "
      "size, latency (one thread, 100 candidates) and recall against the flat form.");
  app.add_option("--count", flags.count, "Vectors")->check(CLI::Range(1000, 100'000'000));
  app.add_option("--dim", flags.dim, "Width of a vector")->check(CLI::Range(8, 4096));
  app.add_option("--queries", flags.queries, "Queries")->check(CLI::Range(1, 100'000));
  app.add_option("--seed", flags.seed, "Of the vectors and queries");
  app.add_option("--forms", flags.forms, "FAISS factory strings, or auto, separated by ;")
      ->delimiter(';');
  app.add_option("--efforts", flags.efforts, "Efforts to search with; default: powers of two")
      ->delimiter(',');
  app.add_option("--scratch", flags.scratch, "Directory for an index's file while it is measured");
  for (CLI::Option* option : app.get_options()) option->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = Run(flags);
  if (!status.ok()) std::cerr << "index_benchmark: " << status.message() << std::endl;
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) { return dime::Main(argc, argv); }
