// Measures what searches of a living gallery take while it is written to and merged. See --help.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "benchmarks/clustered_vectors.h"
#include "index/progress_bar.h"
#include "index/status_macros.h"
#include "index/store_gallery.h"
#include "index/thread_priority.h"

namespace dime {
namespace {

constexpr auto kImage = Modality::kImage;

struct Flags {
  std::string directory;
  int64_t images = 100'000;
  int positions = 36;
  int embed_size = 64;
  int coarse_dim = 128;
  int64_t depth = 100;
  int64_t batch = 32;
  int64_t rate = 0;
  double seconds = 15;
  std::string form = "float32";
};

void DefineFlags(CLI::App& app, Flags& flags) {
  app.add_option("--directory", flags.directory, "Where to make the gallery; must not be there")
      ->required();
  app.add_option("--images", flags.images, "Images at the start")->capture_default_str();
  app.add_option("--positions", flags.positions, "Regions of an image")->capture_default_str();
  app.add_option("--embed-size", flags.embed_size, "E of both directions")->capture_default_str();
  app.add_option("--coarse-dim", flags.coarse_dim, "Width of the coarse embedding")
      ->capture_default_str();
  app.add_option("--depth", flags.depth, "Candidates of a search")->capture_default_str();
  app.add_option("--batch", flags.batch, "Images written in one call")->capture_default_str();
  app.add_option("--rate", flags.rate, "Images written a second at most; 0 = as many as go")
      ->capture_default_str();
  app.add_option("--seconds", flags.seconds, "Length of each phase")->capture_default_str();
  app.add_option("--form", flags.form, "Form of local features: float32, bfloat16 or int8")
      ->check(CLI::IsMember({"float32", "bfloat16", "int8"}))
      ->capture_default_str();
}

// Images to write, made once: the features of one batch, and embeddings of their own.
class Load {
 public:
  Load(const Flags& flags, const EncodedItemsView& shape)
      : flags_(flags),
        vectors_(ClusteredVectors::Make(flags.images, flags.coarse_dim, /*num_queries=*/1000, 1)),
        items_(CopyItems(shape, {})) {
    items_.count = flags.batch;
    items_.lengths.assign(static_cast<size_t>(flags.batch), flags.positions);
    for (DirectionFeatures& features : items_.directions) {
      const size_t width = static_cast<size_t>(features.embed_size);
      features.global.assign(static_cast<size_t>(flags.batch) * width, 0.125f);
      features.local.resize(static_cast<size_t>(flags.batch * flags.positions) * width);
      for (size_t i = 0; i < features.local.size(); ++i) {
        features.local[i] = static_cast<float>(i * 2654435761u % 2001) / 1000 - 1;
      }
    }
    items_.coarse.resize(static_cast<size_t>(flags.batch * flags.coarse_dim));
  }
  // Writes images [first, first + batch), counted round and round.
  absl::Status Write(StoreGallery& gallery, int64_t first) {
    const size_t dim = static_cast<size_t>(flags_.coarse_dim);
    std::vector<ImageRecord> records;
    for (int64_t i = 0; i < flags_.batch; ++i) {
      const int64_t number = (first + i) % flags_.images;
      records.push_back({.id = absl::StrCat("image-", number), .width = 640, .height = 480});
      std::copy_n(vectors_.items.begin() + static_cast<ptrdiff_t>(number * flags_.coarse_dim), dim,
                  items_.coarse.begin() + static_cast<ptrdiff_t>(static_cast<size_t>(i) * dim));
    }
    ASSIGN_OR_RETURN(const std::vector<absl::Status> statuses,
                     gallery.UpsertImages(records, items_.view(), {}));
    for (const absl::Status& status : statuses) RETURN_IF_ERROR(status);
    return absl::OkStatus();
  }
  absl::Span<const float> query(int64_t q) const {
    const size_t dim = static_cast<size_t>(flags_.coarse_dim);
    return absl::MakeConstSpan(vectors_.queries).subspan(static_cast<size_t>(q % 1000) * dim, dim);
  }

 private:
  const Flags& flags_;
  const ClusteredVectors vectors_;
  EncodedItems items_;
};

double Quantile(std::vector<double>& values, double share) {
  if (values.empty()) return 0;
  const auto at =
      values.begin() + static_cast<ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

// Searches one after the other for a phase, with `beside` running until it is told to stop.
absl::Status Measure(const Flags& flags, const Load& load, StoreGallery& gallery, const char* name,
                     const std::function<absl::Status(const std::atomic<bool>& stop)>& beside) {
  ASSIGN_OR_RETURN(const GalleryStats before, gallery.Stats());
  std::atomic<bool> stop{false};
  absl::Status written;
  std::thread other([&] {
    TakeLowPriority();  // as a server's ingest queue has it
    if (beside) written = beside(stop);
  });
  std::vector<double> recall_ms, search_ms;
  absl::Status searched;
  const absl::Time start = absl::Now();
  for (int64_t q = 0; searched.ok() && absl::Now() - start < absl::Seconds(flags.seconds); ++q) {
    const absl::Time begin = absl::Now();
    const auto view = gallery.Pin();
    const auto candidates = view->Recall(kImage, load.query(q), flags.depth, {});
    const absl::Time recalled = absl::Now();
    if (!candidates.ok()) {
      searched = candidates.status();
      break;
    }
    std::vector<int64_t> rows;
    for (const Candidate& candidate : *candidates) rows.push_back(candidate.row);
    searched = view->ReadFeatures(kImage, rows).status();
    recall_ms.push_back(absl::ToDoubleMilliseconds(recalled - begin));
    search_ms.push_back(absl::ToDoubleMilliseconds(absl::Now() - begin));
  }
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  stop = true;
  other.join();
  RETURN_IF_ERROR(searched);
  RETURN_IF_ERROR(written);
  ASSIGN_OR_RETURN(const GalleryStats after, gallery.Stats());
  std::printf("| %s | %zu | %.2f | %.2f | %.2f | %.2f | %.0f | %lld | %lld |\n", name,
              search_ms.size(), Quantile(recall_ms, 0.5), Quantile(recall_ms, 0.99),
              Quantile(search_ms, 0.5), Quantile(search_ms, 0.99),
              static_cast<double>(after.sequence - before.sequence) / seconds,
              static_cast<long long>(after.merges - before.merges),
              static_cast<long long>(after.sides[0].tail));
  std::fflush(stdout);
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags) {
  LivingManifest manifest;
  manifest.model_fingerprint = "benchmark";
  manifest.form = *ParseFeatureForm(flags.form);
  for (const Modality modality : {Modality::kImage, Modality::kCaption}) {
    EncodedItemsView& shape = manifest.shapes[static_cast<size_t>(modality)];
    shape = {.modality = modality, .positions = flags.positions, .coarse_dim = flags.coarse_dim};
    for (DirectionFeaturesView& features : shape.directions) features.embed_size = flags.embed_size;
  }
  Load load(flags, manifest.shapes[0]);
  StoreGallery::Options quiet;
  quiet.background_merges = false;
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<StoreGallery> gallery,
                     StoreGallery::Create(flags.directory, manifest, quiet));
    ProgressBar bar("writing images", flags.images);
    const absl::Time start = absl::Now();
    for (int64_t first = 0; first < flags.images; first += flags.batch) {
      RETURN_IF_ERROR(load.Write(*gallery, first));
      bar.Advance(std::min(flags.batch, flags.images - first));
    }
    bar.Finish();
    const absl::Duration wrote = absl::Now() - start;
    const absl::Time merging = absl::Now();
    RETURN_IF_ERROR(gallery->MergeNow());
    ASSIGN_OR_RETURN(const GalleryStats stats, gallery->Stats());
    std::printf(
        "%lld images of %d x %d x 2 in %s, %.1f s to write (%.0f/s, one fsync each %lld), "
        "%.1f s to merge, %.2f GB on disk\n",
        static_cast<long long>(flags.images), flags.positions, flags.embed_size, flags.form.c_str(),
        absl::ToDoubleSeconds(wrote),
        static_cast<double>(flags.images) / absl::ToDoubleSeconds(wrote),
        static_cast<long long>(flags.batch), absl::ToDoubleSeconds(absl::Now() - merging),
        static_cast<double>(stats.bytes_on_disk) / 1e9);
  }
  // Each opening is timed: with its index, and without.
  for (const bool with_index : {true, false}) {
    if (!with_index) {
      std::vector<std::filesystem::path> derived;
      for (const auto& entry : std::filesystem::directory_iterator(flags.directory)) {
        const std::string extension = entry.path().extension();
        if (extension == ".rows" || extension == ".faiss") derived.push_back(entry.path());
      }
      for (const std::filesystem::path& path : derived) std::filesystem::remove(path);
    }
    const absl::Time start = absl::Now();
    ASSIGN_OR_RETURN(const std::unique_ptr<StoreGallery> gallery,
                     StoreGallery::Open(flags.directory, quiet));
    RETURN_IF_ERROR(gallery->Pin()->Recall(kImage, load.query(0), flags.depth, {}).status());
    std::printf("opened %s in %.2f s, first search included; index %s\n",
                with_index ? "with its index" : "without an index (built anew)",
                absl::ToDoubleSeconds(absl::Now() - start),
                gallery->Pin()->info().image_index.c_str());
  }
  std::printf(
      "\n| beside the searches | searches | recall median ms | p99 | with features median ms | p99 "
      "| images written/s | merges | tail |\n|---|---|---|---|---|---|---|---|---|\n");
  int64_t next = 0;
  const auto write = [&](StoreGallery& gallery, const std::atomic<bool>& stop) -> absl::Status {
    const absl::Time start = absl::Now();
    for (int64_t written = 0; !stop; written += flags.batch, next += flags.batch) {
      RETURN_IF_ERROR(load.Write(gallery, next));
      if (flags.rate > 0) {
        absl::SleepFor(
            start + absl::Seconds(static_cast<double>(written) / static_cast<double>(flags.rate)) -
            absl::Now());
      }
    }
    return absl::OkStatus();
  };
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<StoreGallery> gallery,
                     StoreGallery::Open(flags.directory, quiet));
    RETURN_IF_ERROR(Measure(flags, load, *gallery, "nothing", nullptr));
    RETURN_IF_ERROR(Measure(flags, load, *gallery, "merges alone",
                            [&](const std::atomic<bool>& stop) -> absl::Status {
                              while (!stop) {
                                RETURN_IF_ERROR(load.Write(*gallery, next));
                                next += flags.batch;
                                RETURN_IF_ERROR(gallery->MergeNow());
                              }
                              return absl::OkStatus();
                            }));
  }
  StoreGallery::Options merging;
  ASSIGN_OR_RETURN(const std::unique_ptr<StoreGallery> gallery,
                   StoreGallery::Open(flags.directory, merging));
  RETURN_IF_ERROR(Measure(flags, load, *gallery, "ingest with merges",
                          [&](const std::atomic<bool>& stop) { return write(*gallery, stop); }));
  return Measure(flags, load, *gallery, "nothing again", nullptr);
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "Measures searches of a living gallery (recall of candidates, and reading their local "
      "features; no reranking) alone, beside merges, and beside writes as fast as they go.",
      "ingest_benchmark");
  DefineFlags(app, flags);
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = Run(flags);
  if (status.ok()) return 0;
  std::cerr << "ingest_benchmark: " << status << std::endl;
  return 1;
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) { return dime::Main(argc, argv); }
