#include "server/pipeline/explain_pipeline.h"

#include <cmath>
#include <numeric>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "index/status_macros.h"

namespace dime {
namespace {

// The request was checked at the door and encoded: what fails from there on is a fault of ours.
absl::Status Failure(absl::string_view why) {
  return absl::InternalError(absl::StrCat("explaining the pair failed: ", why));
}

}  // namespace

absl::StatusOr<ExplainedPair> ExplainPipeline::Run(const GalleryView& view, const PairQuery& query,
                                                   ScoreMode mode,
                                                   const CallContext& context) const {
  ExplainedPair pair;
  RETURN_IF_ERROR(context.Check());
  const auto* stored = std::get_if<GalleryCaptionQuery>(&query.caption);
  std::string text;
  std::optional<EncodedQuery> caption;
  if (stored != nullptr) {
    ASSIGN_OR_RETURN(CaptionRecord record, view.ReadCaption(stored->row));
    text = std::move(record.text);
    ASSIGN_OR_RETURN(EncodedItems features,
                     view.ReadFeatures(Modality::kCaption, absl::MakeConstSpan(&stored->row, 1)));
    caption.emplace(std::move(features), /*text_truncated=*/false);
  } else {
    text = std::get<TextQuery>(query.caption).text;
    ASSIGN_OR_RETURN(caption, encode_.Run(view, TextQuery{text}));
  }
  ASSIGN_OR_RETURN(pair.words, explainer_->Words(text));
  ASSIGN_OR_RETURN(pair.text_truncated, caption_encoder_->IsTruncated(text));

  RETURN_IF_ERROR(context.Check());
  ASSIGN_OR_RETURN(const EncodedQuery image, encode_.Run(view, query.image));

  RETURN_IF_ERROR(context.Check());
  const EncodedItemsView image_view = image.view(), caption_view = caption->view();
  pair.coarse_score = std::inner_product(image_view.coarse.begin(), image_view.coarse.end(),
                                         caption_view.coarse.begin(), 0.0f);
  absl::StatusOr<PairExplanation> explanation = explainer_->Explain(image_view, caption_view, mode);
  if (!explanation.ok()) return Failure(explanation.status().message());
  pair.explanation = *std::move(explanation);
  if (pair.explanation.num_words != static_cast<int>(pair.words.size())) {
    return Failure(absl::StrCat("the caption's features are of ", pair.explanation.num_words,
                                " words, its text has ", pair.words.size()));
  }
  for (Direction direction : kDirections) {
    const auto& part = pair.explanation.directions[static_cast<int>(direction)];
    if (part.has_value() && !std::isfinite(part->score)) {
      return Failure(absl::StrCat("the ", DirectionName(direction), " score is ", part->score));
    }
  }
  return pair;
}

}  // namespace dime
