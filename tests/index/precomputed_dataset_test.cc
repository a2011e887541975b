#include "index/precomputed_dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "absl/strings/str_cat.h"
#include "tests/index/file_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class PrecomputedDatasetTest : public testing::Test {
 protected:
  // Writes `rows` x 2 x 3 features, of which row r holds 6r, 6r + 1, ...
  void WriteFeatures(const std::string& split, int64_t rows) {
    WriteArray(split + "_ims.npy", rows, {2, 3});
  }
  void WriteArray(const std::string& name, int64_t rows, std::vector<int64_t> row_shape) {
    auto writer = NpyWriter::Create(absl::StrCat(directory_, "/", name), row_shape);
    ASSERT_THAT(writer, IsOk());
    int64_t size = rows;
    for (const int64_t extent : row_shape) size *= extent;
    std::vector<float> values(static_cast<size_t>(size));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    ASSERT_THAT((*writer)->Append(values), IsOk());
    ASSERT_THAT((*writer)->Finish(), IsOk());
  }
  void Write(const std::string& name, const std::string& content) {
    WriteFile(absl::StrCat(directory_, "/", name), content);
  }
  absl::StatusOr<std::unique_ptr<PrecomputedDataset>> Open(const std::string& split = "test") {
    return PrecomputedDataset::Open(directory_, split);
  }

  const std::string directory_ = FreshDirectory();
};

std::string Lines(int64_t count) {
  std::string text;
  for (int64_t i = 0; i < count; ++i) absl::StrAppend(&text, "caption ", i, "\n");
  return text;
}

TEST(SharedPrecomputedDatasetTest, OpensRealFeaturesOfMsCoco) {
  const std::string directory = SharedPath("data/coco8");
  if (!Exists(directory)) GTEST_SKIP() << "no reference data at " << directory;
  ASSERT_OK_AND_ASSIGN(const auto dataset, PrecomputedDataset::Open(directory, "test"));
  EXPECT_EQ(dataset->num_images(), 8);
  EXPECT_EQ(dataset->num_captions(), 40);
  EXPECT_EQ(dataset->captions_per_image(), 5);
  EXPECT_EQ(dataset->num_regions(), 36);
  EXPECT_EQ(dataset->feature_dim(), 2048);
  ASSERT_OK_AND_ASSIGN(const ImageRecord image, dataset->Image(0));
  EXPECT_EQ(image.id, "562150");
  EXPECT_EQ(image.width, 640);
  EXPECT_EQ(image.height, 516);
  EXPECT_THAT(image.uri,
              AllOf(StartsWith("file:///"), EndsWith("/images/COCO_val2014_000000562150.jpg")));
  ASSERT_EQ(image.boxes.size(), 36u * 4);
  for (size_t i = 0; i < image.boxes.size(); i += 4) {
    EXPECT_LT(image.boxes[i], image.boxes[i + 2]);
    EXPECT_LE(image.boxes[i + 3], 516);
  }
  EXPECT_EQ(dataset->Caption(6).image_id, "268556");
  EXPECT_EQ(dataset->Caption(6).id, "268556#1");
  EXPECT_EQ(dataset->Caption(0).text, "A little girl holding a kitten next to a blue fence .");
  std::vector<float> features(2 * 36 * 2048);
  EXPECT_THAT(dataset->ReadFeatures(6, 2, absl::MakeSpan(features)), IsOk());
}

TEST_F(PrecomputedDatasetTest, NumbersImagesThatHaveNoIds) {
  WriteFeatures("test", 2);
  Write("test_caps.txt", Lines(10));
  ASSERT_OK_AND_ASSIGN(const auto dataset, Open());
  EXPECT_EQ(dataset->captions_per_image(), 5);
  EXPECT_EQ(dataset->ImageOfCaption(4), 0);
  EXPECT_EQ(dataset->ImageOfCaption(5), 1);
  EXPECT_EQ((*dataset->Image(1)).id, "test-1");
  EXPECT_THAT((*dataset->Image(1)).boxes, IsEmpty());
  const CaptionRecord caption = dataset->Caption(7);
  EXPECT_EQ(caption.id, "test-1#2");
  EXPECT_EQ(caption.image_id, "test-1");
  EXPECT_EQ(caption.text, "caption 7");
  std::vector<float> features(6);
  ASSERT_THAT(dataset->ReadFeatures(1, 1, absl::MakeSpan(features)), IsOk());
  EXPECT_THAT(features, ElementsAre(6, 7, 8, 9, 10, 11));
  EXPECT_THAT(dataset->ReadFeatures(2, 1, absl::MakeSpan(features)),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("test_ims.npy")));
  EXPECT_THAT(dataset->Image(2), StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("no image 2")));
}

TEST_F(PrecomputedDatasetTest, TakesOneCaptionAnImageOrNone) {
  WriteFeatures("test", 3);
  ASSERT_OK_AND_ASSIGN(const auto without, Open());
  EXPECT_EQ(without->num_captions(), 0);
  EXPECT_EQ(without->num_images(), 3);
  Write("test_caps.txt", "one\r\ntwo\nthree");  // no line end at the end
  ASSERT_OK_AND_ASSIGN(const auto dataset, Open());
  EXPECT_EQ(dataset->captions_per_image(), 1);
  EXPECT_THAT(dataset->captions(), ElementsAre("one", "two", "three"));
  EXPECT_EQ(dataset->Caption(2).id, "test-2#0");
}

TEST_F(PrecomputedDatasetTest, CutsDevAsThePublishedEvaluationDoes) {
  WriteFeatures("dev", 1014);  // as many as Flickr30K's
  WriteArray("dev_boxes.npy", 1014, {2, 4});
  Write("dev_caps.txt", Lines(5070));
  ASSERT_OK_AND_ASSIGN(const auto dev, Open("dev"));
  EXPECT_EQ(dev->num_captions(), 5000);
  EXPECT_EQ(dev->num_images(), 1000);
  EXPECT_EQ(dev->ImageOfCaption(4999), 999);
  std::vector<float> features(6);
  EXPECT_THAT(dev->ReadFeatures(999, 1, absl::MakeSpan(features)), IsOk());
  EXPECT_THAT(dev->ReadFeatures(1000, 1, absl::MakeSpan(features)),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("1000 images")));
  EXPECT_THAT((*dev->Image(999)).boxes,
              ElementsAre(7992, 7993, 7994, 7995, 7996, 7997, 7998, 7999));
}

TEST_F(PrecomputedDatasetTest, KeepsOtherSplitsAndSmallDevsWhole) {
  WriteFeatures("train", 1014);
  Write("train_caps.txt", Lines(5070));
  EXPECT_EQ((*Open("train"))->num_captions(), 5070);
  WriteFeatures("dev", 2);
  Write("dev_caps.txt", Lines(10));
  EXPECT_EQ((*Open("dev"))->num_images(), 2);
}

TEST_F(PrecomputedDatasetTest, ReadsKindsOfCaptionsWhereEachIsTold) {
  WriteFeatures("test", 2);
  Write("test_caps.txt", Lines(2));
  EXPECT_THAT((*Open())->caption_kinds(), IsEmpty());
  Write("test_meta.json",
        R"([{"captions": [{"kind": "count"}]}, {"captions": [{"kind": "mixed"}]}])");
  EXPECT_THAT((*Open())->caption_kinds(), ElementsAre("count", "mixed"));
  // Of other captions than the split has, or of some only; other data sets keep texts there.
  for (const char* meta :
       {R"([{"captions": [{"kind": "a"}, {"kind": "b"}]}, {"captions": [{"kind": "c"}]}])",
        R"([{"captions": [{"kind": "a"}]}, {}])",
        R"([{"captions": ["a cat"]}, {"captions": ["b"]}])",
        R"([{"captions": [{"kind": "a"}]}, {"captions": [{"kind": 1}]}])"}) {
    Write("test_meta.json", meta);
    ASSERT_OK_AND_ASSIGN(const auto dataset, Open());
    EXPECT_THAT(dataset->caption_kinds(), IsEmpty()) << meta;
    EXPECT_EQ(dataset->num_captions(), 2);
  }
}

TEST_F(PrecomputedDatasetTest, ReadsIdsAndMeta) {
  WriteFeatures("test", 3);
  Write("test_meta.json", R"([{"id": "a b", "file": "a b.png"}, {"image_id": 7, "width": 4,
                             "height": 5, "file": "https://example.org/7.jpg"}, {"file": "gone.png"}])");
  Write("a b.png", "");
  ASSERT_OK_AND_ASSIGN(const auto meta, Open());
  EXPECT_EQ((*meta->Image(0)).id, "a b");
  EXPECT_THAT((*meta->Image(0)).uri, AllOf(StartsWith("file:///"), EndsWith("/a%20b.png")));
  EXPECT_EQ((*meta->Image(1)).id, "7");
  EXPECT_EQ((*meta->Image(1)).width, 4);
  EXPECT_EQ((*meta->Image(1)).uri, "https://example.org/7.jpg");
  EXPECT_EQ((*meta->Image(2)).id, "test-2");
  EXPECT_EQ((*meta->Image(2)).uri, "gone.png");
  Write("test_ids.txt", "x\ny\nz\n");
  ASSERT_OK_AND_ASSIGN(const auto ids, Open());
  EXPECT_EQ((*ids->Image(1)).id, "y");
  EXPECT_EQ((*ids->Image(1)).height, 5);
}

TEST_F(PrecomputedDatasetTest, RefusesWhatDoesNotFit) {
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kNotFound, HasSubstr("test_ims.npy")));
  WriteArray("test_ims.npy", 4, {6});
  EXPECT_THAT(Open(), StatusIs(kInvalid, HasSubstr("has shape (4, 6)")));
  WriteArray("test_ims.npy", 0, {2, 3});
  EXPECT_THAT(Open(), StatusIs(kInvalid, HasSubstr("has shape (0, 2, 3)")));
  WriteFeatures("test", 2);

  Write("test_caps.txt", Lines(9));
  EXPECT_THAT(Open(), StatusIs(kInvalid, AllOf(HasSubstr("test_caps.txt has 9 captions"),
                                               HasSubstr("2 images"))));
  Write("test_caps.txt", "");
  EXPECT_THAT(Open(), StatusIs(kInvalid, HasSubstr("has 0 captions")));
  Write("test_caps.txt", "one\n \n");
  EXPECT_THAT(Open(), StatusIs(kInvalid, HasSubstr("test_caps.txt line 2 is empty")));
  Write("test_caps.txt", "one\ntw\xff\n");
  EXPECT_THAT(Open(), StatusIs(kInvalid, HasSubstr("test_caps.txt line 2 is no UTF-8")));
  Write("test_caps.txt", Lines(2));

  WriteArray("test_boxes.npy", 2, {3, 4});
  EXPECT_THAT(Open(), StatusIs(kInvalid, HasSubstr("needed is (2, 2, 4)")));
  WriteArray("test_boxes.npy", 2, {2, 4});
  Write("test_ids.txt", "only one\n");
  EXPECT_THAT(Open(), StatusIs(kInvalid, HasSubstr("test_ids.txt has 1 ids for 2 images")));
  Write("test_ids.txt", "one\ntwo\n");
  EXPECT_THAT(Open(), IsOk());
}

TEST_F(PrecomputedDatasetTest, RefusesMalformedMeta) {
  WriteFeatures("test", 2);
  for (const auto& [content, message] : std::vector<std::pair<std::string, std::string>>{
           {"[{}]", "has 1 entries for 2 images"},
           {"{}", "JSON array"},
           {"", "JSON array"},
           {std::string(1'000'000, '['), "JSON array"},
           {std::string(1'000'000, '[') + std::string(1'000'000, ']'), "entry 0 is no object"},
           {"[{}, 3]", "entry 1 is no object"},
           {"[{}, {\"id\": 1.5}]", "entry 1 \"id\""},
           {"[{}, {\"id\": \"\"}]", "entry 1 \"id\""},
           {"[{}, {\"width\": -1}]", "entry 1 \"width\""},
           {"[{}, {\"height\": 99999999999}]", "entry 1 \"height\""},
           {"[{}, {\"file\": 1}]", "entry 1 \"file\""}}) {
    Write("test_meta.json", content);
    EXPECT_THAT(Open(), StatusIs(kInvalid, AllOf(HasSubstr("test_meta.json"), HasSubstr(message))));
  }
}

TEST_F(PrecomputedDatasetTest, NamesFileAndRowOfNonFiniteNumbers) {
  for (const char* name : {"test_ims.npy", "test_boxes.npy"}) {
    ASSERT_OK_AND_ASSIGN(auto writer,
                         NpyWriter::Create(absl::StrCat(directory_, "/", name), {1, 4}));
    ASSERT_THAT(writer->Append({0, 0, 0, 0}), IsOk());
    ASSERT_THAT(writer->Append({0, std::numeric_limits<float>::quiet_NaN(), 0, 0}), IsOk());
    ASSERT_THAT(writer->Append({0, 0, 0, -std::numeric_limits<float>::infinity()}), IsOk());
    ASSERT_THAT(writer->Finish(), IsOk());
  }
  ASSERT_OK_AND_ASSIGN(const auto dataset, Open());
  std::vector<float> rows(8);
  EXPECT_THAT(dataset->ReadFeatures(0, 2, absl::MakeSpan(rows)),
              StatusIs(kInvalid, HasSubstr("test_ims.npy: row 1 holds")));
  EXPECT_THAT(dataset->ReadFeatures(2, 1, absl::MakeSpan(rows).first(4)),
              StatusIs(kInvalid, HasSubstr("row 2 holds")));
  EXPECT_THAT(dataset->Image(0), IsOk());
  EXPECT_THAT(dataset->Image(1), StatusIs(kInvalid, HasSubstr("test_boxes.npy: row 1 holds")));
}

}  // namespace
}  // namespace dime
