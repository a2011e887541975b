#include "index/bottom_up_tsv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "index/npy_file.h"
#include "tests/index/file_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::string Encoded(const std::vector<float>& floats) {
  return absl::Base64Escape(absl::string_view(reinterpret_cast<const char*>(floats.data()),
                                              floats.size() * sizeof(float)));
}

// A row of one region with two features.
std::vector<std::string> GoodColumns() {
  return {"42", "640", "480", "1", Encoded({1, 2, 3, 4}), Encoded({0.5f, -0.5f})};
}

class BottomUpTsvTest : public testing::Test {
 protected:
  std::unique_ptr<BottomUpTsvReader> OpenText(const std::string& text) {
    WriteFile(path_, text);
    return *BottomUpTsvReader::Open(path_);
  }
  const std::string path_ = FreshDirectory() + "/features.tsv";
};

TEST(SharedBottomUpTsvTest, RowsEqualTheArraysMadeFromThem) {
  const std::string directory = SharedPath("data/butd10");
  if (!Exists(directory)) GTEST_SKIP() << "no reference data at " << directory;
  ASSERT_OK_AND_ASSIGN(
      const auto reader,
      BottomUpTsvReader::Open(directory + "/trainval_resnet101_faster_rcnn_genome_36.tsv"));
  ASSERT_OK_AND_ASSIGN(const auto features, NpyFile::Open(directory + "/ims.npy"));
  ASSERT_OK_AND_ASSIGN(const auto boxes, NpyFile::Open(directory + "/boxes.npy"));
  double progress = 0;
  for (int64_t i = 0; i < features->rows(); ++i) {
    ASSERT_OK_AND_ASSIGN(const BottomUpTsvReader::Row row, reader->Next());
    EXPECT_EQ(row.num_regions, 36);
    EXPECT_EQ(row.feature_dim, 2048);
    std::vector<float> expected(static_cast<size_t>(features->row_size()));
    ASSERT_THAT(features->ReadRows(i, 1, absl::MakeSpan(expected)), IsOk());
    EXPECT_EQ(row.features, expected);
    expected.resize(static_cast<size_t>(boxes->row_size()));
    ASSERT_THAT(boxes->ReadRows(i, 1, absl::MakeSpan(expected)), IsOk());
    EXPECT_EQ(row.image.boxes, expected);
    if (i == 0) {
      EXPECT_EQ(row.image.id, "150367");
      EXPECT_EQ(row.image.width, 640);
      EXPECT_EQ(row.image.height, 480);
    }
    EXPECT_GT(reader->Progress(), progress);
    progress = reader->Progress();
  }
  EXPECT_EQ(progress, 1.0);
  EXPECT_THAT(reader->Next(), StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("no more rows")));
}

TEST_F(BottomUpTsvTest, ReadsRowsOfDifferentShapesAndLineEnds) {
  const auto reader = OpenText(absl::StrCat(
      absl::StrJoin(GoodColumns(), "\t"), "\r\n", "b\t0\t0\t2\t", Encoded({1, 2, 3, 4, 5, 6, 7, 8}),
      "\t", Encoded({1, 2}), "\n", absl::StrJoin(GoodColumns(), "\t")));
  ASSERT_OK_AND_ASSIGN(const BottomUpTsvReader::Row first, reader->Next());
  EXPECT_EQ(first.image.id, "42");
  EXPECT_EQ(first.feature_dim, 2);
  EXPECT_THAT(first.image.boxes, ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(first.features, ElementsAre(0.5f, -0.5f));
  ASSERT_OK_AND_ASSIGN(const BottomUpTsvReader::Row second, reader->Next());
  EXPECT_EQ(second.num_regions, 2);
  EXPECT_EQ(second.feature_dim, 1);
  EXPECT_THAT(reader->Next(), IsOk());
  EXPECT_THAT(reader->Next(), StatusIs(absl::StatusCode::kOutOfRange, HasSubstr(path_)));
}

TEST_F(BottomUpTsvTest, AnEmptyFileHasNoRows) {
  const auto reader = OpenText("");
  EXPECT_EQ(reader->Progress(), 1.0);
  EXPECT_THAT(reader->Next(), StatusIs(absl::StatusCode::kOutOfRange, HasSubstr(path_)));
}

TEST_F(BottomUpTsvTest, NamesLineAndColumnOfWhatIsWrong) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::tuple<size_t, std::string, std::string>> cases = {
      {0, "", "column image_id: empty"},
      {0, "\xff", "column image_id: empty, or no UTF-8"},
      {1, "640.5", "column image_w: \"640.5\""},
      {2, "-1", "column image_h"},
      {3, "0", "column num_boxes"},
      {3, "2147483647", "column num_boxes"},
      {3, "2", "column boxes: 4 floats instead of 2 x 4"},
      {4, "b'AAAA'", "column boxes: malformed base64"},
      {4, "AAAA", "column boxes: 3 bytes"},
      {4, Encoded({1, 2, 3, nan}), "column boxes: holds a NaN"},
      {5, "", "column features: 0 floats"},
      {5, Encoded({nan}), "column features: holds a NaN"},
      {5, "AAAA\tAAAA", "column features: columns follow"},
  };
  for (const auto& [column, value, message] : cases) {
    std::vector<std::string> columns = GoodColumns();
    columns[column] = value;
    const auto reader = OpenText(
        absl::StrCat(absl::StrJoin(GoodColumns(), "\t"), "\n", absl::StrJoin(columns, "\t"), "\n"));
    EXPECT_THAT(reader->Next(), IsOk());
    const auto error = StatusIs(absl::StatusCode::kInvalidArgument,
                                AllOf(HasSubstr(path_ + " line 2: "), HasSubstr(message)));
    EXPECT_THAT(reader->Next(), error);
    EXPECT_THAT(reader->Next(), error);  // it stays so
  }
  EXPECT_THAT(OpenText("42\t640\n")->Next(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("line 1: column image_w: no column follows")));
}

TEST_F(BottomUpTsvTest, DamageGivesAnErrorOrRowsOfTheirOwnShape) {
  const std::string line = absl::StrJoin(GoodColumns(), "\t");
  ForEachDamage(
      absl::StrCat(line, "\n", line, "\n"), 1000,
      [this](const std::string& damaged, const std::string& what) {
        const auto reader = OpenText(damaged);
        absl::StatusOr<BottomUpTsvReader::Row> row = reader->Next();
        for (; row.ok(); row = reader->Next()) {
          EXPECT_EQ(row->features.size(), static_cast<size_t>(row->num_regions * row->feature_dim))
              << what;
          EXPECT_EQ(row->image.boxes.size(), static_cast<size_t>(row->num_regions * 4));
        }
        EXPECT_TRUE(absl::IsOutOfRange(row.status()) || absl::IsInvalidArgument(row.status()))
            << what;
      });
}

}  // namespace
}  // namespace dime
