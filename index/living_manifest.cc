#include "index/living_manifest.h"

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "index/durable_file.h"
#include "index/mapped_file.h"
#include "index/status_macros.h"

namespace dime {
namespace {

using nlohmann::json;

constexpr char kFormat[] = "dime-living-gallery";
constexpr int kFormatVersion = 1;
constexpr int kMostExtent = 1 << 24;

constexpr const char* SideName(int modality) { return modality == 0 ? "images" : "captions"; }

json ToJson(const LivingManifest& manifest) {
  json document = {{"format", kFormat},
                   {"format_version", kFormatVersion},
                   {"lineage", manifest.lineage},
                   {"model_fingerprint", manifest.model_fingerprint},
                   {"index", manifest.index},
                   {"feature_form", std::string(FeatureFormName(manifest.form))},
                   {"raw_feature_dim", manifest.raw_feature_dim}};
  for (int m = 0; m < 2; ++m) {
    const EncodedItemsView& shape = manifest.shapes[static_cast<size_t>(m)];
    document[SideName(m)] = {{"positions", shape.positions},
                             {"i2t_embed_size", shape.of(Direction::kI2t).embed_size},
                             {"t2i_embed_size", shape.of(Direction::kT2i).embed_size},
                             {"coarse_dim", shape.coarse_dim}};
  }
  return document;
}

std::string Checksum(const json& document) {
  return absl::StrFormat("%08x", Crc32(AsBytes(absl::string_view(document.dump()))));
}

std::optional<std::string> Text(const json& object, const char* key) {
  const auto member = object.find(key);
  if (member == object.end() || !member->is_string()) return std::nullopt;
  return member->get<std::string>();
}

std::optional<int> Extent(const json& object, const char* key) {
  const auto member = object.find(key);
  if (member == object.end() || !member->is_number_unsigned() ||
      member->get<uint64_t>() > kMostExtent) {
    return std::nullopt;
  }
  return member->get<int>();
}

absl::StatusOr<LivingManifest> FromJson(const json& document) {
  if (!document.is_object()) return absl::InvalidArgumentError("it is no JSON object");
  if (Text(document, "format") != kFormat) {
    return absl::InvalidArgumentError(absl::StrCat("\"format\" is not \"", kFormat, "\""));
  }
  if (const std::optional<int> version = Extent(document, "format_version");
      version != kFormatVersion) {
    return absl::InvalidArgumentError(absl::StrCat("format version ", version.value_or(0),
                                                   " is not known; this program reads ",
                                                   kFormatVersion));
  }
  json truth = document;
  truth.erase("crc32");
  if (Text(document, "crc32") != Checksum(truth)) {
    return absl::InvalidArgumentError("its checksum does not fit; it was altered");
  }
  const auto missing = [](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("\"", what, "\" is missing or malformed"));
  };
  LivingManifest manifest;
  const auto read_text = [&](const char* key, std::string& text) -> absl::Status {
    std::optional<std::string> found = Text(document, key);
    if (!found.has_value()) return missing(key);
    text = *std::move(found);
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(read_text("lineage", manifest.lineage));
  RETURN_IF_ERROR(read_text("model_fingerprint", manifest.model_fingerprint));
  RETURN_IF_ERROR(read_text("index", manifest.index));
  const std::optional<FeatureForm> form =
      ParseFeatureForm(Text(document, "feature_form").value_or(""));
  if (!form.has_value()) return missing("feature_form");
  manifest.form = *form;
  const std::optional<int> raw = Extent(document, "raw_feature_dim");
  if (!raw.has_value()) return missing("raw_feature_dim");
  manifest.raw_feature_dim = *raw;
  for (int m = 0; m < 2; ++m) {
    const auto side = document.find(SideName(m));
    if (side == document.end() || !side->is_object()) return missing(SideName(m));
    const std::optional<int> positions = Extent(*side, "positions");
    const std::optional<int> i2t = Extent(*side, "i2t_embed_size");
    const std::optional<int> t2i = Extent(*side, "t2i_embed_size");
    const std::optional<int> coarse = Extent(*side, "coarse_dim");
    if (positions.value_or(0) < 1 || !i2t.has_value() || !t2i.has_value() ||
        coarse.value_or(0) < 1) {
      return missing(SideName(m));
    }
    EncodedItemsView& shape = manifest.shapes[static_cast<size_t>(m)];
    shape = {.modality = m == 0 ? Modality::kImage : Modality::kCaption,
             .positions = *positions,
             .coarse_dim = *coarse};
    shape.directions[0].embed_size = *i2t;
    shape.directions[1].embed_size = *t2i;
  }
  return manifest;
}

}  // namespace

absl::StatusOr<LivingManifest> LivingManifest::Read(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kLivingManifestName);
  ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  const absl::string_view text(reinterpret_cast<const char*>(file->bytes().data()),
                               file->bytes().size());
  absl::StatusOr<LivingManifest> manifest =
      FromJson(json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false));
  if (!manifest.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", manifest.status().message()));
  }
  return manifest;
}

absl::Status LivingManifest::Write(const std::string& directory) const {
  json document = ToJson(*this);
  document["crc32"] = Checksum(document);
  return WriteFileDurably(absl::StrCat(directory, "/", kLivingManifestName),
                          document.dump(2) + "\n");
}

}  // namespace dime
