#include "server/request_converter.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "index/status_macros.h"
#include "index/text_lines.h"
#include "server/error_details.h"
#include "server/pipeline/wave_planner.h"
#include "utf8proc.h"

namespace dime {
namespace {

using Violations = std::vector<FieldViolation>;

// For range checks: `value` must be `low` to `high`.
void CheckRange(absl::string_view field, int64_t value, int64_t low, int64_t high,
                Violations& violations) {
  if (value >= low && value <= high) return;
  violations.push_back({std::string(field), v1::ERROR_REASON_VALUE_OUT_OF_RANGE,
                        absl::StrCat("must be ", low, " to ", high, ", got ", value)});
}

bool IsSpace(utf8proc_int32_t code_point) {
  switch (utf8proc_category(code_point)) {
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_CC:  // tabs, line ends and other control characters
      return true;
    default:
      return false;
  }
}

struct TextFacts {
  int64_t characters = 0;
  bool blank = true;
};

// `text` must be valid UTF-8.
TextFacts Examine(absl::string_view text) {
  TextFacts facts;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t code_point;
    const utf8proc_ssize_t length = utf8proc_iterate(bytes, left, &code_point);
    ++facts.characters;
    facts.blank = facts.blank && IsSpace(code_point);
    bytes += length;
    left -= length;
  }
  return facts;
}

void CheckText(const std::string& text, int max_characters, Violations& violations) {
  if (!IsValidUtf8(text)) {
    violations.push_back({"text", v1::ERROR_REASON_TEXT_NOT_UTF8,
                          absl::StrCat("must be valid UTF-8, got ", Quoted(text))});
    return;
  }
  const TextFacts facts = Examine(text);
  if (facts.characters > max_characters) {
    violations.push_back({"text", v1::ERROR_REASON_TEXT_TOO_LONG,
                          absl::StrCat("must have at most ", max_characters, " characters, got ",
                                       facts.characters)});
  } else if (facts.blank) {
    violations.push_back({"text", v1::ERROR_REASON_TEXT_EMPTY,
                          absl::StrCat("must hold more than white space, got ", Quoted(text))});
  }
}

void CheckFeatures(const v1::RegionFeatures& features, const ModelInfo& model,
                   Violations& violations) {
  const auto check_size = [&violations](absl::string_view field, int64_t given, int64_t wanted,
                                        absl::string_view why) {
    if (given == wanted) return;
    violations.push_back({absl::StrCat("features.", field), v1::ERROR_REASON_FEATURE_SHAPE_MISMATCH,
                          absl::StrCat("must be ", wanted, " ", why, ", got ", given)});
  };
  check_size("num_regions", features.num_regions(), model.num_regions, "for this model");
  check_size("feature_dim", features.feature_dim(), model.feature_dim, "for this model");
  const int64_t wanted = int64_t{model.num_regions} * model.feature_dim;
  if (features.values_size() != wanted) {
    violations.push_back({"features.values", v1::ERROR_REASON_FEATURE_SHAPE_MISMATCH,
                          absl::StrCat("must hold ", model.num_regions, " x ", model.feature_dim,
                                       " = ", wanted, " values, got ", features.values_size())});
  }
  // The first will do: a list of thousands helps nobody.
  const auto bad = std::find_if(features.values().begin(), features.values().end(),
                                [](float value) { return !std::isfinite(value); });
  if (bad != features.values().end()) {
    violations.push_back({absl::StrCat("features.values[", bad - features.values().begin(), "]"),
                          v1::ERROR_REASON_FEATURE_NOT_FINITE,
                          absl::StrCat("must be finite, got ", *bad)});
  }
}

// The image of a request, which gives features or an id; an id is for FindImage(), once the rest of
// the request is known to be right.
template <typename Request>
void ConvertImage(const Request& request, const ModelInfo& model, Query& image,
                  Violations& violations) {
  if (request.has_features()) {
    CheckFeatures(request.features(), model, violations);
    image = RegionFeaturesQuery{
        .num_regions = request.features().num_regions(),
        .values = {request.features().values().begin(), request.features().values().end()}};
  } else if (request.image_id().empty()) {
    violations.push_back({"image_id", v1::ERROR_REASON_IMAGE_MISSING,
                          request.has_image_id()
                              ? "must be the id of an image of the gallery, got an empty string"
                              : "image_id or features must be set, got neither"});
  }
}

absl::StatusOr<Query> FindImage(const std::string& id, const GalleryView& gallery) {
  const absl::StatusOr<int64_t> row = gallery.FindRow(Modality::kImage, id);
  if (!row.ok()) return ItemNotFoundError(Modality::kImage, id);
  return GalleryImageQuery{.row = *row};
}

// How the model's directions are called in messages.
std::string ModesOf(const ModelInfo& model) {
  if (model.Serves(ScoreMode::kEnsemble)) {
    return "SCORE_MODE_I2T, SCORE_MODE_T2I or SCORE_MODE_ENSEMBLE";
  }
  return model.Has(Direction::kI2t) ? "SCORE_MODE_I2T" : "SCORE_MODE_T2I";
}

// `field`: where the request has it.
ScoreMode ConvertMode(absl::string_view field, v1::ScoreMode given, const ModelInfo& model,
                      Violations& violations) {
  ScoreMode mode = model.DefaultMode();
  switch (given) {
    case v1::SCORE_MODE_UNSPECIFIED:
      return mode;
    case v1::SCORE_MODE_I2T:
      mode = ScoreMode::kI2t;
      break;
    case v1::SCORE_MODE_T2I:
      mode = ScoreMode::kT2i;
      break;
    case v1::SCORE_MODE_ENSEMBLE:
      mode = ScoreMode::kEnsemble;
      break;
    default:
      violations.push_back({std::string(field), v1::ERROR_REASON_VALUE_OUT_OF_RANGE,
                            absl::StrCat("must be ", ModesOf(model), ", got ", given)});
      return mode;
  }
  if (!model.Serves(mode)) {
    violations.push_back(
        {std::string(field), v1::ERROR_REASON_SCORE_MODE_UNAVAILABLE,
         absl::StrCat("must be ", ModesOf(model), " with this model, which lacks a direction; got ",
                      v1::ScoreMode_Name(given))});
  }
  return mode;
}

// The share of the coarse score, and by what reranking may stop early. The mode must be converted.
void ConvertRanking(const v1::SearchOptions& given, Modality target, const ModelInfo& model,
                    SearchOptions& options, Violations& violations) {
  options.fusion_weight = model.ranking.FusionWeight(target, options.mode);
  if (given.has_fusion_weight()) {
    // The comparison is false for what is no number.
    if (given.fusion_weight() >= 0 && given.fusion_weight() <= 1) {
      options.fusion_weight = given.fusion_weight();
    } else {
      violations.push_back({"options.fusion_weight", v1::ERROR_REASON_VALUE_OUT_OF_RANGE,
                            absl::StrCat("must be 0 to 1, got ", given.fusion_weight())});
    }
  }
  if (!given.adaptive_depth()) return;
  if (given.exact()) {
    violations.push_back({"options.adaptive_depth", v1::ERROR_REASON_FIELDS_CONFLICT,
                          "must not be set together with options.exact, which reranks everything"});
  }
  options.score_bound = BoundAt(model.ranking.of(target, options.mode), options.fusion_weight);
}

// The part that both searches share; `target` is what they search.
void ConvertOptions(const v1::SearchOptions& given, Modality target, const SearchLimits& limits,
                    const ModelInfo& model, const GalleryView& gallery, SearchRequest& request,
                    Violations& violations) {
  SearchOptions& options = request.options;
  options.top_k = given.has_top_k() ? given.top_k() : std::min(kDefaultTopK, limits.max_top_k);
  CheckRange("options.top_k", options.top_k, 1, limits.max_top_k, violations);

  options.exact = given.exact();
  options.rerank_depth = std::max(options.top_k, limits.DefaultRerankDepth(target));
  if (given.has_rerank_depth()) {
    options.rerank_depth = given.rerank_depth();
    if (given.exact()) {
      violations.push_back({"options.rerank_depth", v1::ERROR_REASON_FIELDS_CONFLICT,
                            absl::StrCat("must not be set together with options.exact, which "
                                         "reranks everything; got ",
                                         given.rerank_depth())});
    } else {
      // A top_k that is wrong itself must not make the depth look wrong as well.
      const int lowest = std::clamp(options.top_k, 1, limits.max_top_k);
      CheckRange("options.rerank_depth", options.rerank_depth, lowest, limits.max_rerank_depth,
                 violations);
    }
  }
  const int64_t size = gallery.size(target);
  if (given.exact() && size > limits.max_exact_items) {
    violations.push_back(
        {"options.exact", v1::ERROR_REASON_VALUE_OUT_OF_RANGE,
         absl::StrCat("is allowed while the gallery holds at most ", limits.max_exact_items, " ",
                      ModalityName(target), "s; it holds ", size)});
  }
  options.mode = ConvertMode("options.score_mode", given.score_mode(), model, violations);
  ConvertRanking(given, target, model, options, violations);

  if (!v1::ResultView_IsValid(given.view())) {
    violations.push_back({"options.view", v1::ERROR_REASON_VALUE_OUT_OF_RANGE,
                          absl::StrCat("must be RESULT_VIEW_BASIC, RESULT_VIEW_FULL or "
                                       "RESULT_VIEW_EXPLAIN, got ",
                                       given.view())});
  }
  options.want_paths = given.view() == v1::RESULT_VIEW_EXPLAIN;
  request.want_details = options.want_paths || given.view() == v1::RESULT_VIEW_FULL;

  options.search_effort = limits.DefaultSearchEffort(target);
  if (given.has_search_effort()) {
    options.search_effort = given.search_effort();
    CheckRange("options.search_effort", options.search_effort, 1, limits.max_search_effort,
               violations);
  }
}

}  // namespace

absl::StatusOr<SearchRequest> RequestConverter::Convert(const v1::SearchImagesRequest& request,
                                                        const GalleryView& view) const {
  Violations violations;
  SearchRequest converted;
  CheckText(request.text(), limits_.max_text_characters, violations);
  converted.query = TextQuery{request.text()};
  ConvertOptions(request.options(), Modality::kImage, limits_, model_, view, converted, violations);
  if (!violations.empty()) return InvalidRequestError(violations);
  if (view.size(Modality::kImage) == 0) {
    return GalleryEmptyError(view.info().name, Modality::kImage);
  }
  return converted;
}

absl::StatusOr<SearchRequest> RequestConverter::Convert(const v1::SearchCaptionsRequest& request,
                                                        const GalleryView& view) const {
  Violations violations;
  SearchRequest converted;
  ConvertImage(request, model_, converted.query, violations);
  ConvertOptions(request.options(), Modality::kCaption, limits_, model_, view, converted,
                 violations);
  if (!violations.empty()) return InvalidRequestError(violations);
  if (view.size(Modality::kCaption) == 0) {
    return GalleryEmptyError(view.info().name, Modality::kCaption);
  }
  if (request.has_image_id()) {
    ASSIGN_OR_RETURN(converted.query, FindImage(request.image_id(), view));
  }
  return converted;
}

absl::StatusOr<ExplainRequest> RequestConverter::Convert(const v1::ExplainPairRequest& request,
                                                         const GalleryView& view) const {
  Violations violations;
  ExplainRequest converted;
  if (request.has_text()) {
    CheckText(request.text(), limits_.max_text_characters, violations);
    converted.pair.caption = TextQuery{request.text()};
  } else if (request.caption_id().empty()) {
    violations.push_back({request.has_caption_id() ? "caption_id" : "text",
                          v1::ERROR_REASON_CAPTION_MISSING,
                          request.has_caption_id()
                              ? "must be the id of a caption of the gallery, got an empty string"
                              : "text or caption_id must be set, got neither"});
  }
  ConvertImage(request, model_, converted.pair.image, violations);
  converted.mode = ConvertMode("score_mode", request.score_mode(), model_, violations);
  if (!violations.empty()) return InvalidRequestError(violations);
  if (request.has_caption_id()) {
    const absl::StatusOr<int64_t> row = view.FindRow(Modality::kCaption, request.caption_id());
    if (absl::IsNotFound(row.status())) {
      return ItemNotFoundError(Modality::kCaption, request.caption_id());
    }
    RETURN_IF_ERROR(row.status());
    converted.pair.caption = GalleryCaptionQuery{.row = *row};
  }
  if (request.has_image_id()) {
    ASSIGN_OR_RETURN(converted.pair.image, FindImage(request.image_id(), view));
  }
  return converted;
}

absl::Status BlameQuery(const absl::Status& status, const PairQuery& pair) {
  if (std::holds_alternative<RegionFeaturesQuery>(pair.image)) {
    return BlameQuery(status, pair.image);
  }
  return BlameQuery(status, Query(TextQuery()));
}

absl::Status BlameQuery(const absl::Status& status, const Query& query) {
  if (status.code() != absl::StatusCode::kInvalidArgument) return status;
  if (std::holds_alternative<TextQuery>(query)) {
    return InvalidRequestError(
        {{"text", v1::ERROR_REASON_TEXT_NOT_UTF8, std::string(status.message())}});
  }
  return InvalidRequestError(
      {{"features.values", v1::ERROR_REASON_FEATURE_NOT_FINITE, std::string(status.message())}});
}

}  // namespace dime
