#include <filesystem>

#include "index/gallery_manifest.h"
#include "index/living_manifest.h"
#include "index/search_settings.h"
#include "model/ranking_settings.h"
#include "model/reference_pairs.h"
#include "tests/fuzz/fuzz_target.h"

namespace dime {
namespace {

// The bytes as each of the files by which directories say what is in them.
void Run(absl::string_view bytes) {
  const auto folder_with = [bytes](const char* name) {
    return std::filesystem::path(FuzzFile(std::string("manifests/") + name, bytes))
        .parent_path()
        .string();
  };
  if (const auto manifest = GalleryManifest::Read(folder_with(kGalleryManifestName));
      manifest.ok()) {
    for (const GalleryManifest::Side& side : manifest->sides) {
      FuzzRequire(side.count >= 0, "counts are not negative");
    }
    FuzzRequire(!manifest->Version().empty(), "a gallery has a version");
  }
  if (const auto manifest = LivingManifest::Read(folder_with(kLivingManifestName)); manifest.ok()) {
    FuzzRequire(manifest->shapes[0].positions >= 0 && manifest->raw_feature_dim >= 0,
                "sizes are not negative");
  }
  if (const auto settings = SearchSettings::Load(folder_with(kSearchSettingsName)); settings.ok()) {
    for (const auto& entry : settings->entries) {
      FuzzRequire(!entry.has_value() || (entry->k >= 1 && entry->rerank_depth >= entry->k &&
                                         entry->fusion_weight >= 0 && entry->fusion_weight <= 1),
                  "settings are within their ranges");
    }
  }
  if (const auto settings = RankingSettings::Load(folder_with(kRankingSettingsName));
      settings.ok()) {
    for (const auto& of_target : settings->entries) {
      for (const auto& entry : of_target) {
        FuzzRequire(!entry.has_value() || (entry->fusion_weight >= 0 && entry->fusion_weight <= 1),
                    "fusion weights are shares");
      }
    }
  }
  if (const auto pairs = ReferencePairs::Load(folder_with(kReferencePairsName)); pairs.ok()) {
    for (const auto& scores : pairs->scores) {
      FuzzRequire(scores.empty() || scores.size() == pairs->num_images * pairs->captions.size(),
                  "there is a score for each pair");
    }
  }
}

// What the program writes.
template <typename Write>
std::string Written(const char* name, const Write& write) {
  const std::filesystem::path path = FuzzFile(std::string("seeds/") + name, "");
  std::filesystem::remove(path);
  FuzzRequire(write(path.parent_path().string()).ok(), "a seed can be written");
  std::string bytes(std::filesystem::file_size(path), '\0');
  std::FILE* const file = std::fopen(path.c_str(), "rb");
  FuzzRequire(std::fread(bytes.data(), 1, bytes.size(), file) == bytes.size(), "and be read");
  std::fclose(file);
  return bytes;
}

}  // namespace

FuzzTarget ManifestTarget() {
  GalleryManifest gallery;
  gallery.model_fingerprint = "fingerprint";
  gallery.sides = {GalleryManifest::Side{2, "Flat"}, GalleryManifest::Side{0, ""}};
  gallery.files["images.safetensors"] = {.bytes = 100, .crc32 = 7};
  LivingManifest living;
  living.lineage = "0123456789abcdef";
  living.model_fingerprint = "fingerprint";
  for (const Modality modality : {Modality::kImage, Modality::kCaption}) {
    EncodedItemsView& shape = living.shapes[static_cast<int>(modality)];
    shape.modality = modality;
    shape.positions = 3;
    shape.coarse_dim = 4;
    shape.directions[0].embed_size = 2;
  }
  SearchSettings search;
  search.gallery_version = "v";
  search.model_fingerprint = "f";
  search.entries[0] = SearchSettings::Entry{
      .rerank_depth = 50, .search_effort = 8, .k = 10, .recall = 0.99, .queries = 5};
  RankingSettings ranking;
  ranking.tuned_on = "dev";
  ranking.of(Modality::kImage, ScoreMode::kI2t) =
      RankingSettings::Entry{.fusion_weight = 0.5f, .bound = RankingSettings::Entry::Bound{1, 0}};
  ReferencePairs pairs = {.seed = 1, .num_images = 1, .captions = {"a", "b"}};
  pairs.scores[0] = {0.5f, -0.25f};
  const auto writes = [](const auto& value) {
    return [&value](const std::string& directory) { return value.Write(directory); };
  };
  const auto saves = [](const auto& value) {
    return [&value](const std::string& directory) { return value.Save(directory); };
  };
  return {.name = "manifest",
          .seeds = {Written(kGalleryManifestName, writes(gallery)),
                    Written(kLivingManifestName, writes(living)),
                    Written(kSearchSettingsName, saves(search)),
                    Written(kRankingSettingsName, saves(ranking)),
                    Written(kReferencePairsName, saves(pairs)), "{}", "[1, 2"},
          .run = Run};
}

}  // namespace dime
