#ifndef DIME_SERVER_SEARCH_DEFAULTS_H_
#define DIME_SERVER_SEARCH_DEFAULTS_H_

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "index/gallery.h"
#include "index/search_settings.h"
#include "model/model_info.h"
#include "server/search_limits.h"

namespace dime {

// Where a request that gives no rerank depth or search effort gets them from: an explicit flag,
// else what dime_tune measured for this gallery, else a depth that suits the device.
struct SearchDefaults {
  // What the operator said; absent: nothing.
  struct Flags {
    std::optional<int> rerank_depth;  // of both searches, unless the captions have their own
    std::optional<int> caption_rerank_depth;
    std::optional<int> search_effort;  // likewise
    std::optional<int> caption_search_effort;
  };

  SearchLimits limits;                // as given, with the defaults filled in
  std::string description;            // for people: which defaults are in force, and where from
  std::vector<std::string> warnings;  // for people: what was not taken, and why

  // `settings`: as SearchSettings::Load() gave them; those that are missing are nothing special,
  // damaged or unfitting ones are warned of and not taken. A measured depth above
  // limits.max_rerank_depth is cut to it, with a warning; `device_depth` likewise, without. Flags
  // are taken as they are.
  static SearchDefaults Choose(const SearchLimits& limits, const Flags& flags,
                               const absl::StatusOr<SearchSettings>& settings,
                               const GalleryInfo& gallery, const ModelInfo& model,
                               int device_depth);
};

}  // namespace dime

#endif  // DIME_SERVER_SEARCH_DEFAULTS_H_
