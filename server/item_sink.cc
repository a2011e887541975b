#include "server/item_sink.h"

#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "index/durable_file.h"
#include "index/status_macros.h"

namespace dime {
namespace {

// The first fault, with the item's id.
template <typename Record>
absl::Status FirstFault(const std::vector<absl::Status>& statuses,
                        absl::Span<const Record> records) {
  for (size_t i = 0; i < statuses.size(); ++i) {
    if (statuses[i].ok()) continue;
    return absl::Status(statuses[i].code(),
                        absl::StrCat("item \"", records[i].id, "\": ", statuses[i].message()));
  }
  return absl::OkStatus();
}

}  // namespace

LivingSink::LivingSink(std::string directory, std::unique_ptr<StoreGallery> gallery)
    : directory_(std::move(directory)), gallery_(std::move(gallery)) {}

absl::StatusOr<std::unique_ptr<LivingSink>> LivingSink::Create(const std::string& directory,
                                                               const LivingManifest& manifest) {
  std::error_code error;
  std::filesystem::path path =
      std::filesystem::weakly_canonical(std::filesystem::absolute(directory), error);
  if (error) return FileError(error.value(), "cannot resolve", directory);
  if (!path.has_filename()) path = path.parent_path();  // it ended with a slash
  if (std::filesystem::exists(path, error)) {
    return absl::AlreadyExistsError(
        absl::StrCat(directory,
                     " is there already; a living gallery is not replaced. Choose another name, or "
                     "remove it first"));
  }
  const std::string part = PartPath(path.string());
  if (std::filesystem::exists(part, error)) {
    if (!StoreGallery::IsAt(part)) {
      return absl::AlreadyExistsError(
          absl::StrCat(part, " is in the way and no gallery in the making; remove it first"));
    }
    std::filesystem::remove_all(part, error);
    if (error) return FileError(error.value(), "cannot remove", part);
  }
  StoreGallery::Options options;
  options.background_merges = false;  // one at the end
  ASSIGN_OR_RETURN(std::unique_ptr<StoreGallery> gallery,
                   StoreGallery::Create(part, manifest, options));
  return std::unique_ptr<LivingSink>(new LivingSink(path.string(), std::move(gallery)));
}

LivingSink::~LivingSink() {
  if (gallery_ == nullptr) return;
  gallery_ = nullptr;
  std::error_code ignored;
  std::filesystem::remove_all(PartPath(directory_), ignored);
}

absl::Status LivingSink::AddImages(absl::Span<const ImageRecord> records,
                                   const EncodedItemsView& features, absl::Span<const float> raw) {
  ASSIGN_OR_RETURN(const std::vector<absl::Status> statuses,
                   gallery_->UpsertImages(records, features, raw));
  added_ += static_cast<int64_t>(records.size());
  return FirstFault(statuses, records);
}

absl::Status LivingSink::AddCaptions(absl::Span<const CaptionRecord> records,
                                     const EncodedItemsView& features) {
  ASSIGN_OR_RETURN(const std::vector<absl::Status> statuses,
                   gallery_->UpsertCaptions(records, features));
  added_ += static_cast<int64_t>(records.size());
  return FirstFault(statuses, records);
}

absl::Status LivingSink::Finish(const std::function<void(int64_t)>& on_indexed) {
  RETURN_IF_ERROR(gallery_->MergeNow());
  if (on_indexed) on_indexed(added_);
  const std::string part = PartPath(directory_);
  gallery_ = nullptr;  // closes it
  std::error_code error;
  std::filesystem::rename(part, directory_, error);
  if (error) {
    return FileError(error.value(), absl::StrCat("cannot rename ", part, " to"), directory_);
  }
  return SyncDirectory(ParentDirectory(directory_));
}

}  // namespace dime
