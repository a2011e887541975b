#include "index/item_codec.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "index/float_bits.h"
#include "index/status_macros.h"

namespace dime {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are stored as they lie");

constexpr char kImageTag = 'I';
constexpr char kCaptionTag = 'C';
constexpr int64_t kUnknownTime = std::numeric_limits<int64_t>::min();
constexpr float kInt8Steps = 127;

absl::Status Damaged(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("a stored ", what, " is damaged"));
}

class Writer {
 public:
  template <typename T>
  void Number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void Text(absl::string_view text) {
    Number(static_cast<uint32_t>(text.size()));
    bytes_.append(text.data(), text.size());
  }
  void Time(absl::Time time) {
    Number(time == absl::InfinitePast() ? kUnknownTime : absl::ToUnixNanos(time));
  }
  void Floats(absl::Span<const float> values) {
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  }
  void Reserve(int64_t bytes) { bytes_.reserve(static_cast<size_t>(bytes)); }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Every read past the end fails, and all that follow it.
class Reader {
 public:
  explicit Reader(absl::string_view bytes) : rest_(bytes) {}

  template <typename T>
  T Number() {
    T value{};
    const absl::string_view bytes = Bytes(sizeof(value));
    if (ok_) std::memcpy(&value, bytes.data(), sizeof(value));
    return value;
  }
  absl::string_view Bytes(size_t size) {
    if (size > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const absl::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }
  std::string Text() { return std::string(Bytes(Number<uint32_t>())); }
  absl::Time Time() {
    const int64_t nanos = Number<int64_t>();
    return nanos == kUnknownTime ? absl::InfinitePast() : absl::FromUnixNanos(nanos);
  }
  void Floats(size_t count, std::vector<float>& out) {
    const absl::string_view bytes = Bytes(count * sizeof(float));
    if (!ok_) return;
    const size_t before = out.size();
    out.resize(before + count);
    if (count > 0) std::memcpy(out.data() + before, bytes.data(), bytes.size());
  }
  bool Finished() const { return ok_ && rest_.empty(); }

 private:
  absl::string_view rest_;
  bool ok_ = true;
};

void WriteLocal(absl::Span<const float> local, int embed_size, FeatureForm form, Writer& writer) {
  switch (form) {
    case FeatureForm::kFloat32:
      return writer.Floats(local);
    case FeatureForm::kBfloat16:
      for (const float value : local) writer.Number(FloatToBfloat16(value));
      return;
    case FeatureForm::kInt8:
      for (size_t first = 0; first < local.size(); first += static_cast<size_t>(embed_size)) {
        const absl::Span<const float> row = local.subspan(first, static_cast<size_t>(embed_size));
        float largest = 0;
        for (const float value : row) largest = std::max(largest, std::abs(value));
        const float scale = largest / kInt8Steps;
        writer.Number(scale);
        for (const float value : row) {
          writer.Number(static_cast<int8_t>(scale > 0 ? std::lround(value / scale) : 0));
        }
      }
      return;
  }
}

void ReadLocal(size_t rows, int embed_size, FeatureForm form, Reader& reader,
               std::vector<float>& out) {
  const size_t width = static_cast<size_t>(embed_size);
  switch (form) {
    case FeatureForm::kFloat32:
      return reader.Floats(rows * width, out);
    case FeatureForm::kBfloat16: {
      const absl::string_view bytes = reader.Bytes(rows * width * sizeof(uint16_t));
      const size_t before = out.size();
      out.resize(before + bytes.size() / sizeof(uint16_t));
      for (size_t i = 0; before + i < out.size(); ++i) {
        uint16_t bits;
        std::memcpy(&bits, bytes.data() + i * sizeof(bits), sizeof(bits));
        out[before + i] = Bfloat16ToFloat(bits);
      }
      return;
    }
    case FeatureForm::kInt8:
      for (size_t row = 0; row < rows; ++row) {
        const float scale = reader.Number<float>();
        const absl::string_view steps = reader.Bytes(width);
        for (const char step : steps) {
          out.push_back(scale * static_cast<float>(static_cast<int8_t>(step)));
        }
      }
      return;
  }
}

template <typename Record>
absl::Status ReadPayload(Reader& reader, RecordParts parts, Record& record) {
  const absl::string_view bytes = reader.Bytes(reader.Number<uint32_t>());
  if (parts == RecordParts::kStoredPayload) record.stored_payload = std::string(bytes);
  if (parts != RecordParts::kAll) return absl::OkStatus();
  ASSIGN_OR_RETURN(record.payload, ParsePayload(bytes));
  return absl::OkStatus();
}

int64_t LocalBytes(int64_t positions, int64_t embed_size, FeatureForm form) {
  switch (form) {
    case FeatureForm::kFloat32:
      return positions * embed_size * 4;
    case FeatureForm::kBfloat16:
      return positions * embed_size * 2;
    case FeatureForm::kInt8:
      break;
  }
  return positions * (4 + embed_size);
}

}  // namespace

absl::string_view FeatureFormName(FeatureForm form) {
  switch (form) {
    case FeatureForm::kFloat32:
      return "float32";
    case FeatureForm::kBfloat16:
      return "bfloat16";
    case FeatureForm::kInt8:
      break;
  }
  return "int8";
}

std::optional<FeatureForm> ParseFeatureForm(absl::string_view name) {
  for (const FeatureForm form :
       {FeatureForm::kFloat32, FeatureForm::kBfloat16, FeatureForm::kInt8}) {
    if (name == FeatureFormName(form)) return form;
  }
  return std::nullopt;
}

std::string EncodeRecord(const ImageRecord& record) {
  Writer writer;
  writer.Number(kImageTag);
  writer.Text(record.id);
  writer.Number(record.width);
  writer.Number(record.height);
  writer.Text(record.uri);
  writer.Time(record.create_time);
  writer.Time(record.update_time);
  writer.Text(SerializePayload(record.payload));
  writer.Number(static_cast<uint32_t>(record.boxes.size()));
  writer.Floats(record.boxes);
  return writer.Take();
}

std::string EncodeRecord(const CaptionRecord& record) {
  Writer writer;
  writer.Number(kCaptionTag);
  writer.Text(record.id);
  writer.Text(record.text);
  writer.Text(record.image_id);
  writer.Text(record.uri);
  writer.Time(record.create_time);
  writer.Time(record.update_time);
  writer.Text(SerializePayload(record.payload));
  return writer.Take();
}

absl::StatusOr<ImageRecord> DecodeImageRecord(absl::string_view bytes, RecordParts parts) {
  Reader reader(bytes);
  const bool tagged = reader.Number<char>() == kImageTag;
  ImageRecord record;
  record.id = reader.Text();
  record.width = reader.Number<int32_t>();
  record.height = reader.Number<int32_t>();
  record.uri = reader.Text();
  record.create_time = reader.Time();
  record.update_time = reader.Time();
  const absl::Status payload = ReadPayload(reader, parts, record);
  reader.Floats(reader.Number<uint32_t>(), record.boxes);
  if (!tagged || !payload.ok() || !reader.Finished()) return Damaged("image record");
  return record;
}

absl::StatusOr<CaptionRecord> DecodeCaptionRecord(absl::string_view bytes, RecordParts parts) {
  Reader reader(bytes);
  const bool tagged = reader.Number<char>() == kCaptionTag;
  CaptionRecord record;
  record.id = reader.Text();
  record.text = reader.Text();
  record.image_id = reader.Text();
  record.uri = reader.Text();
  record.create_time = reader.Time();
  record.update_time = reader.Time();
  const absl::Status payload = ReadPayload(reader, parts, record);
  if (!tagged || !payload.ok() || !reader.Finished()) return Damaged("caption record");
  return record;
}

std::string EncodeFeatures(const EncodedItemsView& item, FeatureForm form) {
  Writer writer;
  writer.Reserve(EncodedFeaturesBytes(item, form));
  writer.Number(item.lengths[0]);
  for (const DirectionFeaturesView& features : item.directions) {
    if (features.embed_size == 0) continue;
    WriteLocal(features.local, features.embed_size, form, writer);
    writer.Floats(features.global);
  }
  return writer.Take();
}

absl::Status DecodeFeatures(absl::string_view bytes, FeatureForm form, EncodedItems& items) {
  Reader reader(bytes);
  const int32_t length = reader.Number<int32_t>();
  for (DirectionFeatures& features : items.directions) {
    if (features.embed_size == 0) continue;
    ReadLocal(static_cast<size_t>(items.positions), features.embed_size, form, reader,
              features.local);
    reader.Floats(static_cast<size_t>(features.embed_size), features.global);
  }
  if (!reader.Finished() || length < 1 || length > items.positions) return Damaged("feature array");
  items.lengths.push_back(length);
  ++items.count;
  return absl::OkStatus();
}

int64_t EncodedFeaturesBytes(const EncodedItemsView& shape, FeatureForm form) {
  int64_t bytes = sizeof(int32_t);
  for (const DirectionFeaturesView& features : shape.directions) {
    bytes += LocalBytes(shape.positions, features.embed_size, form) + 4 * features.embed_size;
  }
  return bytes;
}

std::string EncodeFloats(absl::Span<const float> values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

absl::Status DecodeFloats(absl::string_view bytes, absl::Span<float> values) {
  if (bytes.size() != values.size() * sizeof(float)) return Damaged("array of numbers");
  if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return absl::OkStatus();
}

}  // namespace dime
