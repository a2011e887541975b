#include "model/dime/positives.h"

#include <algorithm>
#include <fstream>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace dime {

absl::StatusOr<Positives> LoadPositives(const std::string& path, int64_t num_captions) {
  std::ifstream stream(path);
  if (!stream) return absl::NotFoundError(absl::StrCat("cannot open ", path));
  const nlohmann::json json = nlohmann::json::parse(stream, nullptr, /*allow_exceptions=*/false);
  if (!json.is_array() || static_cast<int64_t>(json.size()) != num_captions) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " must be a JSON array with an array of image rows for each of the ",
                     num_captions, " captions"));
  }
  Positives positives;
  for (const nlohmann::json& entry : json) {
    std::vector<int64_t>& rows = positives.emplace_back();
    for (const nlohmann::json& row : entry) {
      if (!row.is_number_integer()) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, ": entry ", positives.size() - 1, " is not an array of image rows"));
      }
      rows.push_back(row.get<int64_t>());
    }
    std::sort(rows.begin(), rows.end());
  }
  return positives;
}

}  // namespace dime
