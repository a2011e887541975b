#include "index/file_gallery.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "index/float_bits.h"
#include "index/gallery_manifest.h"
#include "index/mapped_file.h"
#include "index/record_subject.h"
#include "index/shape.h"
#include "index/status_macros.h"
#include "index/text_lines.h"

namespace dime {
namespace {

using nlohmann::json;

constexpr size_t kShownFingerprint = 12;  // digits, in messages
constexpr int64_t kBoxNumbers = 4;
constexpr int64_t kMoreForQuantised = 4;  // a quarter more candidates are looked at

std::string PathOf(const std::string& directory, absl::string_view name) {
  return absl::StrCat(directory, "/", name);
}

void Warn(absl::string_view message) {
  std::fprintf(stderr, "warning: %.*s\n", static_cast<int>(message.size()), message.data());
}

// Whatever is wrong with a file that the manifest promises is damage.
absl::Status Damage(const absl::Status& status) {
  return status.ok() ? status : absl::InvalidArgumentError(status.message());
}

absl::Status CheckFile(const std::string& directory, const GalleryManifest& manifest,
                       const std::string& name, bool verify_checksum) {
  const std::string path = PathOf(directory, name);
  const auto expected = manifest.files.find(name);
  if (expected == manifest.files.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat(PathOf(directory, kGalleryManifestName), ": \"files\" lacks ", name));
  }
  std::error_code error;
  const uintmax_t bytes = std::filesystem::file_size(path, error);
  if (error) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.message()));
  }
  if (bytes != expected->second.bytes) {
    return absl::InvalidArgumentError(absl::StrCat(path, " has ", bytes, " bytes instead of ",
                                                   expected->second.bytes, "; it is damaged"));
  }
  if (!verify_checksum) return absl::OkStatus();
  absl::StatusOr<GalleryManifest::File> found = ChecksumFile(path);
  if (!found.ok()) return Damage(found.status());
  if (found->crc32 != expected->second.crc32) {
    return absl::InvalidArgumentError(absl::StrCat(path, " does not have the checksum that ",
                                                   kGalleryManifestName,
                                                   " says; it is damaged or of another gallery"));
  }
  return absl::OkStatus();
}

// The lengths of `shape`'s dimensions as the tensor has them; INVALID_ARGUMENT if it is not there
// or has another number of dimensions or no `count` rows.
absl::StatusOr<std::vector<int64_t>> ShapeOf(const SafetensorsFile& file, absl::string_view name,
                                             size_t dimensions, int64_t count) {
  absl::StatusOr<TensorView> tensor = file.Get(name);
  if (!tensor.ok()) return Damage(tensor.status());
  constexpr int64_t kMaxExtent = std::numeric_limits<int32_t>::max();
  bool fits = tensor->shape.size() == dimensions && tensor->shape[0] == count;
  for (size_t i = 1; fits && i < dimensions; ++i) {
    fits = tensor->shape[i] >= 1 && tensor->shape[i] <= kMaxExtent;
  }
  if (!fits) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path(), ": tensor \"", name, "\" has shape ", ShapeString(tensor->shape),
                     "; needed are ", dimensions, " dimensions, the first of ", count));
  }
  return tensor->shape;
}

absl::StatusOr<std::vector<int32_t>> ReadLengths(const SafetensorsFile& file, int64_t count,
                                                 int positions) {
  ASSIGN_OR_RETURN(const std::vector<int64_t> shape, ShapeOf(file, kLengthsTensorName, 1, count));
  ASSIGN_OR_RETURN(const TensorView tensor, file.Get(kLengthsTensorName));
  if (tensor.type != TensorType::kInt32) {
    return absl::InvalidArgumentError(absl::StrCat(file.path(), ": tensor \"", kLengthsTensorName,
                                                   "\" is ", TensorTypeName(tensor.type),
                                                   "; needed is I32"));
  }
  std::vector<int32_t> lengths(static_cast<size_t>(count));
  std::memcpy(lengths.data(), tensor.bytes.data(), tensor.bytes.size());
  for (const int32_t length : lengths) {
    if (length < 1 || length > positions) {
      return absl::InvalidArgumentError(absl::StrCat(file.path(), ": tensor \"", kLengthsTensorName,
                                                     "\" holds ", length,
                                                     ", which is not from 1 to ", positions));
    }
  }
  return lengths;
}

// The features in `file`, used in place. `lengths` must outlive them and is filled here.
absl::StatusOr<EncodedItemsView> MapFeatures(const SafetensorsFile& file, Modality modality,
                                             int64_t count, std::vector<int32_t>& lengths) {
  EncodedItemsView features;
  features.modality = modality;
  features.count = count;
  for (const Direction direction : kDirections) {
    const std::string local_name = LocalTensorName(direction);
    if (file.Find(local_name) == nullptr) continue;
    ASSIGN_OR_RETURN(const std::vector<int64_t> shape, ShapeOf(file, local_name, 3, count));
    const int positions = static_cast<int>(shape[1]);
    if (features.positions != 0 && features.positions != positions) {
      return absl::InvalidArgumentError(absl::StrCat(file.path(), ": tensor \"", local_name,
                                                     "\" has ", positions, " positions, another ",
                                                     features.positions));
    }
    features.positions = positions;
    DirectionFeaturesView& view = features.directions[static_cast<size_t>(direction)];
    view.embed_size = static_cast<int>(shape[2]);
    ASSIGN_OR_RETURN(view.local, file.Floats(local_name, shape));
    const std::string global_name = GlobalTensorName(direction);
    absl::StatusOr<absl::Span<const float>> global =
        file.Floats(global_name, {count, view.embed_size});
    if (!global.ok()) return Damage(global.status());
    view.global = *global;
  }
  if (features.positions == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path(), ": it has the features of neither direction"));
  }
  ASSIGN_OR_RETURN(const std::vector<int64_t> coarse_shape,
                   ShapeOf(file, kCoarseTensorName, 2, count));
  features.coarse_dim = static_cast<int>(coarse_shape[1]);
  ASSIGN_OR_RETURN(features.coarse, file.Floats(kCoarseTensorName, coarse_shape));
  ASSIGN_OR_RETURN(lengths, ReadLengths(file, count, features.positions));
  features.lengths = lengths;
  return features;
}

// The string member `key` of a record, which must be there if it is `required`.
bool ReadText(const json& object, const char* key, bool required, std::string& text) {
  const auto field = object.find(key);
  if (field == object.end()) return !required;
  if (!field->is_string()) return false;
  text = field->get<std::string>();
  return !required || !text.empty();
}

bool ReadSide(const json& object, const char* key, int32_t& side) {
  const auto field = object.find(key);
  if (field == object.end()) return true;
  if (!field->is_number_unsigned() ||
      field->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int32_t>::max())) {
    return false;
  }
  side = field->get<int32_t>();
  return true;
}

bool ReadPayload(const json& object, Payload& payload) {
  const auto field = object.find("payload");
  if (field == object.end()) return true;
  absl::StatusOr<Payload> checked = CheckPayload(*field);
  if (!checked.ok()) return false;
  payload = *std::move(checked);
  return true;
}

std::optional<ImageRecord> ParseImage(const json& object) {
  ImageRecord record;
  if (!ReadText(object, "id", true, record.id) || !ReadSide(object, "width", record.width) ||
      !ReadSide(object, "height", record.height) || !ReadText(object, "uri", false, record.uri) ||
      !ReadPayload(object, record.payload)) {
    return std::nullopt;
  }
  return record;
}

std::optional<CaptionRecord> ParseCaption(const json& object) {
  CaptionRecord record;
  if (!ReadText(object, "id", true, record.id) || !ReadText(object, "text", true, record.text) ||
      !ReadText(object, "image_id", false, record.image_id) ||
      !ReadText(object, "uri", false, record.uri) || !ReadPayload(object, record.payload)) {
    return std::nullopt;
  }
  return record;
}

// Reads `count` records, a JSON object a line, and the rows of their ids.
template <typename Record, typename Parse>
absl::Status ReadRecords(const std::string& path, int64_t count, Parse parse,
                         std::vector<Record>& records,
                         absl::flat_hash_map<std::string, int64_t>& rows) {
  const absl::StatusOr<std::unique_ptr<MappedFile>> file = MappedFile::Open(path);
  if (!file.ok()) return Damage(file.status());
  const std::vector<absl::string_view> lines =
      SplitLines({reinterpret_cast<const char*>((*file)->bytes().data()), (*file)->bytes().size()});
  if (lines.size() != static_cast<size_t>(count)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has ", lines.size(), " records instead of ", count));
  }
  records.reserve(lines.size());
  rows.reserve(lines.size());
  for (const absl::string_view line : lines) {
    const int64_t row = static_cast<int64_t>(records.size());
    const json object = json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
    std::optional<Record> record = object.is_object() ? parse(object) : std::nullopt;
    if (!record.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, " line ", row + 1, " is a malformed record"));
    }
    if (!rows.emplace(record->id, row).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, " line ", row + 1, ": the id \"", record->id, "\" is there twice"));
    }
    records.push_back(*std::move(record));
  }
  return absl::OkStatus();
}

absl::Status ReadBoxes(const SafetensorsFile& file, int positions,
                       std::vector<ImageRecord>& images) {
  if (file.Find(kBoxesTensorName) == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(
      const absl::Span<const float> boxes,
      file.Floats(kBoxesTensorName, {static_cast<int64_t>(images.size()), positions, kBoxNumbers}));
  const size_t size = static_cast<size_t>(positions * kBoxNumbers);
  for (size_t i = 0; i < images.size(); ++i) {
    const absl::Span<const float> own = boxes.subspan(i * size, size);
    images[i].boxes.assign(own.begin(), own.end());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<CoarseIndex>> LoadIndex(const std::string& directory,
                                                       const GalleryManifest& manifest,
                                                       const EncodedItemsView& features,
                                                       bool verify_checksum) {
  const std::string name = GalleryIndexName(features.modality);
  RETURN_IF_ERROR(CheckFile(directory, manifest, name, verify_checksum));
  ASSIGN_OR_RETURN(std::unique_ptr<CoarseIndex> index, CoarseIndex::Load(PathOf(directory, name)));
  if (index->size() != features.count || index->dim() != features.coarse_dim ||
      index->factory() != manifest.sides[static_cast<size_t>(features.modality)].index) {
    return absl::InvalidArgumentError(
        absl::StrCat(PathOf(directory, name), " is of another gallery"));
  }
  return index;
}

// Builds the index anew from the coarse embeddings and tries to put it where it was missing.
absl::StatusOr<std::unique_ptr<CoarseIndex>> RebuildIndex(const std::string& directory,
                                                          const EncodedItemsView& features,
                                                          GalleryManifest& manifest) {
  const std::string name = GalleryIndexName(features.modality);
  const std::string path = PathOf(directory, name);
  const CoarseIndex::Options options = {
      .factory = manifest.sides[static_cast<size_t>(features.modality)].index};
  absl::StatusOr<std::unique_ptr<CoarseIndex>> index =
      CoarseIndex::Build(features.coarse, features.coarse_dim, options);
  if (!index.ok()) {
    return absl::Status(index.status().code(),
                        absl::StrCat("rebuilding ", path, ": ", index.status().message()));
  }
  absl::Status saved = (*index)->Save(path);
  if (saved.ok()) {
    absl::StatusOr<GalleryManifest::File> checksum = ChecksumFile(path);
    saved = checksum.status();
    if (saved.ok()) {
      manifest.files[name] = *checksum;
      saved = manifest.Write(directory);
    }
  }
  if (!saved.ok()) {
    Warn(absl::StrCat("the rebuilt index was not saved: ", saved.message(),
                      ". It is rebuilt on every start until it can be"));
  }
  return index;
}

std::string GalleryName(const std::string& directory) {
  std::error_code error;
  std::filesystem::path path = std::filesystem::weakly_canonical(directory, error);
  if (error) path = directory;
  if (!path.has_filename()) path = path.parent_path();
  return path.filename().string();
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileGallery>> FileGallery::Open(const std::string& directory,
                                                               const Options& options) {
  absl::StatusOr<GalleryManifest> manifest = GalleryManifest::Read(directory);
  if (absl::IsNotFound(manifest.status())) {
    return absl::NotFoundError(absl::StrCat("there is no gallery at ", directory, " (no ",
                                            kGalleryManifestName,
                                            "); build one with dime_build_gallery"));
  }
  if (!manifest.ok()) return manifest.status();
  if (!options.expected_model_fingerprint.empty() &&
      options.expected_model_fingerprint != manifest->model_fingerprint) {
    return absl::FailedPreconditionError(absl::StrCat(
        "gallery ", directory, " was made with model ",
        manifest->model_fingerprint.substr(0, kShownFingerprint), " but the server runs ",
        options.expected_model_fingerprint.substr(0, kShownFingerprint),
        "; rebuild it with dime_build_gallery --model ... or start the server with the model it "
        "was "
        "made with"));
  }

  std::unique_ptr<FileGallery> gallery(new FileGallery());
  for (const Modality modality : {Modality::kImage, Modality::kCaption}) {
    Side& side = gallery->sides_[static_cast<size_t>(modality)];
    const int64_t count = manifest->sides[static_cast<size_t>(modality)].count;
    side.features.modality = modality;
    if (count == 0) continue;

    const std::string features_name = GalleryFeaturesName(modality);
    const std::string records_name = GalleryRecordsName(modality);
    for (const std::string& name : {features_name, records_name}) {
      RETURN_IF_ERROR(CheckFile(directory, *manifest, name, options.verify_checksums));
    }
    absl::StatusOr<std::unique_ptr<SafetensorsFile>> file =
        SafetensorsFile::Open(PathOf(directory, features_name));
    if (!file.ok()) return Damage(file.status());
    side.file = *std::move(file);
    ASSIGN_OR_RETURN(side.features, MapFeatures(*side.file, modality, count, side.lengths));

    const std::string records_path = PathOf(directory, records_name);
    if (modality == Modality::kImage) {
      RETURN_IF_ERROR(ReadRecords(records_path, count, ParseImage, gallery->images_, side.rows));
      RETURN_IF_ERROR(ReadBoxes(*side.file, side.features.positions, gallery->images_));
    } else {
      RETURN_IF_ERROR(
          ReadRecords(records_path, count, ParseCaption, gallery->captions_, side.rows));
    }

    side.by_id = gallery->ListRows(modality);
    std::sort(side.by_id.begin(), side.by_id.end(), [&](int64_t a, int64_t b) {
      return gallery->IdOf(modality, a) < gallery->IdOf(modality, b);
    });

    absl::StatusOr<std::unique_ptr<CoarseIndex>> index =
        LoadIndex(directory, *manifest, side.features, options.verify_checksums);
    if (!index.ok()) {
      Warn(absl::StrCat(index.status().message(), "; rebuilding it from the coarse embeddings"));
      index = RebuildIndex(directory, side.features, *manifest);
      if (!index.ok()) return index.status();
    }
    side.index = *std::move(index);
    RETURN_IF_ERROR(SearchElsewhere(options.searchers, side.features.coarse, *side.index));
  }

  const EncodedItemsView& images = gallery->side(Modality::kImage).features;
  const EncodedItemsView& captions = gallery->side(Modality::kCaption).features;
  for (const Direction direction : kDirections) {
    if (images.count > 0 && captions.count > 0 &&
        (images.of(direction).embed_size != captions.of(direction).embed_size ||
         images.coarse_dim != captions.coarse_dim)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "gallery ", directory, ": the features of its images and captions differ in width"));
    }
  }
  const auto index_of = [&](Modality modality) {
    const Side& side = gallery->side(modality);
    return side.index == nullptr ? manifest->sides[static_cast<size_t>(modality)].index
                                 : side.index->description();
  };
  gallery->info_ = {.name = GalleryName(directory),
                    .version = manifest->Version(),
                    .lineage = manifest->Version(),
                    .model_fingerprint = manifest->model_fingerprint,
                    .image_index = index_of(Modality::kImage),
                    .caption_index = index_of(Modality::kCaption),
                    .num_regions = images.positions,
                    .max_words = captions.positions};
  return gallery;
}

std::shared_ptr<const GalleryView> FileGallery::Pin() const {
  // Without ownership: the gallery outlives its views.
  return std::shared_ptr<const GalleryView>(std::shared_ptr<const void>(), this);
}

absl::StatusOr<int64_t> FileGallery::FindRow(Modality modality, absl::string_view id) const {
  const auto& rows = side(modality).rows;
  const auto found = rows.find(id);
  if (found == rows.end()) {
    return absl::NotFoundError(absl::StrCat("gallery ", info_.name, " has no ",
                                            ModalityName(modality), " with the id \"", id, "\""));
  }
  return found->second;
}

std::vector<int64_t> FileGallery::ListRows(Modality modality) const {
  std::vector<int64_t> rows(static_cast<size_t>(size(modality)));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

absl::StatusOr<std::vector<std::string>> FileGallery::ListIds(Modality modality,
                                                              absl::string_view after_id,
                                                              int64_t limit) const {
  const std::vector<int64_t>& by_id = side(modality).by_id;
  auto next = std::upper_bound(
      by_id.begin(), by_id.end(), after_id,
      [this, modality](absl::string_view id, int64_t row) { return id < IdOf(modality, row); });
  std::vector<std::string> ids;
  for (; next != by_id.end() && static_cast<int64_t>(ids.size()) < limit; ++next) {
    ids.push_back(IdOf(modality, *next));
  }
  return ids;
}

absl::Status FileGallery::CheckRows(Modality modality, absl::Span<const int64_t> rows) const {
  for (const int64_t row : rows) {
    if (row >= 0 && row < size(modality)) continue;
    return absl::NotFoundError(
        absl::StrCat("gallery ", info_.name, " has no ", ModalityName(modality), " in row ", row));
  }
  return absl::OkStatus();
}

absl::Status FileGallery::VisitImages(absl::Span<const int64_t> rows, RecordParts /*parts*/,
                                      absl::FunctionRef<void(const ImageRecord&)> visit) const {
  RETURN_IF_ERROR(CheckRows(Modality::kImage, rows));
  for (const int64_t row : rows) visit(images_[static_cast<size_t>(row)]);
  return absl::OkStatus();
}

absl::Status FileGallery::VisitCaptions(absl::Span<const int64_t> rows, RecordParts /*parts*/,
                                        absl::FunctionRef<void(const CaptionRecord&)> visit) const {
  RETURN_IF_ERROR(CheckRows(Modality::kCaption, rows));
  for (const int64_t row : rows) visit(captions_[static_cast<size_t>(row)]);
  return absl::OkStatus();
}

absl::StatusOr<EncodedItems> FileGallery::ReadFeatures(Modality modality,
                                                       absl::Span<const int64_t> rows) const {
  RETURN_IF_ERROR(CheckRows(modality, rows));
  return CopyItems(features(modality), rows);
}

std::vector<int64_t> FileGallery::MatchingRows(Modality modality, const ItemFilter* filter) const {
  std::vector<int64_t> rows = ListRows(modality);
  if (filter == nullptr || filter->matches_everything()) return rows;
  std::erase_if(rows, [&](int64_t row) {
    return !filter->Matches(modality == Modality::kImage
                                ? SubjectOf(images_[static_cast<size_t>(row)])
                                : SubjectOf(captions_[static_cast<size_t>(row)]));
  });
  return rows;
}

std::vector<Candidate> FileGallery::Scan(const Side& searched, absl::Span<const int64_t> rows,
                                         absl::Span<const float> coarse_query, int64_t k) const {
  const size_t dim = coarse_query.size();
  std::vector<Candidate> candidates;
  candidates.reserve(rows.size());
  for (const int64_t row : rows) {
    const absl::Span<const float> item =
        searched.features.coarse.subspan(static_cast<size_t>(row) * dim, dim);
    candidates.push_back(
        {row, std::inner_product(item.begin(), item.end(), coarse_query.begin(), 0.0f)});
  }
  // Stable: rows of equal score stay in the rows' order.
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
  if (static_cast<int64_t>(candidates.size()) > k) candidates.resize(static_cast<size_t>(k));
  return candidates;
}

absl::StatusOr<std::vector<Candidate>> FileGallery::Recall(Modality modality,
                                                           absl::Span<const float> coarse_query,
                                                           int64_t k,
                                                           const RecallOptions& options) const {
  const Side& searched = side(modality);
  if (searched.index == nullptr) return std::vector<Candidate>();
  if (options.exact || options.filter != nullptr) {
    if (coarse_query.size() != static_cast<size_t>(searched.features.coarse_dim) || k < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("a coarse query of ", coarse_query.size(), " floats for ", k,
                       " candidates; the gallery has ", searched.features.coarse_dim));
    }
    if (FindNonFinite(coarse_query) >= 0) {
      return absl::InvalidArgumentError("the coarse query holds a NaN or an infinity");
    }
    return Scan(searched, MatchingRows(modality, options.filter), coarse_query, k);
  }
  const CoarseIndex::SearchOptions search = {.effort = options.effort};
  if (searched.index->keeps_vectors()) return searched.index->Search(coarse_query, k, search);

  // The index saw the vectors through a quantiser; here they are as they were. A few more
  // candidates bring back what its rounding pushed below the k-th place.
  k = std::min(k, searched.features.count);
  ASSIGN_OR_RETURN(std::vector<Candidate> candidates,
                   searched.index->Search(coarse_query, k + k / kMoreForQuantised, search));
  const size_t dim = coarse_query.size();
  for (Candidate& candidate : candidates) {
    const absl::Span<const float> item =
        searched.features.coarse.subspan(static_cast<size_t>(candidate.row) * dim, dim);
    candidate.score = std::inner_product(item.begin(), item.end(), coarse_query.begin(), 0.0f);
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return a.score != b.score ? a.score > b.score : a.row < b.row;
  });
  if (candidates.size() > static_cast<size_t>(k)) candidates.resize(static_cast<size_t>(k));
  return candidates;
}

}  // namespace dime
