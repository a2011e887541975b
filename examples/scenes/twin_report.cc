#include "examples/scenes/twin_report.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace dime::scenes {
namespace {

// How often the best of each image's captions is true, and the best of each caption's images.
void CountTrueTops(absl::Span<const std::vector<int>> rows_where_true,
                   absl::Span<const float> similarity, TwinReport& report) {
  const auto is_true = [&](int64_t image, int64_t caption) {
    const std::vector<int>& rows = rows_where_true[caption];
    return std::find(rows.begin(), rows.end(), static_cast<int>(image)) != rows.end();
  };
  int64_t true_images = 0;
  for (int64_t c = 0; c < report.captions; ++c) {
    int64_t best = 0;
    for (int64_t i = 1; i < report.images; ++i) {
      if (similarity[i * report.captions + c] > similarity[best * report.captions + c]) best = i;
    }
    true_images += is_true(best, c) ? 1 : 0;
  }
  int64_t true_captions = 0;
  for (int64_t i = 0; i < report.images; ++i) {
    const auto row = similarity.subspan(i * report.captions, report.captions);
    const int64_t best = std::max_element(row.begin(), row.end()) - row.begin();
    true_captions += is_true(i, best) ? 1 : 0;
  }
  report.top_image_true = 100.0 * static_cast<double>(true_images) / double(report.captions);
  report.top_caption_true = 100.0 * static_cast<double>(true_captions) / double(report.images);
}

}  // namespace

TwinShare SumOverCaptionKinds(const TwinTable& table, TwinKind kind) {
  TwinShare sum;
  for (const TwinShare& share : table[static_cast<size_t>(kind)]) {
    sum.right += share.right;
    sum.total += share.total;
  }
  return sum;
}

absl::StatusOr<TwinReport> ReportTwins(absl::Span<const SplitEntry> entries,
                                       absl::Span<const std::vector<int>> rows_where_true,
                                       absl::Span<const float> similarity) {
  TwinReport report;
  report.images = static_cast<int64_t>(entries.size());
  report.captions = report.images * kCaptionKinds;
  if (report.images == 0 || report.images % 2 != 0 ||
      static_cast<int64_t>(rows_where_true.size()) != report.captions ||
      static_cast<int64_t>(similarity.size()) != report.images * report.captions) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the similarity matrix has ", similarity.size(), " scores; ", report.images,
        " images with ", kCaptionKinds, " captions each need ", report.images * report.captions));
  }
  for (size_t i = 0; i < similarity.size(); ++i) {
    if (std::isnan(similarity[i])) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the similarity matrix has a NaN in row ", i / static_cast<size_t>(report.captions),
          ", column ", i % static_cast<size_t>(report.captions)));
    }
  }
  report.recall = ComputeMetrics(similarity, report.images, report.captions, kCaptionKinds);
  report.ceiling = ComputeCeiling(rows_where_true, static_cast<int>(report.images), kCaptionKinds);
  CountTrueTops(rows_where_true, similarity, report);
  const auto score = [&](int64_t image, int64_t caption) {
    return similarity[image * report.captions + caption];
  };
  for (int64_t image = 0; image < report.images; ++image) {
    const int64_t twin = image ^ 1;
    const auto kind = static_cast<size_t>(entries[image].twin_kind);
    for (int k = 0; k < kCaptionKinds; ++k) {
      if (entries[image].true_of_twin[k]) continue;
      const float own = score(image, image * kCaptionKinds + k);
      report.from_text[kind][k].Add(own > score(twin, image * kCaptionKinds + k));
      if (entries[twin].true_of_twin[k]) continue;
      report.from_image[kind][k].Add(own > score(image, twin * kCaptionKinds + k));
    }
  }
  return report;
}

}  // namespace dime::scenes
