#ifndef DIME_SERVER_PIPELINE_LOADED_GALLERY_H_
#define DIME_SERVER_PIPELINE_LOADED_GALLERY_H_

#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/gallery.h"
#include "index/mutable_gallery.h"
#include "model/bounded_bank.h"
#include "model/model_info.h"
#include "model/pair_scorer.h"

namespace dime {

// Some rows of a gallery where a scorer wants them. Whatever they need stays while the lease lives.
struct BankLease {
  const FeatureBank* bank = nullptr;
  std::vector<int64_t> rows;  // of the bank, in the order of those asked for
  std::shared_ptr<const void> hold;
};

// A gallery made ready for a model's scorer: it leases local features where the scorer wants them.
// Those of a gallery that lies in memory whole are all there from the start; of others a bounded
// bank keeps those that were asked for lately.
// Thread-safe. The scorer must outlive it, and it every view and lease.
class LoadedGallery {
 public:
  // What a bounded bank may take, for each kind, unless told otherwise.
  static constexpr int64_t kBankBytes = int64_t{1} << 30;

  // FAILED_PRECONDITION if the gallery was made with another model than `model`, saying what to do;
  // INVALID_ARGUMENT if its features do not have the model's sizes.
  static absl::StatusOr<std::unique_ptr<LoadedGallery>> Create(std::unique_ptr<Gallery> gallery,
                                                               const ModelInfo& model,
                                                               const PairScorer& scorer,
                                                               int64_t bank_bytes = kBankBytes);

  const Gallery& gallery() const { return *gallery_; }
  // Null if the gallery is only read.
  MutableGallery* mutable_gallery() const { return mutable_gallery_; }
  // Of the bounded bank, if there is one for this kind.
  BoundedBank::Counts bank_counts(Modality modality) const;
  // `rows`: of `view`, which must be of this gallery. Errors of GalleryView::ReadFeatures() and of
  // PairScorer::MakeBank().
  absl::StatusOr<BankLease> Acquire(const GalleryView& view, Modality modality,
                                    absl::Span<const int64_t> rows) const;
  // The same without the bounded bank: for a thread of low priority, which searches must not wait
  // for to read a row, and which must not turn out what they ask for.
  absl::StatusOr<BankLease> AcquireApart(const GalleryView& view, Modality modality,
                                         absl::Span<const int64_t> rows) const;

 private:
  using Banks = std::array<std::unique_ptr<FeatureBank>, 2>;         // by Modality
  using BoundedBanks = std::array<std::unique_ptr<BoundedBank>, 2>;  // by Modality
  LoadedGallery(std::unique_ptr<Gallery> gallery, const PairScorer* scorer, Banks banks,
                BoundedBanks bounded)
      : gallery_(std::move(gallery)),
        mutable_gallery_(dynamic_cast<MutableGallery*>(gallery_.get())),
        scorer_(scorer),
        banks_(std::move(banks)),
        bounded_(std::move(bounded)) {}

  const std::unique_ptr<Gallery> gallery_;  // first: banks may use its features in place
  MutableGallery* const mutable_gallery_;
  const PairScorer* const scorer_;
  const Banks banks_;           // of what lies in memory whole; null for others
  const BoundedBanks bounded_;  // of the others, if the scorer makes slabs
};

}  // namespace dime

#endif  // DIME_SERVER_PIPELINE_LOADED_GALLERY_H_
