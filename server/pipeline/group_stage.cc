#include "server/pipeline/group_stage.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "index/item_records.h"
#include "index/status_macros.h"

namespace dime {
namespace {

// The first character keeps "1" and 1 apart.
std::optional<std::string> TextGroup(const std::string& text) {
  if (text.empty()) return std::nullopt;
  return absl::StrCat("s", text);
}

std::optional<std::string> PayloadGroup(const Payload& payload,
                                        const std::vector<std::string>& path) {
  const Payload* found = &payload;
  for (const std::string& name : path) {
    if (!found->is_object()) return std::nullopt;
    const auto member = found->find(name);
    if (member == found->end()) return std::nullopt;
    found = &*member;
  }
  if (found->is_string()) return absl::StrCat("s", found->get_ref<const std::string&>());
  if (found->is_number() || found->is_boolean()) return absl::StrCat("v", found->dump());
  return std::nullopt;
}

std::optional<std::string> GroupOf(const ImageRecord& record, const GroupBy& group_by) {
  if (group_by.in_payload) return PayloadGroup(record.payload, group_by.path);
  return TextGroup(record.uri);
}

std::optional<std::string> GroupOf(const CaptionRecord& record, const GroupBy& group_by) {
  if (group_by.in_payload) return PayloadGroup(record.payload, group_by.path);
  return TextGroup(group_by.path.front() == "image_id" ? record.image_id : record.uri);
}

}  // namespace

absl::StatusOr<std::vector<std::optional<std::string>>> GroupStage::Run(
    const GalleryView& view, Modality target, const std::vector<Candidate>& candidates,
    const GroupBy& group_by) const {
  std::vector<int64_t> rows;
  rows.reserve(candidates.size());
  for (const Candidate& candidate : candidates) rows.push_back(candidate.row);
  std::vector<std::optional<std::string>> groups;
  groups.reserve(rows.size());
  const auto add = [&](const auto& record) { groups.push_back(GroupOf(record, group_by)); };
  const RecordParts parts = group_by.in_payload ? RecordParts::kAll : RecordParts::kWithoutPayload;
  RETURN_IF_ERROR(target == Modality::kImage ? view.VisitImages(rows, parts, add)
                                             : view.VisitCaptions(rows, parts, add));
  return groups;
}

}  // namespace dime
