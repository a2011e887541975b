#include "client/item_source.h"

#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "client/region_features_file.h"
#include "google/protobuf/util/json_util.h"
#include "index/bottom_up_tsv.h"
#include "index/mapped_file.h"
#include "index/precomputed_dataset.h"
#include "index/status_macros.h"
#include "index/text_lines.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

using nlohmann::json;

// The record of an image with its features, (R, D).
v1::UpsertImagesRequest MakeRequest(const ImageRecord& record, int num_regions, int feature_dim,
                                    const std::vector<float>& features) {
  v1::UpsertImagesRequest request;
  v1::Image& image = *request.mutable_image();
  image.set_id(record.id);
  image.set_uri(record.uri);
  image.set_width(record.width);
  image.set_height(record.height);
  for (size_t i = 0; i + 4 <= record.boxes.size(); i += 4) {
    v1::Box& box = *image.add_boxes();
    box.set_left(record.boxes[i]);
    box.set_top(record.boxes[i + 1]);
    box.set_right(record.boxes[i + 2]);
    box.set_bottom(record.boxes[i + 3]);
  }
  v1::RegionFeatures& message = *request.mutable_features();
  message.set_num_regions(num_regions);
  message.set_feature_dim(feature_dim);
  message.set_float32(reinterpret_cast<const char*>(features.data()),
                      features.size() * sizeof(float));
  return request;
}

class DatasetImages : public ImageSource {
 public:
  explicit DatasetImages(std::unique_ptr<PrecomputedDataset> dataset)
      : dataset_(std::move(dataset)) {}

  int64_t size() const override { return dataset_->num_images(); }
  absl::StatusOr<v1::UpsertImagesRequest> Next() override {
    const int64_t row = next_++;
    std::vector<float> features(static_cast<size_t>(dataset_->num_regions()) *
                                dataset_->feature_dim());
    RETURN_IF_ERROR(dataset_->ReadFeatures(row, 1, absl::MakeSpan(features)));
    ASSIGN_OR_RETURN(const ImageRecord record, dataset_->Image(row));
    return MakeRequest(record, dataset_->num_regions(), dataset_->feature_dim(), features);
  }
  absl::Status Skip() override {
    ++next_;
    return absl::OkStatus();
  }

 private:
  const std::unique_ptr<PrecomputedDataset> dataset_;
  int64_t next_ = 0;
};

class DatasetCaptions : public CaptionSource {
 public:
  explicit DatasetCaptions(std::unique_ptr<PrecomputedDataset> dataset)
      : dataset_(std::move(dataset)) {}

  int64_t size() const override { return dataset_->num_captions(); }
  absl::StatusOr<v1::UpsertCaptionsRequest> Next() override {
    const CaptionRecord record = dataset_->Caption(next_++);
    v1::UpsertCaptionsRequest request;
    request.mutable_caption()->set_id(record.id);
    request.mutable_caption()->set_text(record.text);
    request.mutable_caption()->set_image_id(record.image_id);
    return request;
  }
  absl::Status Skip() override {
    ++next_;
    return absl::OkStatus();
  }

 private:
  const std::unique_ptr<PrecomputedDataset> dataset_;
  int64_t next_ = 0;
};

class TsvImages : public ImageSource {
 public:
  TsvImages(std::unique_ptr<BottomUpTsvReader> reader, int64_t size)
      : reader_(std::move(reader)), size_(size) {}

  int64_t size() const override { return size_; }
  absl::StatusOr<v1::UpsertImagesRequest> Next() override {
    ASSIGN_OR_RETURN(const BottomUpTsvReader::Row row, reader_->Next());
    return MakeRequest(row.image, row.num_regions, row.feature_dim, row.features);
  }

 private:
  const std::unique_ptr<BottomUpTsvReader> reader_;
  const int64_t size_;
};

absl::string_view ContentOf(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// A file with an item a line; lines without anything but white space are none.
template <typename Request>
class LineSource : public ItemSource<Request> {
 public:
  explicit LineSource(std::unique_ptr<MappedFile> file) : file_(std::move(file)) {
    int64_t number = 0;
    for (const absl::string_view line : SplitLines(ContentOf(*file_))) {
      ++number;
      if (!absl::StripAsciiWhitespace(line).empty()) lines_.push_back({number, line});
    }
  }

  int64_t size() const override { return static_cast<int64_t>(lines_.size()); }
  absl::StatusOr<Request> Next() override {
    const Line& line = lines_[next_++];
    absl::StatusOr<Request> request = Parse(line.text);
    if (request.ok()) return request;
    return absl::Status(request.status().code(), absl::StrCat(path(), " line ", line.number, ": ",
                                                              request.status().message()));
  }
  absl::Status Skip() override {
    ++next_;
    return absl::OkStatus();
  }

 protected:
  virtual absl::StatusOr<Request> Parse(absl::string_view line) const = 0;
  const std::string& path() const { return file_->path(); }

 private:
  struct Line {
    int64_t number;  // from 1
    absl::string_view text;
  };
  const std::unique_ptr<MappedFile> file_;
  std::vector<Line> lines_;
  size_t next_ = 0;
};

absl::StatusOr<json> ParseObject(absl::string_view line) {
  json object = json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
  if (object.is_object()) return object;
  return absl::InvalidArgumentError("it is no JSON object");
}

absl::Status ReadMessage(const json& object, google::protobuf::Message& message) {
  const std::string text = object.dump(-1, ' ', false, json::error_handler_t::replace);
  const auto status = google::protobuf::util::JsonStringToMessage(text, &message);
  if (status.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(std::string(status.message()));
}

class JsonImages : public LineSource<v1::UpsertImagesRequest> {
 public:
  using LineSource::LineSource;

 private:
  absl::StatusOr<v1::UpsertImagesRequest> Parse(absl::string_view line) const override {
    ASSIGN_OR_RETURN(json object, ParseObject(line));
    v1::UpsertImagesRequest request;
    const auto take = [&object](const char* name) {
      json value;
      const auto found = object.find(name);
      if (found != object.end()) {
        value = std::move(*found);
        object.erase(found);
      }
      return value;
    };
    const json features = take("features"), npy = take("npy"), row = take("row");
    if (features.is_object() == npy.is_string()) {
      return absl::InvalidArgumentError(
          "it needs either \"features\", an object, or \"npy\", the name of a file");
    }
    if (!row.is_null() && !row.is_number_integer()) {
      return absl::InvalidArgumentError("\"row\" is no whole number");
    }
    if (features.is_object()) {
      RETURN_IF_ERROR(ReadMessage(features, *request.mutable_features()));
    } else {
      const std::filesystem::path file =
          std::filesystem::path(path()).parent_path() / npy.get<std::string>();
      ASSIGN_OR_RETURN(
          *request.mutable_features(),
          ReadRegionFeatures(file.string(),
                             row.is_null() ? std::nullopt : std::optional(row.get<int64_t>())));
    }
    RETURN_IF_ERROR(ReadMessage(object, *request.mutable_image()));
    return request;
  }
};

class JsonCaptions : public LineSource<v1::UpsertCaptionsRequest> {
 public:
  using LineSource::LineSource;

 private:
  absl::StatusOr<v1::UpsertCaptionsRequest> Parse(absl::string_view line) const override {
    ASSIGN_OR_RETURN(const json object, ParseObject(line));
    v1::UpsertCaptionsRequest request;
    RETURN_IF_ERROR(ReadMessage(object, *request.mutable_caption()));
    return request;
  }
};

class TsvCaptions : public LineSource<v1::UpsertCaptionsRequest> {
 public:
  using LineSource::LineSource;

 private:
  absl::StatusOr<v1::UpsertCaptionsRequest> Parse(absl::string_view line) const override {
    const std::vector<absl::string_view> columns = absl::StrSplit(line, '\t');
    if (columns.size() < 2 || columns.size() > 3) {
      return absl::InvalidArgumentError(
          absl::StrCat("it has ", columns.size(),
                       " columns; needed are id, text and, if known, image id, parted by tabs"));
    }
    if (!IsValidUtf8(line)) return absl::InvalidArgumentError("it is not valid UTF-8");
    v1::UpsertCaptionsRequest request;
    request.mutable_caption()->set_id(std::string(columns[0]));
    request.mutable_caption()->set_text(std::string(columns[1]));
    if (columns.size() == 3) request.mutable_caption()->set_image_id(std::string(columns[2]));
    return request;
  }
};

bool IsJsonLines(absl::string_view path) {
  return absl::EndsWith(path, ".jsonl") || absl::EndsWith(path, ".ndjson");
}

absl::Status UnknownForm(absl::string_view path) {
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": the name ends in none of .tsv, .jsonl and .ndjson"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ImageSource>> OpenDatasetImages(const std::string& directory,
                                                               const std::string& split) {
  ASSIGN_OR_RETURN(std::unique_ptr<PrecomputedDataset> dataset,
                   PrecomputedDataset::Open(directory, split));
  return std::make_unique<DatasetImages>(std::move(dataset));
}

absl::StatusOr<std::unique_ptr<CaptionSource>> OpenDatasetCaptions(const std::string& directory,
                                                                   const std::string& split) {
  ASSIGN_OR_RETURN(std::unique_ptr<PrecomputedDataset> dataset,
                   PrecomputedDataset::Open(directory, split));
  return std::make_unique<DatasetCaptions>(std::move(dataset));
}

absl::StatusOr<std::unique_ptr<ImageSource>> OpenImageFile(const std::string& path) {
  if (IsJsonLines(path)) {
    ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file, MappedFile::Open(path));
    return std::make_unique<JsonImages>(std::move(file));
  }
  if (!absl::EndsWith(path, ".tsv")) return UnknownForm(path);
  int64_t rows = 0;
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
    const absl::string_view content = ContentOf(*file);
    for (size_t place = 0; place < content.size(); ++rows) {
      const size_t end = content.find('\n', place);
      place = end == absl::string_view::npos ? content.size() : end + 1;
    }
  }
  ASSIGN_OR_RETURN(std::unique_ptr<BottomUpTsvReader> reader, BottomUpTsvReader::Open(path));
  return std::make_unique<TsvImages>(std::move(reader), rows);
}

absl::StatusOr<std::unique_ptr<CaptionSource>> OpenCaptionFile(const std::string& path) {
  if (!IsJsonLines(path) && !absl::EndsWith(path, ".tsv")) return UnknownForm(path);
  ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  if (IsJsonLines(path)) return std::make_unique<JsonCaptions>(std::move(file));
  return std::make_unique<TsvCaptions>(std::move(file));
}

}  // namespace dime
