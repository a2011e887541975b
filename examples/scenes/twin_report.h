#ifndef DIME_EXAMPLES_SCENES_TWIN_REPORT_H_
#define DIME_EXAMPLES_SCENES_TWIN_REPORT_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "examples/scenes/ambiguity.h"
#include "examples/scenes/split_reader.h"
#include "model/retrieval_metrics.h"

namespace dime::scenes {

// How many of so many comparisons came out right.
struct TwinShare {
  int64_t right = 0;
  int64_t total = 0;

  void Add(bool is_right) {
    right += is_right ? 1 : 0;
    ++total;
  }
  double percent() const { return total == 0 ? 0 : 100.0 * double(right) / double(total); }
};

// By what the twins differ in and by the captions' kind.
using TwinTable = std::array<std::array<TwinShare, kCaptionKinds>, kTwinKinds>;
TwinShare SumOverCaptionKinds(const TwinTable& table, TwinKind kind);

// What a similarity matrix over a split of the world shows.
struct TwinReport {
  int64_t images = 0;
  int64_t captions = 0;
  RetrievalMetrics recall;
  RecallCeiling ceiling;
  // Percent of captions whose highest-scoring image is one of which the caption is true, its own or
  // another: recall at 1 without the captions' ambiguity.
  double top_image_true = 0;
  // The same for images: the highest-scoring caption is true of the image.
  double top_caption_true = 0;
  // A caption that is false of the twin: does its own image score higher than the twin's? 50% is
  // chance.
  TwinTable from_text;
  // An image: does its own caption score higher than the twin's caption of the same kind, each
  // being false of the other image?
  TwinTable from_image;
};

// `similarity` (images, captions) row-major, kCaptionKinds captions an image; equal scores count as
// not told apart. INVALID_ARGUMENT if it does not fit the entries or holds a NaN.
absl::StatusOr<TwinReport> ReportTwins(absl::Span<const SplitEntry> entries,
                                       absl::Span<const std::vector<int>> rows_where_true,
                                       absl::Span<const float> similarity);

}  // namespace dime::scenes

#endif  // DIME_EXAMPLES_SCENES_TWIN_REPORT_H_
