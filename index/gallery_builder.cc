#include "index/gallery_builder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "index/durable_file.h"
#include "index/float_bits.h"
#include "index/safetensors_file.h"
#include "index/status_macros.h"
#include "index/text_lines.h"

namespace dime {
namespace {

using nlohmann::json;

constexpr size_t kBoxNumbers = 4;

absl::Status CheckText(Modality modality, absl::string_view id, absl::string_view field,
                       absl::string_view text) {
  if (IsValidUtf8(text)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(ModalityName(modality), " ", Quoted(id), ": its ", field, " is no UTF-8"));
}

absl::Status AddPayload(Modality modality, absl::string_view id, const Payload& payload,
                        json& line) {
  if (payload.is_null()) return absl::OkStatus();
  absl::StatusOr<Payload> checked = CheckPayload(payload);
  if (!checked.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(ModalityName(modality), " ", Quoted(id), ": ", checked.status().message()));
  }
  line["payload"] = *std::move(checked);
  return absl::OkStatus();
}

// An error if a directory holds anything that a gallery's does not.
absl::Status CheckHoldsGalleryFilesOnly(const std::string& directory) {
  const std::vector<std::string> known = GalleryFileNames();
  std::error_code error;
  std::filesystem::directory_iterator entries(directory, error);
  for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return absl::AlreadyExistsError(absl::StrCat(
          directory, " holds ", name, ", which is no part of a gallery; it is not replaced"));
    }
  }
  if (error) return FileError(error.value(), "cannot read", directory);
  return absl::OkStatus();
}

// Removes a directory with a gallery's files and nothing else; others stay and make it an error.
absl::Status RemoveGalleryDirectory(const std::string& directory) {
  RETURN_IF_ERROR(CheckHoldsGalleryFilesOnly(directory));
  for (const std::string& name : GalleryFileNames()) {
    const std::string path = absl::StrCat(directory, "/", name);
    if (unlink(path.c_str()) != 0 && errno != ENOENT)
      return FileError(errno, "cannot remove", path);
  }
  if (rmdir(directory.c_str()) != 0) return FileError(errno, "cannot remove", directory);
  return absl::OkStatus();
}

// Whether `directory` may be replaced: see GalleryBuilder::Create().
absl::Status CheckReplaceable(const std::string& directory, bool overwrite) {
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error)) {
    return absl::AlreadyExistsError(absl::StrCat(directory, " is there and is no directory"));
  }
  if (!overwrite) {
    return absl::AlreadyExistsError(
        absl::StrCat(directory, " is there already; choose another name, or ask to overwrite it"));
  }
  RETURN_IF_ERROR(CheckHoldsGalleryFilesOnly(directory));
  const bool has_manifest =
      std::filesystem::exists(absl::StrCat(directory, "/", kGalleryManifestName), error);
  if (!has_manifest && !std::filesystem::is_empty(directory, error)) {
    return absl::AlreadyExistsError(absl::StrCat(directory, " is no gallery (no ",
                                                 kGalleryManifestName, "); it is not replaced"));
  }
  return absl::OkStatus();
}

// Puts the directory `part` in the place of `directory` and removes what was there.
absl::Status ReplaceDirectory(const std::string& part, const std::string& directory) {
  std::error_code error;
  if (!std::filesystem::exists(directory, error)) {
    if (std::rename(part.c_str(), directory.c_str()) != 0) {
      return FileError(errno, absl::StrCat("cannot rename ", part, " to"), directory);
    }
    return SyncDirectory(ParentDirectory(directory));
  }
  // An exchange, so that there is a gallery under the name at all times.
  if (renameat2(AT_FDCWD, part.c_str(), AT_FDCWD, directory.c_str(), RENAME_EXCHANGE) == 0) {
    RETURN_IF_ERROR(SyncDirectory(ParentDirectory(directory)));
    return RemoveGalleryDirectory(part);
  }
  if (errno != EINVAL && errno != ENOSYS) {
    return FileError(errno, absl::StrCat("cannot exchange ", part, " with"), directory);
  }
  // The file system cannot do that.
  RETURN_IF_ERROR(RemoveGalleryDirectory(directory));
  return ReplaceDirectory(part, directory);
}

}  // namespace

struct GalleryBuilder::Side {
  ~Side() {
    if (records >= 0) close(records);
  }

  Modality modality = Modality::kImage;
  int64_t announced = 0;
  int64_t added = 0;
  // Of the first batch; the rest must be the same.
  int positions = 0;
  std::array<int, kNumDirections> embed_sizes = {};
  int coarse_dim = 0;
  bool has_boxes = false;

  std::unique_ptr<SafetensorsWriter> features;  // null before the first batch
  int records = -1;                             // descriptor of the .jsonl file
  std::vector<float> coarse;                    // (added, coarse_dim)
  absl::flat_hash_set<std::string> ids;
};

GalleryBuilder::GalleryBuilder(std::string directory, Options options)
    : directory_(std::move(directory)), options_(std::move(options)) {
  for (const Modality modality : {Modality::kImage, Modality::kCaption}) {
    auto side = std::make_unique<Side>();
    side->modality = modality;
    side->announced = modality == Modality::kImage ? options_.num_images : options_.num_captions;
    sides_[static_cast<size_t>(modality)] = std::move(side);
  }
  manifest_.model_fingerprint = options_.model_fingerprint;
}

absl::StatusOr<std::unique_ptr<GalleryBuilder>> GalleryBuilder::Create(const std::string& directory,
                                                                       const Options& options) {
  if (directory.empty()) return absl::InvalidArgumentError("the gallery's directory has no name");
  if (options.num_images < 0 || options.num_captions < 0 ||
      (options.num_images == 0 && options.num_captions == 0)) {
    return absl::InvalidArgumentError(absl::StrCat("a gallery of ", options.num_images,
                                                   " images and ", options.num_captions,
                                                   " captions cannot be built"));
  }
  if (!IsValidUtf8(options.model_fingerprint)) {
    return absl::InvalidArgumentError("the model's fingerprint is no UTF-8");
  }
  std::error_code error;
  // Absolute first: a relative path of which nothing exists would stay one, without a parent.
  std::filesystem::path path =
      std::filesystem::weakly_canonical(std::filesystem::absolute(directory), error);
  if (error) return FileError(error.value(), "cannot resolve", directory);
  if (!path.has_filename()) path = path.parent_path();  // it ended with a slash
  const std::string canonical = path.string();
  if (std::filesystem::exists(path, error)) {
    RETURN_IF_ERROR(CheckReplaceable(canonical, options.overwrite));
  }
  std::filesystem::create_directories(path.parent_path(), error);
  if (error) return FileError(error.value(), "cannot create", path.parent_path().string());

  const std::string part = PartPath(canonical);
  if (std::filesystem::exists(part, error)) RETURN_IF_ERROR(RemoveGalleryDirectory(part));
  if (mkdir(part.c_str(), 0777) != 0) return FileError(errno, "cannot create", part);
  return std::unique_ptr<GalleryBuilder>(new GalleryBuilder(canonical, options));
}

GalleryBuilder::~GalleryBuilder() {
  for (std::unique_ptr<Side>& side : sides_) side.reset();  // closes and removes their files
  if (!finished_) RemoveGalleryDirectory(PartPath(directory_)).IgnoreError();
}

absl::Status GalleryBuilder::AddImages(absl::Span<const ImageRecord> records,
                                       const EncodedItemsView& features) {
  Batch batch;
  for (const ImageRecord& record : records) {
    RETURN_IF_ERROR(CheckText(Modality::kImage, record.id, "id", record.id));
    RETURN_IF_ERROR(CheckText(Modality::kImage, record.id, "uri", record.uri));
    if (record.width < 0 || record.height < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("image ", Quoted(record.id), ": its size is negative"));
    }
    const size_t boxes = static_cast<size_t>(features.positions) * kBoxNumbers;
    if (record.boxes.empty() != records.front().boxes.empty() ||
        (!record.boxes.empty() && record.boxes.size() != boxes)) {
      return absl::InvalidArgumentError(
          absl::StrCat("image ", Quoted(record.id), " has ", record.boxes.size() / kBoxNumbers,
                       " boxes for ", features.positions,
                       " regions; either all images have a box for each region or none has boxes"));
    }
    if (FindNonFinite(record.boxes) >= 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("image ", Quoted(record.id), ": its boxes hold a NaN or an infinity"));
    }
    json line = {{"id", record.id}};
    if (record.width != 0) line["width"] = record.width;
    if (record.height != 0) line["height"] = record.height;
    if (!record.uri.empty()) line["uri"] = record.uri;
    RETURN_IF_ERROR(AddPayload(Modality::kImage, record.id, record.payload, line));
    absl::StrAppend(&batch.lines, line.dump(), "\n");
    batch.ids.push_back(record.id);
    batch.boxes.insert(batch.boxes.end(), record.boxes.begin(), record.boxes.end());
  }
  return Add(side(Modality::kImage), features, batch);
}

absl::Status GalleryBuilder::AddCaptions(absl::Span<const CaptionRecord> records,
                                         const EncodedItemsView& features) {
  Batch batch;
  for (const CaptionRecord& record : records) {
    RETURN_IF_ERROR(CheckText(Modality::kCaption, record.id, "id", record.id));
    RETURN_IF_ERROR(CheckText(Modality::kCaption, record.id, "text", record.text));
    RETURN_IF_ERROR(CheckText(Modality::kCaption, record.id, "image_id", record.image_id));
    RETURN_IF_ERROR(CheckText(Modality::kCaption, record.id, "uri", record.uri));
    if (record.text.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("caption ", Quoted(record.id), " has no text"));
    }
    json line = {{"id", record.id}, {"text", record.text}};
    if (!record.image_id.empty()) line["image_id"] = record.image_id;
    if (!record.uri.empty()) line["uri"] = record.uri;
    RETURN_IF_ERROR(AddPayload(Modality::kCaption, record.id, record.payload, line));
    absl::StrAppend(&batch.lines, line.dump(), "\n");
    batch.ids.push_back(record.id);
  }
  return Add(side(Modality::kCaption), features, batch);
}

absl::Status GalleryBuilder::CheckFeatures(const Side& side, const EncodedItemsView& features,
                                           absl::Span<const std::string> ids) const {
  const absl::string_view what = ModalityName(side.modality);
  const auto error = [what](const auto&... parts) {
    return absl::InvalidArgumentError(absl::StrCat(what, " features: ", parts...));
  };
  const size_t count = ids.size();
  if (features.modality != side.modality || features.count != static_cast<int64_t>(count)) {
    return error("they are of ", features.count, " ", ModalityName(features.modality),
                 "s, the records of ", count, " ", what, "s");
  }
  if (features.positions < 1 || features.coarse_dim < 1) {
    return error(features.positions, " positions and a coarse dimension of ", features.coarse_dim,
                 "; both must be at least 1");
  }
  const size_t positions = static_cast<size_t>(features.positions);
  const size_t coarse_dim = static_cast<size_t>(features.coarse_dim);
  if (features.lengths.size() != count || features.coarse.size() != count * coarse_dim) {
    return error("lengths or coarse embeddings are not one for each item");
  }
  bool has_direction = false;
  for (const Direction direction : kDirections) {
    const DirectionFeaturesView& view = features.of(direction);
    const size_t embed_size = static_cast<size_t>(view.embed_size);
    if (view.embed_size < 0 || view.local.size() != count * positions * embed_size ||
        view.global.size() != count * embed_size) {
      return error(DirectionName(direction), " arrays do not have the size that ", count,
                   " items of ", positions, " x ", view.embed_size, " take");
    }
    has_direction |= view.embed_size > 0;
  }
  if (!has_direction) return error("they have neither direction");

  // Both sides meet in one score, hence in one width; positions are each side's own.
  for (const std::unique_ptr<Side>& other : sides_) {
    if (other->features == nullptr) continue;
    bool same = features.coarse_dim == other->coarse_dim;
    for (const Direction direction : kDirections) {
      same &=
          features.of(direction).embed_size == other->embed_sizes[static_cast<size_t>(direction)];
    }
    if (other.get() == &side) same &= features.positions == other->positions;
    if (!same) {
      return error("their shape differs from that of the ", ModalityName(other->modality),
                   "s that came before");
    }
  }

  for (size_t i = 0; i < count; ++i) {
    const EncodedItemsView item = features.Slice(static_cast<int64_t>(i), 1);
    if (item.lengths[0] < 1 || item.lengths[0] > features.positions) {
      return absl::InvalidArgumentError(absl::StrCat(what, " ", Quoted(ids[i]), ": its length ",
                                                     item.lengths[0], " is not from 1 to ",
                                                     features.positions));
    }
    bool finite = FindNonFinite(item.coarse) < 0;
    for (const DirectionFeaturesView& view : item.directions) {
      finite = finite && FindNonFinite(view.local) < 0 && FindNonFinite(view.global) < 0;
    }
    if (!finite) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, " ", Quoted(ids[i]), ": its features hold a NaN or an infinity"));
    }
  }
  return absl::OkStatus();
}

absl::Status GalleryBuilder::OpenFiles(Side& side, const EncodedItemsView& features,
                                       bool has_boxes) {
  side.positions = features.positions;
  side.coarse_dim = features.coarse_dim;
  side.has_boxes = has_boxes;
  std::vector<SafetensorsWriter::Declaration> declarations;
  for (const Direction direction : kDirections) {
    const int embed_size = features.of(direction).embed_size;
    side.embed_sizes[static_cast<size_t>(direction)] = embed_size;
    if (embed_size == 0) continue;
    declarations.push_back({LocalTensorName(direction),
                            TensorType::kFloat32,
                            {side.announced, side.positions, embed_size}});
    declarations.push_back(
        {GlobalTensorName(direction), TensorType::kFloat32, {side.announced, embed_size}});
  }
  declarations.push_back(
      {kCoarseTensorName, TensorType::kFloat32, {side.announced, side.coarse_dim}});
  if (has_boxes) {
    declarations.push_back(
        {kBoxesTensorName, TensorType::kFloat32, {side.announced, side.positions, kBoxNumbers}});
  }
  declarations.push_back({kLengthsTensorName, TensorType::kInt32, {side.announced}});

  const std::string part = PartPath(directory_);
  const std::string records_path = absl::StrCat(part, "/", GalleryRecordsName(side.modality));
  side.records = open(records_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (side.records < 0) return FileError(errno, "cannot create", records_path);
  ASSIGN_OR_RETURN(side.features, SafetensorsWriter::Create(
                                      absl::StrCat(part, "/", GalleryFeaturesName(side.modality)),
                                      std::move(declarations)));
  return absl::OkStatus();
}

absl::Status GalleryBuilder::WriteBatch(Side& side, const EncodedItemsView& features,
                                        const Batch& batch) {
  if (side.features == nullptr) {
    RETURN_IF_ERROR(OpenFiles(side, features, !batch.boxes.empty()));
  }
  for (const Direction direction : kDirections) {
    const DirectionFeaturesView& view = features.of(direction);
    if (view.embed_size == 0) continue;
    RETURN_IF_ERROR(side.features->AppendFloats(LocalTensorName(direction), view.local));
    RETURN_IF_ERROR(side.features->AppendFloats(GlobalTensorName(direction), view.global));
  }
  RETURN_IF_ERROR(side.features->AppendFloats(kCoarseTensorName, features.coarse));
  RETURN_IF_ERROR(side.features->Append(kLengthsTensorName, AsBytes(features.lengths)));
  if (side.has_boxes) {
    RETURN_IF_ERROR(side.features->AppendFloats(kBoxesTensorName, batch.boxes));
  }
  RETURN_IF_ERROR(
      WriteFully(side.records, AsBytes(batch.lines), GalleryRecordsName(side.modality)));
  side.coarse.insert(side.coarse.end(), features.coarse.begin(), features.coarse.end());
  side.added += features.count;
  return absl::OkStatus();
}

absl::Status GalleryBuilder::Add(Side& side, const EncodedItemsView& features, const Batch& batch) {
  if (finished_) return absl::FailedPreconditionError("the gallery is finished");
  RETURN_IF_ERROR(status_);
  const absl::string_view what = ModalityName(side.modality);
  const int64_t count = static_cast<int64_t>(batch.ids.size());
  if (count == 0 && features.count == 0) return absl::OkStatus();
  if (count > side.announced - side.added) {
    return absl::InvalidArgumentError(
        absl::StrCat("more than the ", side.announced, " ", what, "s that were announced"));
  }
  RETURN_IF_ERROR(CheckFeatures(side, features, batch.ids));
  if (side.features != nullptr && side.has_boxes == batch.boxes.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("image ", Quoted(batch.ids[0]), side.has_boxes ? " lacks" : " has",
                     " boxes, unlike those before; either all images have them or none"));
  }
  for (size_t i = 0; i < batch.ids.size(); ++i) {
    const std::string& id = batch.ids[i];
    if (!id.empty() && side.ids.insert(id).second) continue;
    for (size_t j = 0; j < i; ++j) side.ids.erase(batch.ids[j]);
    return absl::InvalidArgumentError(
        id.empty() ? absl::StrCat(what, " ", side.added + static_cast<int64_t>(i), " has no id")
                   : absl::StrCat("the ", what, " id ", Quoted(id), " comes twice"));
  }
  status_ = WriteBatch(side, features, batch);
  return status_;
}

absl::Status GalleryBuilder::FinishSide(Side& side,
                                        const std::function<void(int64_t)>& on_indexed) {
  GalleryManifest::Side& facts = manifest_.sides[static_cast<size_t>(side.modality)];
  facts.count = side.added;
  if (side.added == 0) return absl::OkStatus();
  RETURN_IF_ERROR(side.features->Finish());
  const std::string records_name = GalleryRecordsName(side.modality);
  if (fsync(side.records) != 0) return FileError(errno, "cannot sync", records_name);
  CoarseIndex::Options index_options = options_.index;
  index_options.on_added = on_indexed;
  ASSIGN_OR_RETURN(const std::unique_ptr<CoarseIndex> index,
                   CoarseIndex::Build(side.coarse, side.coarse_dim, index_options));
  facts.index = index->factory();
  const std::string part = PartPath(directory_);
  const std::string index_name = GalleryIndexName(side.modality);
  RETURN_IF_ERROR(index->Save(absl::StrCat(part, "/", index_name)));
  for (const std::string& name : {GalleryFeaturesName(side.modality), records_name, index_name}) {
    ASSIGN_OR_RETURN(manifest_.files[name], ChecksumFile(absl::StrCat(part, "/", name)));
  }
  return absl::OkStatus();
}

absl::Status GalleryBuilder::Finish(const std::function<void(int64_t)>& on_indexed) {
  if (finished_) return absl::FailedPreconditionError("the gallery is finished");
  RETURN_IF_ERROR(status_);
  for (const std::unique_ptr<Side>& side : sides_) {
    if (side->added != side->announced) {
      return absl::FailedPreconditionError(absl::StrCat("only ", side->added, " of ",
                                                        side->announced, " announced ",
                                                        ModalityName(side->modality), "s came"));
    }
  }
  // A second try after an error in here would find half of it done.
  status_ = absl::FailedPreconditionError("finishing the gallery failed before");
  for (std::unique_ptr<Side>& side : sides_) RETURN_IF_ERROR(FinishSide(*side, on_indexed));
  const std::string part = PartPath(directory_);
  RETURN_IF_ERROR(manifest_.Write(part));
  RETURN_IF_ERROR(ReplaceDirectory(part, directory_));
  finished_ = true;
  status_ = absl::OkStatus();
  return absl::OkStatus();
}

}  // namespace dime
