#include "server/field_checks.h"

#include <utf8proc.h>

#include <cstddef>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "index/float_bits.h"
#include "index/text_lines.h"

namespace dime {
namespace {

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

// Little-endian numbers of this size as floats; the machine is little-endian too.
template <typename Bits, typename ToFloat>
std::vector<float> FromBytes(const std::string& bytes, ToFloat to_float) {
  std::vector<float> values(bytes.size() / sizeof(Bits));
  for (size_t i = 0; i < values.size(); ++i) {
    Bits bits;
    std::memcpy(&bits, bytes.data() + i * sizeof(Bits), sizeof(Bits));
    values[i] = to_float(bits);
  }
  return values;
}

}  // namespace

void CheckRange(absl::string_view field, int64_t value, int64_t low, int64_t high,
                Violations& violations) {
  if (value >= low && value <= high) return;
  violations.push_back({std::string(field), v1::ERROR_REASON_VALUE_OUT_OF_RANGE,
                        absl::StrCat("must be ", low, " to ", high, ", got ", value)});
}

void CheckRange(absl::string_view field, float value, float low, float high,
                Violations& violations) {
  // The comparison is false for what is no number.
  if (value >= low && value <= high) return;
  violations.push_back({std::string(field), v1::ERROR_REASON_VALUE_OUT_OF_RANGE,
                        absl::StrCat("must be ", low, " to ", high, ", got ", value)});
}

void CheckCount(absl::string_view field, int64_t count, int64_t low, int64_t high,
                Violations& violations) {
  if (count >= low && count <= high) return;
  violations.push_back({std::string(field), v1::ERROR_REASON_WRONG_COUNT,
                        absl::StrCat("must hold ", low, " to ", high, ", got ", count)});
}

void CheckText(absl::string_view field, const std::string& text, int max_characters,
               Violations& violations) {
  if (!IsValidUtf8(text)) {
    violations.push_back({std::string(field), v1::ERROR_REASON_TEXT_NOT_UTF8,
                          absl::StrCat("must be valid UTF-8, got ", Quoted(text))});
    return;
  }
  const TextFacts facts = Examine(text);
  if (facts.characters > max_characters) {
    violations.push_back({std::string(field), v1::ERROR_REASON_TEXT_TOO_LONG,
                          absl::StrCat("must have at most ", max_characters, " characters, got ",
                                       facts.characters)});
  } else if (facts.blank) {
    violations.push_back({std::string(field), v1::ERROR_REASON_TEXT_EMPTY,
                          absl::StrCat("must hold more than white space, got ", Quoted(text))});
  }
}

void CheckId(absl::string_view field, const std::string& id, Violations& violations) {
  bool fits = !id.empty() && static_cast<int64_t>(id.size()) <= kMaxIdBytes;
  for (const char c : id) fits = fits && !absl::ascii_iscntrl(static_cast<unsigned char>(c));
  if (fits) return;
  violations.push_back(
      {std::string(field), v1::ERROR_REASON_ITEM_ID_INVALID,
       absl::StrCat("must have 1 to ", kMaxIdBytes, " bytes without control characters, got ",
                    id.size() > static_cast<size_t>(kMaxIdBytes) ? absl::StrCat(id.size(), " bytes")
                                                                 : Quoted(id))});
}

std::vector<float> ConvertFeatures(absl::string_view field, const v1::RegionFeatures& features,
                                   const ModelInfo& model, Violations& violations) {
  const auto wrong = [field, &violations](absl::string_view inner, v1::ErrorReason reason,
                                          std::string description) {
    violations.push_back({absl::StrCat(field, ".", inner), reason, std::move(description)});
  };
  const auto check_size = [&wrong](absl::string_view inner, int64_t given, int64_t wanted) {
    if (given == wanted) return;
    wrong(inner, v1::ERROR_REASON_FEATURE_SHAPE_MISMATCH,
          absl::StrCat("must be ", wanted, " for this model, got ", given));
  };
  check_size("num_regions", features.num_regions(), model.num_regions);
  check_size("feature_dim", features.feature_dim(), model.feature_dim);

  absl::string_view form = "values";
  std::vector<float> values;
  size_t odd_bytes = 0;
  if (!features.float32().empty()) {
    form = "float32";
    values = FromBytes<float>(features.float32(), [](float value) { return value; });
    odd_bytes = features.float32().size() % sizeof(float);
  } else if (!features.float16().empty()) {
    form = "float16";
    values = FromBytes<uint16_t>(features.float16(), Float16ToFloat);
    odd_bytes = features.float16().size() % sizeof(uint16_t);
  } else {
    values.assign(features.values().begin(), features.values().end());
  }
  if ((features.values_size() > 0) + !features.float32().empty() + !features.float16().empty() >
      1) {
    wrong(form, v1::ERROR_REASON_FIELDS_CONFLICT,
          "only one of values, float32 and float16 may be set");
    return values;
  }
  const int64_t wanted = int64_t{model.num_regions} * model.feature_dim;
  if (static_cast<int64_t>(values.size()) != wanted || odd_bytes != 0) {
    wrong(form, v1::ERROR_REASON_FEATURE_SHAPE_MISMATCH,
          absl::StrCat("must hold ", model.num_regions, " x ", model.feature_dim, " = ", wanted,
                       " values, got ", values.size(),
                       odd_bytes == 0 ? "" : absl::StrCat(" and ", odd_bytes, " bytes")));
  }
  // The first will do: a list of thousands helps nobody.
  const ptrdiff_t bad = FindNonFinite(values);
  if (bad >= 0) {
    wrong(absl::StrCat(form, "[", bad, "]"), v1::ERROR_REASON_FEATURE_NOT_FINITE,
          absl::StrCat("must be finite, got ", values[bad]));
  }
  return values;
}

}  // namespace dime
