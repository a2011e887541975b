#include "index/precomputed_dataset.h"

#include <cstddef>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "index/float_bits.h"
#include "index/mapped_file.h"
#include "index/shape.h"
#include "index/status_macros.h"
#include "index/text_lines.h"

namespace dime {
namespace {

using nlohmann::json;

constexpr int kCaptionsPerImage = 5;  // of Flickr30K and MS-COCO
constexpr absl::string_view kDevSplit = "dev";
constexpr size_t kDevCaptions = 5000;  // what the published evaluation uses of `dev`
constexpr int64_t kBoxNumbers = 4;

absl::string_view TextOf(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// The lines of a text file; INVALID_ARGUMENT naming file and line for an empty one or for one that
// is no UTF-8.
absl::StatusOr<std::vector<std::string>> ReadLines(const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  std::vector<std::string> lines;
  for (const absl::string_view line : SplitLines(TextOf(*file))) {
    const size_t number = lines.size() + 1;
    if (absl::StripAsciiWhitespace(line).empty()) {
      return absl::InvalidArgumentError(absl::StrCat(path, " line ", number, " is empty"));
    }
    if (!IsValidUtf8(line)) {
      return absl::InvalidArgumentError(absl::StrCat(path, " line ", number, " is no UTF-8"));
    }
    lines.emplace_back(line);
  }
  return lines;
}

// A file URI with the characters escaped that a URI's path cannot hold.
std::string FileUri(const std::filesystem::path& path) {
  std::string uri = "file://";
  for (const char c : path.string()) {
    if (absl::ascii_isalnum(c) || absl::StrContains("/-._~!$&'()*+,;=:@", c)) {
      uri.push_back(c);
    } else {
      absl::StrAppendFormat(&uri, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return uri;
}

// Where the picture of a name in SPLIT_meta.json is: beside it or in images/; the name itself if it
// is a URI already or no such file is there.
std::string PictureUri(const std::string& directory, const std::string& file) {
  if (absl::StrContains(file, "://")) return file;
  std::error_code error;
  for (const char* folder : {"", "images"}) {
    const std::filesystem::path path =
        std::filesystem::absolute(std::filesystem::path(directory) / folder / file, error)
            .lexically_normal();
    if (!error && std::filesystem::is_regular_file(path, error)) return FileUri(path);
  }
  return file;
}

// An entry of SPLIT_meta.json; errors say what does not fit.
absl::StatusOr<ImageRecord> ParseMetaEntry(const json& entry, const std::string& directory) {
  if (!entry.is_object()) return absl::InvalidArgumentError("is no object");
  ImageRecord record;
  for (const char* key : {"id", "image_id", "coco_image_id"}) {
    const auto field = entry.find(key);
    if (field == entry.end()) continue;
    if (field->is_string()) {
      record.id = field->get<std::string>();
    } else if (field->is_number_integer()) {
      record.id = field->dump();
    }
    if (record.id.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", key, "\" is neither a whole number nor a text that says something"));
    }
    break;
  }
  for (const auto& [key, side] : {std::pair<const char*, int32_t*>{"width", &record.width},
                                  std::pair<const char*, int32_t*>{"height", &record.height}}) {
    const auto field = entry.find(key);
    if (field == entry.end()) continue;
    if (!field->is_number_unsigned() ||
        field->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int32_t>::max())) {
      return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is no whole number of pixels"));
    }
    *side = field->get<int32_t>();
  }
  if (const auto field = entry.find("file"); field != entry.end()) {
    if (!field->is_string()) return absl::InvalidArgumentError("\"file\" is no text");
    record.uri = PictureUri(directory, field->get<std::string>());
  }
  return record;
}

// Appends the kind of each of an entry's captions; false where the entry does not tell them.
bool AppendCaptionKinds(const json& entry, std::vector<std::string>& kinds) {
  const auto captions = entry.find("captions");
  if (captions == entry.end() || !captions->is_array()) return false;
  for (const json& caption : *captions) {
    if (!caption.is_object()) return false;
    const auto kind = caption.find("kind");
    if (kind == caption.end() || !kind->is_string()) return false;
    kinds.push_back(kind->get<std::string>());
  }
  return true;
}

struct Meta {
  std::vector<ImageRecord> images;
  std::vector<std::string> caption_kinds;  // of all images' captions; empty where one is not told
};

absl::StatusOr<Meta> ReadMeta(const std::string& path, const std::string& directory) {
  ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  // The parser and the destructor of this library keep nesting on the heap.
  const absl::string_view text = TextOf(*file);
  const json document = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!document.is_array()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": needed is a JSON array with an object for each image"));
  }
  Meta meta;
  std::vector<ImageRecord>& records = meta.images;
  records.reserve(document.size());
  bool kinds_told = true;
  for (const json& entry : document) {
    absl::StatusOr<ImageRecord> record = ParseMetaEntry(entry, directory);
    if (!record.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": entry ", records.size(), " ", record.status().message()));
    }
    records.push_back(*std::move(record));
    kinds_told = kinds_told && AppendCaptionKinds(entry, meta.caption_kinds);
  }
  if (!kinds_told) meta.caption_kinds.clear();
  return meta;
}

absl::Status CheckCount(const std::string& path, size_t found, int64_t images,
                        absl::string_view what) {
  if (found == static_cast<size_t>(images)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(path, " has ", found, " ", what, " for ", images,
                                                 " images; it must have one for each"));
}

// `values` are whole rows of `file` from `row` on.
absl::Status CheckFinite(const NpyFile& file, int64_t row, absl::Span<const float> values) {
  const ptrdiff_t found = FindNonFinite(values);
  if (found < 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      file.path(), ": row ", row + found / file.row_size(), " holds a NaN or an infinity"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<PrecomputedDataset>> PrecomputedDataset::Open(
    const std::string& directory, const std::string& split) {
  const auto path_of = [&](absl::string_view suffix) {
    return (std::filesystem::path(directory) / absl::StrCat(split, suffix)).string();
  };
  std::unique_ptr<PrecomputedDataset> dataset(new PrecomputedDataset());

  ASSIGN_OR_RETURN(dataset->features_, NpyFile::Open(path_of("_ims.npy")));
  const NpyFile& features = *dataset->features_;
  const std::vector<int64_t>& shape = features.shape();
  constexpr int64_t kMaxExtent = std::numeric_limits<int32_t>::max();
  if (shape.size() != 3 || shape[0] < 1 || shape[1] < 1 || shape[2] < 1 || shape[1] > kMaxExtent ||
      shape[2] > kMaxExtent) {
    return absl::InvalidArgumentError(absl::StrCat(features.path(), " has shape ",
                                                   ShapeString(shape),
                                                   "; needed is (images, regions, feature size)"));
  }
  const int64_t images = shape[0];

  absl::StatusOr<std::unique_ptr<NpyFile>> boxes = NpyFile::Open(path_of("_boxes.npy"));
  if (boxes.ok()) {
    const std::vector<int64_t> needed = {images, shape[1], kBoxNumbers};
    if ((*boxes)->shape() != needed) {
      return absl::InvalidArgumentError(absl::StrCat((*boxes)->path(), " has shape ",
                                                     ShapeString((*boxes)->shape()), "; needed is ",
                                                     ShapeString(needed)));
    }
    dataset->boxes_ = *std::move(boxes);
  } else if (!absl::IsNotFound(boxes.status())) {
    return boxes.status();
  }

  const std::string meta_path = path_of("_meta.json");
  absl::StatusOr<Meta> meta = ReadMeta(meta_path, directory);
  if (meta.ok()) {
    RETURN_IF_ERROR(CheckCount(meta_path, meta->images.size(), images, "entries"));
    dataset->images_ = std::move(meta->images);
    dataset->caption_kinds_ = std::move(meta->caption_kinds);
  } else if (absl::IsNotFound(meta.status())) {
    dataset->images_.resize(static_cast<size_t>(images));
  } else {
    return meta.status();
  }
  const std::string ids_path = path_of("_ids.txt");
  absl::StatusOr<std::vector<std::string>> ids = ReadLines(ids_path);
  if (ids.ok()) {
    RETURN_IF_ERROR(CheckCount(ids_path, ids->size(), images, "ids"));
    for (size_t i = 0; i < ids->size(); ++i) {
      dataset->images_[i].id = std::string(absl::StripAsciiWhitespace((*ids)[i]));
    }
  } else if (!absl::IsNotFound(ids.status())) {
    return ids.status();
  }
  for (size_t i = 0; i < dataset->images_.size(); ++i) {
    std::string& id = dataset->images_[i].id;
    if (id.empty()) id = absl::StrCat(split, "-", i);
  }

  const std::string captions_path = path_of("_caps.txt");
  absl::StatusOr<std::vector<std::string>> captions = ReadLines(captions_path);
  if (captions.ok()) {
    dataset->captions_ = *std::move(captions);
  } else if (!absl::IsNotFound(captions.status())) {
    return captions.status();
  }
  // Kinds of other captions than these say nothing.
  if (dataset->caption_kinds_.size() != dataset->captions_.size()) dataset->caption_kinds_.clear();
  if (!captions.ok()) return dataset;
  const int64_t num_captions = static_cast<int64_t>(dataset->captions_.size());
  if (num_captions != images && num_captions != images * kCaptionsPerImage) {
    return absl::InvalidArgumentError(absl::StrCat(
        captions_path, " has ", num_captions, " captions for the ", images, " images of ",
        features.path(), "; it must have as many, or ", kCaptionsPerImage, " for each"));
  }
  dataset->captions_per_image_ = static_cast<int>(num_captions / images);
  if (split == kDevSplit && dataset->captions_.size() > kDevCaptions) {
    dataset->captions_.resize(kDevCaptions);
    if (!dataset->caption_kinds_.empty()) dataset->caption_kinds_.resize(kDevCaptions);
    dataset->images_.resize(kDevCaptions / static_cast<size_t>(dataset->captions_per_image_));
  }
  return dataset;
}

absl::Status PrecomputedDataset::ReadFeatures(int64_t first, int64_t count,
                                              absl::Span<float> out) const {
  if (first < 0 || count < 0 || first > num_images() || count > num_images() - first) {
    return absl::OutOfRangeError(absl::StrCat(features_->path(), ": images [", first, ", ", first,
                                              " + ", count, ") are not within the ", num_images(),
                                              " images"));
  }
  RETURN_IF_ERROR(features_->ReadRows(first, count, out));
  return CheckFinite(*features_, first, out);
}

absl::StatusOr<ImageRecord> PrecomputedDataset::Image(int64_t row) const {
  if (row < 0 || row >= num_images()) {
    return absl::OutOfRangeError(
        absl::StrCat(features_->path(), ": there is no image ", row, " among ", num_images()));
  }
  ImageRecord record = images_[static_cast<size_t>(row)];
  if (boxes_ != nullptr) {
    record.boxes.resize(static_cast<size_t>(boxes_->row_size()));
    RETURN_IF_ERROR(boxes_->ReadRows(row, 1, absl::MakeSpan(record.boxes)));
    RETURN_IF_ERROR(CheckFinite(*boxes_, row, record.boxes));
  }
  return record;
}

CaptionRecord PrecomputedDataset::Caption(int64_t row) const {
  const std::string& image_id = images_[static_cast<size_t>(ImageOfCaption(row))].id;
  return {.id = absl::StrCat(image_id, "#", row % captions_per_image_),
          .text = captions_[static_cast<size_t>(row)],
          .image_id = image_id};
}

}  // namespace dime
