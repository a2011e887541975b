#include "server/pipeline/loaded_gallery.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "index/status_macros.h"

namespace dime {
namespace {

absl::Status CheckSize(const GalleryView& gallery, Modality modality, absl::string_view what,
                       int64_t found, int64_t wanted) {
  if (found == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("gallery ", gallery.info().name, ": ", what, " of its ", ModalityName(modality),
                   "s is ", found, ", but the model's is ", wanted,
                   "; the gallery is damaged: build it again with dime_build_gallery"));
}

absl::Status CheckFeatures(const GalleryView& gallery, Modality modality, const ModelInfo& model) {
  const EncodedItemsView features = gallery.shape(modality);
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
    std::unique_ptr<Gallery> gallery, const ModelInfo& model, const PairScorer& scorer,
    int64_t bank_bytes) {
  const std::shared_ptr<const GalleryView> view = gallery->Pin();
  if (view->info().model_fingerprint != model.fingerprint) {
    return absl::FailedPreconditionError(absl::StrCat(
        "gallery ", view->info().name, " was made with model ", view->info().model_fingerprint,
        ", not with ", model.name, " (", model.fingerprint,
        "); serve it with its own model, or build it again with dime_build_gallery --model ",
        model.name));
  }
  Banks banks;
  BoundedBanks bounded;
  for (Modality modality : {Modality::kImage, Modality::kCaption}) {
    if (view->shape(modality).positions == 0) continue;
    RETURN_IF_ERROR(CheckFeatures(*view, modality, model));
    const std::optional<EncodedItemsView> features = view->whole_features(modality);
    if (features.has_value()) {
      if (features->count == 0) continue;
      ASSIGN_OR_RETURN(banks[static_cast<int>(modality)], scorer.MakeBank(*features));
      continue;
    }
    const EncodedItemsView shape = view->shape(modality);
    absl::StatusOr<std::unique_ptr<FeatureBank>> slab =
        scorer.MakeSlabBank(shape, std::max<int64_t>(1, bank_bytes / scorer.BankItemBytes(shape)));
    // A scorer without slabs gets a bank of its own for each search.
    if (absl::IsUnimplemented(slab.status())) continue;
    RETURN_IF_ERROR(slab.status());
    bounded[static_cast<int>(modality)] = std::make_unique<BoundedBank>(*std::move(slab));
  }
  return std::unique_ptr<LoadedGallery>(
      new LoadedGallery(std::move(gallery), &scorer, std::move(banks), std::move(bounded)));
}

BoundedBank::Counts LoadedGallery::bank_counts(Modality modality) const {
  const auto& bank = bounded_[static_cast<int>(modality)];
  return bank == nullptr ? BoundedBank::Counts() : bank->counts();
}

absl::StatusOr<BankLease> LoadedGallery::Acquire(const GalleryView& view, Modality modality,
                                                 absl::Span<const int64_t> rows) const {
  if (const auto& bounded = bounded_[static_cast<int>(modality)]; bounded != nullptr) {
    absl::StatusOr<BoundedBank::Lease> lease = bounded->Acquire(view, rows);
    if (lease.ok()) {
      auto held = std::make_shared<BoundedBank::Lease>(*std::move(lease));
      return BankLease{.bank = held->bank(), .rows = held->slots(), .hold = std::move(held)};
    }
    // Full, or another search's read failed: this one reads for itself.
  }
  return AcquireApart(view, modality, rows);
}

absl::StatusOr<BankLease> LoadedGallery::AcquireApart(const GalleryView& view, Modality modality,
                                                      absl::Span<const int64_t> rows) const {
  if (const auto& bank = banks_[static_cast<int>(modality)]; bank != nullptr) {
    return BankLease{.bank = bank.get(), .rows = {rows.begin(), rows.end()}};
  }
  // A bank of these rows alone; the scorer may use the features in place.
  struct Hold {
    EncodedItems items;
    std::unique_ptr<FeatureBank> bank;
  };
  auto hold = std::make_shared<Hold>();
  ASSIGN_OR_RETURN(hold->items, view.ReadFeatures(modality, rows));
  ASSIGN_OR_RETURN(hold->bank, scorer_->MakeBank(hold->items.view()));
  BankLease lease{.bank = hold->bank.get(), .rows = std::vector<int64_t>(rows.size())};
  std::iota(lease.rows.begin(), lease.rows.end(), 0);
  lease.hold = std::move(hold);
  return lease;
}

}  // namespace dime
