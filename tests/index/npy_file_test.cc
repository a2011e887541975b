#include "index/npy_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/index/file_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

template <typename T>
std::string Bytes(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

// An .npy file of format version `major`.0 with this header and payload, unpadded.
std::string Npy(const std::string& header, const std::string& payload, int major = 1) {
  std::string file("\x93NUMPY", 6);
  file += static_cast<char>(major);
  file += '\0';
  for (int i = 0; i < (major == 1 ? 2 : 4); ++i) {
    file += static_cast<char>(header.size() >> (8 * i) & 0xff);
  }
  return file + header + payload;
}

std::string Header(const std::string& descr, const std::string& shape) {
  return absl::StrCat("{'descr': '", descr, "', 'fortran_order': False, 'shape': ", shape, ", }\n");
}

class NpyFileTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<NpyFile>> Open(const std::string& content) {
    WriteFile(path_, content);
    return NpyFile::Open(path_);
  }
  absl::StatusOr<std::vector<float>> ReadAll(const std::string& content) {
    auto file = Open(content);
    if (!file.ok()) return file.status();
    std::vector<float> values(static_cast<size_t>((*file)->rows() * (*file)->row_size()));
    const absl::Status status = (*file)->ReadRows(0, (*file)->rows(), absl::MakeSpan(values));
    if (!status.ok()) return status;
    return values;
  }

  const std::string directory_ = FreshDirectory();
  const std::string path_ = directory_ + "/a.npy";
};

TEST_F(NpyFileTest, ReadsRowsOfTheSharedFeatures) {
  const std::string path = SharedPath("data/butd10/ims.npy");
  if (!Exists(path)) GTEST_SKIP() << "no reference data at " << path;
  ASSERT_OK_AND_ASSIGN(const auto file, NpyFile::Open(path));
  EXPECT_THAT(file->shape(), ElementsAre(10, 36, 2048));
  EXPECT_EQ(file->rows(), 10);
  EXPECT_EQ(file->row_size(), 36 * 2048);
  const std::string content = ReadFile(path);
  std::vector<float> rows(2 * 36 * 2048);
  ASSERT_THAT(file->ReadRows(7, 2, absl::MakeSpan(rows)), IsOk());
  EXPECT_EQ(std::memcmp(rows.data(), content.data() + 128 + 7 * 36 * 2048 * 4, rows.size() * 4), 0);
}

TEST_F(NpyFileTest, ReadsAllVersionsAndSpellings) {
  const std::string payload = Bytes<float>({1, 2, 3, 4, 5, 6});
  for (const int major : {1, 2, 3}) {
    EXPECT_THAT(*ReadAll(Npy(Header("<f4", "(2, 3)"), payload, major)),
                ElementsAre(1, 2, 3, 4, 5, 6));
  }
  // As Python 2 wrote it, and with other quotes, order and spaces.
  EXPECT_THAT(ReadAll(Npy(Header("<f4", "(2L, 3L)"), payload)), IsOk());
  EXPECT_THAT(
      ReadAll(Npy("{\"shape\":(6,),\"fortran_order\":False,\"descr\":\"<f4\"}   \n", payload)),
      IsOk());
  ASSERT_OK_AND_ASSIGN(const auto scalar, Open(Npy(Header("<f4", "()"), Bytes<float>({7}))));
  EXPECT_EQ(scalar->rows(), 1);
  EXPECT_EQ(scalar->row_size(), 1);
  ASSERT_OK_AND_ASSIGN(const auto empty, Open(Npy(Header("<f4", "(0, 36, 2048)"), "")));
  EXPECT_EQ(empty->rows(), 0);
}

TEST_F(NpyFileTest, ConvertsTheOtherFloatTypes) {
  EXPECT_THAT(*ReadAll(Npy(Header("<f2", "(3,)"), Bytes<uint16_t>({0x3c00, 0xc000, 0x0001}))),
              ElementsAre(1.0f, -2.0f, 0x1p-24f));
  EXPECT_THAT(*ReadAll(Npy(Header("<f8", "(2, 1)"), Bytes<double>({0.1, -3}))),
              ElementsAre(0.1f, -3.0f));
}

TEST_F(NpyFileTest, RefusesWhatItCannotRead) {
  const std::string payload(24, '\0');
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "not a NumPy"},
      {"PK\x03\x04 a zip archive, as .npz is one", "not a NumPy"},
      {Npy(Header("<f4", "(2, 3)"), payload, 4), "version 4.0"},
      {Npy(Header(">f4", "(2, 3)"), payload), "'>f4'"},
      {Npy(Header("<i4", "(2, 3)"), payload), "'<i4'"},
      {Npy(Header("|O", "(2, 3)"), payload), "'|O'"},
      {Npy("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (6,)}", payload),
       "structured"},
      {Npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3)}", payload), "Fortran"},
      {Npy("{'descr': '<f4', 'fortran_order': False}", payload), "is missing"},
      {Npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", payload),
       "repeated key 'descr'"},
      {Npy(Header("<f4", "(2, 3)") + "x", payload), "closing brace"},
      {Npy(Header("<f4", "(2, -3)"), payload), "'shape' holds"},
      {Npy(Header("<f4", "(99999999999999999999,)"), payload), "'shape' holds"},
      {Npy(Header("<f4", "(4294967296, 4294967296)"), payload), "too large"},
      {Npy(Header("<f4", "(0, 4294967296, 4294967296)"), ""), "too large"},
      {Npy(Header("<f4", "(2, 3)"), payload + "x"), "the file has 25"},
      {Npy(Header("<f4", "(2, 4)"), payload), "truncated?"},
  };
  for (const auto& [content, message] : cases) {
    EXPECT_THAT(Open(content), StatusIs(absl::StatusCode::kInvalidArgument,
                                        AllOf(HasSubstr(path_), HasSubstr(message))));
  }
  EXPECT_THAT(NpyFile::Open(directory_ + "/absent.npy"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("absent.npy")));
}

TEST_F(NpyFileTest, RefusesRowsThatAreNotThere) {
  ASSERT_OK_AND_ASSIGN(const auto file, Open(Npy(Header("<f4", "(2, 3)"), std::string(24, '\0'))));
  std::vector<float> row(3);
  EXPECT_THAT(file->ReadRows(2, 1, absl::MakeSpan(row)),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr(path_)));
  EXPECT_THAT(file->ReadRows(-1, 1, absl::MakeSpan(row)),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr(path_)));
  EXPECT_THAT(file->ReadRows(1, INT64_MAX, absl::MakeSpan(row)),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr(path_)));
  EXPECT_THAT(file->ReadRows(0, 2, absl::MakeSpan(row)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("room for 3")));
}

TEST_F(NpyFileTest, DamageGivesAnErrorOrAnArrayOfTheSizeItSays) {
  ForEachDamage(Npy(Header("<f4", "(2, 3)"), Bytes<float>({1, 2, 3, 4, 5, 6})), 1000,
                [this](const std::string& damaged, const std::string& what) {
                  const auto values = ReadAll(damaged);
                  if (values.ok()) {
                    EXPECT_LE(values->size() * 2, damaged.size()) << what;
                  } else {
                    EXPECT_EQ(values.status().code(), absl::StatusCode::kInvalidArgument) << what;
                  }
                });
}

TEST_F(NpyFileTest, WriterWritesWhatNumPyWrites) {
  ASSERT_OK_AND_ASSIGN(auto writer, NpyWriter::Create(path_, {2}));
  EXPECT_THAT(writer->Append({1, 2}), IsOk());
  EXPECT_THAT(writer->Append({3, 4, 5, 6}), IsOk());
  EXPECT_FALSE(Exists(path_));
  ASSERT_THAT(writer->Finish(), IsOk());
  EXPECT_FALSE(Exists(path_ + ".part"));
  const std::string content = ReadFile(path_);
  const std::string text = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }";
  EXPECT_EQ(content, Npy(text + std::string(128 - 11 - text.size(), ' ') + '\n',
                         Bytes<float>({1, 2, 3, 4, 5, 6})));
  EXPECT_THAT(writer->Append({1, 2}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr(path_)));
}

TEST_F(NpyFileTest, WriterTakesRowsWithoutShape) {
  ASSERT_OK_AND_ASSIGN(auto writer, NpyWriter::Create(path_, {}));
  EXPECT_THAT(writer->Append({1, 2, 3}), IsOk());
  ASSERT_THAT(writer->Finish(), IsOk());
  EXPECT_THAT((*NpyFile::Open(path_))->shape(), ElementsAre(3));
}

TEST_F(NpyFileTest, WriterRefusesPartialRowsAndLeavesNothingBehind) {
  {
    ASSERT_OK_AND_ASSIGN(auto writer, NpyWriter::Create(path_, {2, 3}));
    EXPECT_THAT(writer->Append({1, 2, 3, 4}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("rows of 6")));
  }
  EXPECT_FALSE(Exists(path_));
  EXPECT_FALSE(Exists(path_ + ".part"));
  EXPECT_THAT(NpyWriter::Create(path_, {2, 0}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("(2, 0)")));
  EXPECT_THAT(NpyWriter::Create(directory_ + "/absent/a.npy", {2}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("absent/a.npy.part")));
}

}  // namespace
}  // namespace dime
