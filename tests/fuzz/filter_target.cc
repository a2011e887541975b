#include "index/item_filter.h"
#include "index/payload.h"
#include "tests/fuzz/fuzz_target.h"

namespace dime {
namespace {

// A filter, and behind a zero byte a payload in JSON.
void Run(absl::string_view bytes) {
  const size_t end = bytes.find('\0');
  const absl::string_view text = bytes.substr(0, end);
  const absl::string_view json = end == absl::string_view::npos ? "" : bytes.substr(end + 1);
  const auto filter = ItemFilter::Parse(text);
  if (!filter.ok()) {
    FuzzRequire(!filter.status().message().empty(), "an error says what is wrong");
    return;
  }
  FuzzRequire(text.size() <= static_cast<size_t>(ItemFilter::kMaxBytes), "a filter is bounded");
  FuzzRequire(filter->matches_everything() == filter->canonical().empty(),
              "what matches everything, and nothing else, has no canonical form");
  const auto again = ItemFilter::Parse(text);
  FuzzRequire(again.ok() && again->canonical() == filter->canonical(), "parsing is a function");
  const auto payload = PayloadFromJson(json);
  FilterSubject subject = {.id = "image-1", .uri = "a/b.png"};
  if (payload.ok()) subject.payload = &*payload;
  const bool matches = filter->Matches(subject);
  FuzzRequire(matches || !filter->matches_everything(), "everything matches everything");
  FuzzRequire(filter->Matches(subject) == matches, "matching is a function");
  subject = {.modality = Modality::kCaption, .id = "c", .text = json, .image_id = "i"};
  (void)filter->Matches(subject);
}

std::string Seed(absl::string_view filter, absl::string_view json) {
  std::string seed(filter);
  seed.push_back('\0');
  seed.append(json.data(), json.size());
  return seed;
}

}  // namespace

FuzzTarget FilterTarget() {
  constexpr char kJson[] = R"({"color": "red", "size": 4, "tags": ["new", 3], "a": {"b": null}})";
  return {.name = "filter",
          .seeds = {Seed(R"(color = "red" AND (size > 3 OR tags:new) -archived = true)", kJson),
                    Seed(R"(NOT a.b:* OR payload.id != "x\"y" red)", kJson),
                    Seed("create_time >= 2024-01-01T00:00:00Z", kJson),
                    Seed(R"(color = (red OR blue) "any part" size <= -1.5e3)", kJson),
                    Seed(R"(id = "image-*")", ""), Seed("", kJson)},
          .run = Run};
}

}  // namespace dime
