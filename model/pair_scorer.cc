#include "model/pair_scorer.h"

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "index/status_macros.h"
#include "model/slab_items.h"

namespace dime {

absl::Status FeatureBank::Write(absl::Span<const int64_t> slots, const EncodedItemsView& items) {
  return absl::FailedPreconditionError("the features lie in place; they cannot be written to");
}

absl::StatusOr<std::unique_ptr<FeatureBank>> PairScorer::MakeSlabBank(const EncodedItemsView& shape,
                                                                      int64_t capacity) const {
  return absl::UnimplementedError("this scorer makes no slab banks");
}

int64_t PairScorer::BankItemBytes(const EncodedItemsView& shape) const { return ItemBytes(shape); }

std::vector<float> PairScores::Combined() const {
  const std::vector<float>& i2t = scores[static_cast<int>(Direction::kI2t)];
  const std::vector<float>& t2i = scores[static_cast<int>(Direction::kT2i)];
  if (t2i.empty()) return i2t;
  if (i2t.empty()) return t2i;
  std::vector<float> mean(i2t.size());
  for (size_t k = 0; k < mean.size(); ++k) mean[k] = (i2t[k] + t2i[k]) / 2;
  return mean;
}

absl::Status CheckFeatureShape(const EncodedItemsView& features, const ModelInfo& model) {
  const int positions = features.modality == Modality::kImage ? model.num_regions : model.max_words;
  if (features.positions != positions) {
    return absl::InvalidArgumentError(absl::StrCat("the ", ModalityName(features.modality),
                                                   " features have ", features.positions,
                                                   " positions, the model ", positions));
  }
  for (Direction direction : kDirections) {
    const int expected = model.directions[static_cast<int>(direction)].embed_size;
    if (features.of(direction).embed_size != expected) {
      return absl::InvalidArgumentError(absl::StrCat(DirectionName(direction), " features are ",
                                                     features.of(direction).embed_size,
                                                     " wide, the model's ", expected));
    }
  }
  for (int32_t length : features.lengths) {
    if (length < 1 || length > positions) {
      return absl::InvalidArgumentError(absl::StrCat("a ", ModalityName(features.modality), " of ",
                                                     length, " positions of ", positions));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckScoringRequest(const ScoringRequest& request, const ModelInfo& model) {
  if (request.query.count != 1 ||
      request.query.modality != OtherModality(request.bank->modality())) {
    return absl::InvalidArgumentError("the query must be one item of the other modality");
  }
  if (!model.Serves(request.mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the model has no ", ScoreModeName(request.mode), " scores"));
  }
  RETURN_IF_ERROR(CheckFeatureShape(request.query, model));
  for (int64_t row : request.rows) {
    if (row < 0 || row >= request.bank->count()) {
      return absl::InvalidArgumentError(
          absl::StrCat("row ", row, " is outside the gallery's ", request.bank->count(), " items"));
    }
  }
  return absl::OkStatus();
}

}  // namespace dime
