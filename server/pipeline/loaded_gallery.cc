#include "server/pipeline/loaded_gallery.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "index/status_macros.h"

namespace dime {
namespace {

absl::Status CheckSize(const Gallery& gallery, Modality modality, absl::string_view what,
                       int64_t found, int64_t wanted) {
  if (found == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("gallery ", gallery.info().name, ": ", what, " of its ", ModalityName(modality),
                   "s is ", found, ", but the model's is ", wanted,
                   "; the gallery is damaged: build it again with dime_build_gallery"));
}

absl::Status CheckFeatures(const Gallery& gallery, Modality modality, const ModelInfo& model) {
  const EncodedItemsView features = gallery.features(modality);
  RETURN_IF_ERROR(CheckSize(
      gallery, modality, modality == Modality::kImage ? "the region count" : "the word count",
      features.positions, modality == Modality::kImage ? model.num_regions : model.max_words));
  RETURN_IF_ERROR(CheckSize(gallery, modality, "the width of the coarse embedding",
                            features.coarse_dim, model.coarse_dim));
  for (Direction direction : kDirections) {
    RETURN_IF_ERROR(CheckSize(gallery, modality,
                              absl::StrCat("the ", DirectionName(direction), " embedding size"),
                              features.of(direction).embed_size,
                              model.directions[static_cast<int>(direction)].embed_size));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<LoadedGallery>> LoadedGallery::Create(
    std::unique_ptr<const Gallery> gallery, const ModelInfo& model, const PairScorer& scorer) {
  if (gallery->info().model_fingerprint != model.fingerprint) {
    return absl::FailedPreconditionError(absl::StrCat(
        "gallery ", gallery->info().name, " was made with model ",
        gallery->info().model_fingerprint, ", not with ", model.name, " (", model.fingerprint,
        "); serve it with its own model, or build it again with dime_build_gallery --model ",
        model.name));
  }
  Banks banks;
  for (Modality modality : {Modality::kImage, Modality::kCaption}) {
    if (gallery->size(modality) == 0) continue;
    RETURN_IF_ERROR(CheckFeatures(*gallery, modality, model));
    ASSIGN_OR_RETURN(banks[static_cast<int>(modality)],
                     scorer.MakeBank(gallery->features(modality)));
  }
  return std::unique_ptr<LoadedGallery>(new LoadedGallery(std::move(gallery), std::move(banks)));
}

}  // namespace dime
