#include "index/gallery_manifest.h"

#include <openssl/sha.h>

#include <iterator>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "index/durable_file.h"
#include "index/mapped_file.h"
#include "index/search_settings.h"
#include "index/status_macros.h"

namespace dime {
namespace {

using nlohmann::json;

constexpr absl::string_view kFormat = "dime-gallery";
constexpr uint64_t kFormatVersion = 1;
constexpr size_t kVersionBytes = 8;  // of the hash; twice as many hex digits
constexpr size_t kMaxManifestBytes = 1 << 20;
constexpr absl::string_view kIndexSuffix = ".faiss";
constexpr std::array<Modality, 2> kModalities = {Modality::kImage, Modality::kCaption};

std::string SideName(Modality modality) { return absl::StrCat(ModalityName(modality), "s"); }

json ToJson(const GalleryManifest& manifest) {
  json document = {{"format", kFormat},
                   {"format_version", kFormatVersion},
                   {"model_fingerprint", manifest.model_fingerprint}};
  for (const Modality modality : kModalities) {
    const GalleryManifest::Side& side = manifest.sides[static_cast<size_t>(modality)];
    document[SideName(modality)] = {{"count", side.count}, {"index", side.index}};
  }
  document["files"] = json::object();
  for (const auto& [name, file] : manifest.files) {
    document["files"][name] = {{"bytes", file.bytes},
                               {"crc32", absl::StrFormat("%08x", file.crc32)}};
  }
  return document;
}

// The members of `object`, looked up with their type checked: null if it is not there or not so.
const json* Member(const json& object, const std::string& key, json::value_t type) {
  const auto found = object.find(key);
  return found != object.end() && found->type() == type ? &*found : nullptr;
}

// What does not fit, or nothing.
absl::StatusOr<GalleryManifest> FromJson(const json& document) {
  using Type = json::value_t;
  const auto missing = [](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("\"", what, "\" is missing or malformed"));
  };
  if (!document.is_object()) return absl::InvalidArgumentError("it is no JSON object");
  const json* format = Member(document, "format", Type::string);
  if (format == nullptr || format->get_ref<const std::string&>() != kFormat) {
    return absl::InvalidArgumentError(absl::StrCat("\"format\" is not \"", kFormat, "\""));
  }
  const json* format_version = Member(document, "format_version", Type::number_unsigned);
  if (format_version == nullptr) return missing("format_version");
  if (format_version->get<uint64_t>() != kFormatVersion) {
    return absl::InvalidArgumentError(absl::StrCat("format version ", format_version->dump(),
                                                   " is not known; this program reads ",
                                                   kFormatVersion, ". Rebuild the gallery"));
  }
  GalleryManifest manifest;
  const json* fingerprint = Member(document, "model_fingerprint", Type::string);
  if (fingerprint == nullptr) return missing("model_fingerprint");
  manifest.model_fingerprint = fingerprint->get<std::string>();
  for (const Modality modality : kModalities) {
    const json* side = Member(document, SideName(modality), Type::object);
    if (side == nullptr) return missing(SideName(modality));
    const json* count = Member(*side, "count", Type::number_unsigned);
    const json* index = Member(*side, "index", Type::string);
    if (count == nullptr || index == nullptr ||
        count->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return missing(SideName(modality));
    }
    manifest.sides[static_cast<size_t>(modality)] = {.count = count->get<int64_t>(),
                                                     .index = index->get<std::string>()};
  }
  const json* files = Member(document, "files", Type::object);
  if (files == nullptr) return missing("files");
  for (const auto& [name, entry] : files->items()) {
    const json* bytes = entry.is_object() ? Member(entry, "bytes", Type::number_unsigned) : nullptr;
    const json* crc32 = entry.is_object() ? Member(entry, "crc32", Type::string) : nullptr;
    GalleryManifest::File file;
    if (bytes == nullptr || crc32 == nullptr ||
        !absl::SimpleHexAtoi(crc32->get_ref<const std::string&>(), &file.crc32)) {
      return missing("files");
    }
    file.bytes = bytes->get<uint64_t>();
    manifest.files.emplace(name, file);
  }
  const json* version = Member(document, "version", Type::string);
  if (version == nullptr) return missing("version");
  if (version->get_ref<const std::string&>() != manifest.Version()) {
    return absl::InvalidArgumentError("\"version\" does not fit the rest; it was altered");
  }
  return manifest;
}

}  // namespace

std::string GalleryFeaturesName(Modality modality) {
  return absl::StrCat(SideName(modality), ".safetensors");
}
std::string GalleryRecordsName(Modality modality) {
  return absl::StrCat(SideName(modality), ".jsonl");
}
std::string GalleryIndexName(Modality modality) {
  return absl::StrCat(SideName(modality), kIndexSuffix);
}
std::string LocalTensorName(Direction direction) {
  return absl::StrCat(DirectionName(direction), ".local");
}
std::string GlobalTensorName(Direction direction) {
  return absl::StrCat(DirectionName(direction), ".global");
}

std::vector<std::string> GalleryFileNames() {
  std::vector<std::string> names = {kGalleryManifestName, kSearchSettingsName};
  for (const Modality modality : kModalities) {
    names.push_back(GalleryFeaturesName(modality));
    names.push_back(GalleryRecordsName(modality));
    names.push_back(GalleryIndexName(modality));
  }
  const size_t finished = names.size();
  for (size_t i = 0; i < finished; ++i) names.push_back(PartPath(names[i]));
  return names;
}

absl::StatusOr<GalleryManifest::File> ChecksumFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  return GalleryManifest::File{.bytes = file->bytes().size(), .crc32 = Crc32(file->bytes())};
}

std::string GalleryManifest::Version() const {
  GalleryManifest truth = *this;
  for (auto file = truth.files.begin(); file != truth.files.end();) {
    file = absl::EndsWith(file->first, kIndexSuffix) ? truth.files.erase(file) : std::next(file);
  }
  // The library writes members in the order of their names, so equal content gives equal text.
  const std::string text = ToJson(truth).dump(-1, ' ', false, json::error_handler_t::replace);
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(hash), kVersionBytes));
}

absl::StatusOr<GalleryManifest> GalleryManifest::Read(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kGalleryManifestName);
  ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  const absl::string_view text(reinterpret_cast<const char*>(file->bytes().data()),
                               file->bytes().size());
  if (text.size() > kMaxManifestBytes) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no gallery's manifest (too large)"));
  }
  const json document = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  absl::StatusOr<GalleryManifest> manifest = FromJson(document);
  if (!manifest.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", manifest.status().message()));
  }
  return manifest;
}

absl::Status GalleryManifest::Write(const std::string& directory) const {
  json document = ToJson(*this);
  document["version"] = Version();
  return WriteFileDurably(absl::StrCat(directory, "/", kGalleryManifestName),
                          document.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
}

}  // namespace dime
