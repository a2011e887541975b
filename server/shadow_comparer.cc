#include "server/shadow_comparer.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "index/status_macros.h"
#include "server/pipeline/stopwatch.h"

namespace dime {
namespace {

absl::StatusOr<std::vector<std::string>> ReadIds(const GalleryView& view, Modality modality,
                                                 absl::Span<const int64_t> rows) {
  std::vector<std::string> ids;
  const auto add = [&ids](const auto& record) { ids.push_back(record.id); };
  RETURN_IF_ERROR(modality == Modality::kImage
                      ? view.VisitImages(rows, RecordParts::kWithoutPayload, add)
                      : view.VisitCaptions(rows, RecordParts::kWithoutPayload, add));
  return ids;
}

std::vector<int64_t> FirstRows(const SearchResult& result) {
  std::vector<int64_t> rows;
  for (const Hit& hit : result.hits) {
    if (rows.size() < kComparedHits) rows.push_back(hit.row);
  }
  return rows;
}

}  // namespace

double KendallTau(const std::vector<int>& places) {
  int64_t balance = 0;
  for (size_t i = 0; i < places.size(); ++i) {
    for (size_t j = i + 1; j < places.size(); ++j) balance += places[i] < places[j] ? 1 : -1;
  }
  const auto pairs = static_cast<double>(places.size() * (places.size() - 1) / 2);
  return static_cast<double>(balance) / pairs;
}

ShadowComparer::ShadowComparer(Parts parts, Options options)
    : parts_(std::move(parts)),
      options_(std::move(options)),
      work_(options_.rate, options_.max_queued, parts_.live_calls, [this](const Sample& sample) {
        const absl::StatusOr<ShadowComparison> comparison = Compare(sample);
        if (comparison.ok()) {
          if (options_.on_comparison) options_.on_comparison(*comparison);
        } else if (!absl::IsCancelled(comparison.status()) && options_.on_drop) {
          options_.on_drop(TargetOf(sample.query), absl::IsFailedPrecondition(comparison.status())
                                                       ? Drop::kNotComparable
                                                       : Drop::kFailed);
        }
      }) {}

void ShadowComparer::Offer(const GalleryView& view, const Query& query,
                           const SearchOptions& options, const SearchResult& result) {
  if (!IsComparable(options, result) || result.hits.empty()) return;
  const auto offered = work_.Offer([&]() -> std::optional<Sample> {
    Sample sample{.query = query, .options = options};
    if (const auto* stored = std::get_if<GalleryImageQuery>(&query)) {
      const absl::StatusOr<std::vector<std::string>> ids =
          ReadIds(view, Modality::kImage, absl::MakeConstSpan(&stored->row, 1));
      if (!ids.ok()) return std::nullopt;
      sample.image_id = ids->front();
    }
    absl::StatusOr<std::vector<std::string>> served =
        ReadIds(view, result.target, FirstRows(result));
    if (!served.ok()) return std::nullopt;
    sample.served = *std::move(served);
    return sample;
  });
  if (!options_.on_drop) return;
  if (offered == Work::Offered::kFull) options_.on_drop(result.target, Drop::kQueueFull);
  if (offered == Work::Offered::kFailed) options_.on_drop(result.target, Drop::kFailed);
}

absl::StatusOr<Query> ShadowComparer::Translate(const Sample& sample,
                                                const GalleryView& shadow) const {
  if (const auto* features = std::get_if<RegionFeaturesQuery>(&sample.query)) {
    const size_t size = size_t{1} * parts_.model.num_regions * parts_.model.feature_dim;
    if (features->num_regions != parts_.model.num_regions || features->values.size() != size) {
      return absl::FailedPreconditionError("the shadow's model takes other features");
    }
  }
  if (!std::holds_alternative<GalleryImageQuery>(sample.query)) return sample.query;
  const absl::StatusOr<int64_t> row = shadow.FindRow(Modality::kImage, sample.image_id);
  if (absl::IsNotFound(row.status())) {
    return absl::FailedPreconditionError("the shadow's gallery lacks the image");
  }
  RETURN_IF_ERROR(row.status());
  return GalleryImageQuery{.row = *row};
}

SearchOptions ShadowComparer::OptionsOf(const Sample& sample) const {
  const Modality target = TargetOf(sample.query);
  SearchOptions options;
  options.top_k = std::min(sample.options.top_k, kComparedHits);
  options.rerank_depth = sample.options.rerank_depth;
  options.mode =
      parts_.model.Serves(sample.options.mode) ? sample.options.mode : parts_.model.DefaultMode();
  options.search_effort = parts_.limits.DefaultSearchEffort(target);
  options.fusion_weight = parts_.model.ranking.FusionWeight(target, options.mode);
  options.filter = sample.options.filter;
  return options;
}

absl::StatusOr<ShadowComparison> ShadowComparer::Compare(const Sample& sample) {
  if (!work_.AwaitQuiet()) return absl::CancelledError("the server stops");
  const Stopwatch stopwatch;
  const Modality target = TargetOf(sample.query);
  const std::shared_ptr<const GalleryView> shadow = parts_.gallery->Pin();
  if (shadow->size(target) == 0) {
    return absl::FailedPreconditionError("the shadow's gallery holds nothing of the kind");
  }
  ASSIGN_OR_RETURN(const Query query, Translate(sample, *shadow));
  ASSIGN_OR_RETURN(const SearchResult found,
                   parts_.pipeline->Run(*shadow, query, OptionsOf(sample), CallContext()));
  ShadowComparison comparison{.target = target, .time = stopwatch.Elapsed()};

  const std::vector<std::string>& served = sample.served;
  ASSIGN_OR_RETURN(const std::vector<std::string> others,
                   ReadIds(*shadow, target, FirstRows(found)));
  absl::flat_hash_map<std::string, int> place_of;
  for (size_t place = 0; place < others.size(); ++place) {
    place_of[others[place]] = static_cast<int>(place);
  }
  std::vector<int> places;
  for (const std::string& id : served) {
    if (const auto place = place_of.find(id); place != place_of.end()) {
      places.push_back(place->second);
    }
  }
  comparison.overlap = static_cast<double>(places.size()) / static_cast<double>(served.size());
  comparison.same_top1 = !others.empty() && served.front() == others.front();
  if (places.size() > 1) comparison.agreement = KendallTau(places);
  return comparison;
}

}  // namespace dime
