#ifndef DIME_SERVER_PIPELINE_LOADED_GALLERY_H_
#define DIME_SERVER_PIPELINE_LOADED_GALLERY_H_

#include <array>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "index/gallery.h"
#include "model/model_info.h"
#include "model/pair_scorer.h"

namespace dime {

// A gallery made ready for a model's scorer: its local features are where the scorer wants them.
// Immutable, hence thread-safe. The scorer must outlive it.
class LoadedGallery {
 public:
  // FAILED_PRECONDITION if the gallery was made with another model than `model`, saying what to do;
  // INVALID_ARGUMENT if its features do not have the model's sizes.
  static absl::StatusOr<std::unique_ptr<LoadedGallery>> Create(
      std::unique_ptr<const Gallery> gallery, const ModelInfo& model, const PairScorer& scorer);

  const Gallery& gallery() const { return *gallery_; }
  // Null if the gallery holds nothing of this kind.
  const FeatureBank* bank(Modality modality) const {
    return banks_[static_cast<int>(modality)].get();
  }

 private:
  using Banks = std::array<std::unique_ptr<FeatureBank>, 2>;  // by Modality
  LoadedGallery(std::unique_ptr<const Gallery> gallery, Banks banks)
      : gallery_(std::move(gallery)), banks_(std::move(banks)) {}

  const std::unique_ptr<const Gallery> gallery_;  // first: banks may use its features in place
  const Banks banks_;
};

}  // namespace dime

#endif  // DIME_SERVER_PIPELINE_LOADED_GALLERY_H_
