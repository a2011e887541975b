#include "server/request_converter.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "index/status_macros.h"
#include "index/text_lines.h"
#include "server/error_details.h"
#include "server/field_checks.h"
#include "server/page_token.h"
#include "server/pipeline/wave_planner.h"

namespace dime {
namespace {

// The image of a request, which gives features or an id; an id is for FindImage(), once the rest of
// the request is known to be right.
template <typename Request>
void ConvertImage(const Request& request, const ModelInfo& model, Query& image,
                  Violations& violations) {
  if (request.has_features()) {
    image = RegionFeaturesQuery{
        .num_regions = request.features().num_regions(),
        .values = ConvertFeatures("features", request.features(), model, violations)};
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
    options.fusion_weight = given.fusion_weight();
    CheckRange("options.fusion_weight", given.fusion_weight(), 0.0f, 1.0f, violations);
  }
  if (!given.adaptive_depth()) return;
  if (given.exact()) {
    violations.push_back({"options.adaptive_depth", v1::ERROR_REASON_FIELDS_CONFLICT,
                          "must not be set together with options.exact, which reranks everything"});
  }
  const auto check_absent = [&violations](bool set, absl::string_view field,
                                          absl::string_view why) {
    if (!set) return;
    violations.push_back(
        {"options.adaptive_depth", v1::ERROR_REASON_FIELDS_CONFLICT,
         absl::StrCat("must not be set together with options.", field, ", ", why)});
  };
  check_absent(given.paged(), "paged", "whose further pages need all candidates reranked");
  check_absent(!given.group_by().empty(), "group_by", "which looks at all reranked candidates");
  check_absent(given.has_min_rerank_score(), "min_rerank_score",
               "which may leave fewer than top_k of those reranked");
  options.score_bound = BoundAt(model.ranking.of(target, options.mode), options.fusion_weight);
}

// The field to group by, as GroupBy has it.
void ConvertGroups(const v1::SearchOptions& given, Modality target, SearchOptions& options,
                   Violations& violations) {
  constexpr size_t kMaxGroupByBytes = 256;
  if (given.group_by().empty()) {
    if (given.has_group_size()) {
      violations.push_back({"options.group_size", v1::ERROR_REASON_FIELDS_CONFLICT,
                            absl::StrCat("is of use only together with options.group_by, got ",
                                         given.group_size())});
    }
    return;
  }
  GroupBy group_by = {.path = absl::StrSplit(given.group_by(), '.'),
                      .size = given.has_group_size() ? given.group_size() : 1};
  CheckRange("options.group_size", int64_t{group_by.size}, 1, std::numeric_limits<int32_t>::max(),
             violations);
  if (group_by.path.size() > 1 && group_by.path.front() == "payload") {
    group_by.path.erase(group_by.path.begin());
  } else if (group_by.path.size() == 1) {
    const std::string& name = group_by.path.front();
    group_by.in_payload = !(name == "uri" || (name == "image_id" && target == Modality::kCaption));
  }
  const bool has_empty_name =
      std::find(group_by.path.begin(), group_by.path.end(), "") != group_by.path.end();
  if (has_empty_name || given.group_by().size() > kMaxGroupByBytes) {
    violations.push_back({"options.group_by", v1::ERROR_REASON_VALUE_OUT_OF_RANGE,
                          absl::StrCat("must be names with dots between them, ", kMaxGroupByBytes,
                                       " bytes at most, got ", Quoted(given.group_by()))});
  }
  options.group_by = std::move(group_by);
}

// Which items and hits are left out. The ranking must be converted.
void ConvertSelection(const v1::SearchOptions& given, SearchOptions& options,
                      Violations& violations) {
  absl::StatusOr<ItemFilter> filter = ItemFilter::Parse(given.filter());
  if (filter.ok()) {
    options.filter = *std::move(filter);
  } else {
    violations.push_back(
        {"options.filter", v1::ERROR_REASON_FILTER_SYNTAX, std::string(filter.status().message())});
  }
  const auto convert = [&violations](bool given, absl::string_view field, float value,
                                     std::optional<float>& threshold) {
    if (!given) return;
    CheckRange(field, value, -1.0f, 1.0f, violations);
    threshold = value;
  };
  convert(given.has_min_coarse_score(), "options.min_coarse_score", given.min_coarse_score(),
          options.min_coarse_score);
  convert(given.has_min_rerank_score(), "options.min_rerank_score", given.min_rerank_score(),
          options.min_rerank_score);
  convert(given.has_min_final_score(), "options.min_final_score", given.min_final_score(),
          options.min_final_score);
  if (given.has_min_rerank_score() && options.fusion_weight >= 1) {
    violations.push_back({"options.min_rerank_score", v1::ERROR_REASON_FIELDS_CONFLICT,
                          "must not be set where nothing is reranked: the fusion weight is 1"});
  }
}

// What becomes of the search where time is short or reranking fails, and how urgent it is. The
// depth must be converted.
void ConvertUrgency(const v1::SearchOptions& given, SearchRequest& request,
                    Violations& violations) {
  SearchOptions& options = request.options;
  options.min_rerank_depth = std::min(options.top_k, options.rerank_depth);
  if (given.has_min_rerank_depth()) {
    options.min_rerank_depth = given.min_rerank_depth();
    CheckRange("options.min_rerank_depth", int64_t{options.min_rerank_depth}, 1,
               std::max(1, options.rerank_depth), violations);
  }
  if (!v1::OnRerankError_IsValid(given.on_rerank_error())) {
    violations.push_back({"options.on_rerank_error", v1::ERROR_REASON_VALUE_OUT_OF_RANGE,
                          absl::StrCat("must be ON_RERANK_ERROR_FAIL or "
                                       "ON_RERANK_ERROR_COARSE_ORDER, got ",
                                       given.on_rerank_error())});
  }
  options.coarse_on_error = given.on_rerank_error() == v1::ON_RERANK_ERROR_COARSE_ORDER;
  if (!v1::Priority_IsValid(given.priority())) {
    violations.push_back(
        {"options.priority", v1::ERROR_REASON_VALUE_OUT_OF_RANGE,
         absl::StrCat("must be PRIORITY_INTERACTIVE or PRIORITY_BULK, got ", given.priority())});
  }
  if (given.priority() != v1::PRIORITY_UNSPECIFIED) {
    request.priority =
        given.priority() == v1::PRIORITY_BULK ? Priority::kBulk : Priority::kInteractive;
  }
}

// The part that both searches share; `target` is what they search.
void ConvertOptions(const v1::SearchOptions& given, Modality target, const SearchLimits& limits,
                    const ModelInfo& model, const GalleryView& gallery, SearchRequest& request,
                    Violations& violations) {
  SearchOptions& options = request.options;
  options.top_k = given.has_top_k() ? given.top_k() : std::min(kDefaultTopK, limits.max_top_k);
  CheckRange("options.top_k", int64_t{options.top_k}, 1, limits.max_top_k, violations);

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
      CheckRange("options.rerank_depth", int64_t{options.rerank_depth}, lowest,
                 limits.max_rerank_depth, violations);
    }
  }
  ConvertUrgency(given, request, violations);
  const int64_t size = gallery.size(target);
  if (given.exact() && size > limits.max_exact_items) {
    violations.push_back(
        {"options.exact", v1::ERROR_REASON_VALUE_OUT_OF_RANGE,
         absl::StrCat("is allowed while the gallery holds at most ", limits.max_exact_items, " ",
                      ModalityName(target), "s; it holds ", size)});
  }
  options.mode = ConvertMode("options.score_mode", given.score_mode(), model, violations);
  ConvertRanking(given, target, model, options, violations);
  ConvertSelection(given, options, violations);
  ConvertGroups(given, target, options, violations);
  options.keep_all = given.paged();

  if (!v1::ResultView_IsValid(given.view())) {
    violations.push_back({"options.view", v1::ERROR_REASON_VALUE_OUT_OF_RANGE,
                          absl::StrCat("must be RESULT_VIEW_BASIC, RESULT_VIEW_FULL or "
                                       "RESULT_VIEW_EXPLAIN, got ",
                                       given.view())});
  }
  options.want_paths = given.view() == v1::RESULT_VIEW_EXPLAIN;
  request.want.details = options.want_paths || given.view() == v1::RESULT_VIEW_FULL;
  request.want.payload = given.with_payload();

  options.search_effort = limits.DefaultSearchEffort(target);
  if (given.has_search_effort()) {
    options.search_effort = given.search_effort();
    CheckRange("options.search_effort", int64_t{options.search_effort}, 1, limits.max_search_effort,
               violations);
  }
}

}  // namespace

absl::StatusOr<SearchRequest> RequestConverter::Convert(const v1::SearchImagesRequest& request,
                                                        const GalleryView& view) const {
  Violations violations;
  SearchRequest converted;
  CheckText("text", request.text(), limits_.max_text_characters, violations);
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
    CheckText("text", request.text(), limits_.max_text_characters, violations);
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

absl::StatusOr<PageRequest> RequestConverter::ConvertPage(const v1::SearchOptions& options) const {
  Violations violations;
  PageRequest page;
  page.size = options.has_top_k() ? options.top_k() : std::min(kDefaultTopK, limits_.max_top_k);
  CheckRange("options.top_k", int64_t{page.size}, 1, limits_.max_top_k, violations);
  page.want.details =
      options.view() == v1::RESULT_VIEW_FULL || options.view() == v1::RESULT_VIEW_EXPLAIN;
  page.want.payload = options.with_payload();
  std::optional<SearchPageToken> token = SearchPageToken::Decode(options.page_token());
  if (token.has_value()) {
    page.token = *std::move(token);
  } else {
    violations.push_back({"options.page_token", v1::ERROR_REASON_PAGE_TOKEN_INVALID,
                          "must be the next_page_token of a search, whole and unchanged"});
  }
  if (!violations.empty()) return InvalidRequestError(violations);
  return page;
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
