#include "index/safetensors_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/index/file_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

std::string File(const std::string& header, const std::string& payload) {
  std::string prefix;
  for (int i = 0; i < 8; ++i)
    prefix += static_cast<char>(uint64_t{header.size()} >> (8 * i) & 0xff);
  return prefix + header + payload;
}

std::string Tensor(const std::string& name, const std::string& type, const std::string& shape,
                   const std::string& offsets) {
  return absl::StrCat("\"", name, "\":{\"dtype\":\"", type, "\",\"shape\":", shape,
                      ",\"data_offsets\":", offsets, "}");
}

class SafetensorsFileTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& content) {
    WriteFile(path_, content);
    return SafetensorsFile::Open(path_);
  }
  const std::string directory_ = FreshDirectory();
  const std::string path_ = directory_ + "/a.safetensors";
};

TEST_F(SafetensorsFileTest, ReadsAHandwrittenFile) {
  // 1.0 and -2.0 as bfloat16, then an empty tensor, then three bytes.
  ASSERT_OK_AND_ASSIGN(
      const auto file,
      Open(File("{\"__metadata__\":{\"format\":\"pt\"}," + Tensor("w", "BF16", "[2,1]", "[0,4]") +
                    "," + Tensor("none", "F32", "[0,7]", "[4,4]") + "," +
                    Tensor("b", "U8", "[3]", "[4,7]") + "}   ",
                std::string("\x80\x3f\x00\xc0\x01\x02\x03", 7))));
  EXPECT_THAT(file->metadata(), ElementsAre(Pair("format", "pt")));
  EXPECT_EQ(file->tensors().size(), 3u);
  ASSERT_OK_AND_ASSIGN(const TensorView weights, file->Get("w"));
  EXPECT_EQ(weights.type, TensorType::kBFloat16);
  EXPECT_THAT(weights.shape, ElementsAre(2, 1));
  EXPECT_EQ(weights.elements(), 2);
  EXPECT_THAT(*weights.ToFloats(), ElementsAre(1.0f, -2.0f));
  EXPECT_THAT(*file->Find("none")->ToFloats(), IsEmpty());
  EXPECT_THAT(file->Find("b")->ToFloats(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("U8")));
  EXPECT_EQ(file->Find("absent"), nullptr);
  EXPECT_THAT(file->Get("absent"), StatusIs(absl::StatusCode::kNotFound,
                                            AllOf(HasSubstr(path_), HasSubstr("\"absent\""))));
  EXPECT_THAT(Open(File("{}", "")), IsOk());
}

TEST_F(SafetensorsFileTest, GivesFloatsInPlaceOnlyIfTheyFit) {
  ASSERT_OK_AND_ASSIGN(auto writer,
                       SafetensorsWriter::Create(path_, {{"x", TensorType::kFloat32, {2, 2}},
                                                         {"n", TensorType::kInt32, {1}}}));
  ASSERT_THAT(writer->AppendFloats("x", {1, 2, 3, 4}), IsOk());
  ASSERT_THAT(writer->Append("n", std::vector<std::byte>(4)), IsOk());
  ASSERT_THAT(writer->Finish(), IsOk());
  ASSERT_OK_AND_ASSIGN(const auto file, SafetensorsFile::Open(path_));
  EXPECT_THAT(*file->Floats("x", {2, 2}), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(file->Floats("x", {4}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("needed is F32 (4)")));
  EXPECT_THAT(file->Floats("n", {1}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is I32 (1)")));
  EXPECT_THAT(file->Floats("absent", {1}), StatusIs(absl::StatusCode::kNotFound, HasSubstr(path_)));
  // Readable, but not in place: this header puts the payload at an odd address.
  ASSERT_OK_AND_ASSIGN(
      const auto odd,
      Open(File("{" + Tensor("x", "F32", "[1]", "[0,4]") + "}" +
                    std::string(Tensor("x", "F32", "[1]", "[0,4]").size() % 2 == 0 ? 1 : 2, ' '),
                std::string(4, '\0'))));
  EXPECT_THAT(odd->Floats("x", {1}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("aligned")));
  EXPECT_THAT(*odd->Find("x")->ToFloats(), ElementsAre(0));
}

TEST_F(SafetensorsFileTest, RefusesMalformedFiles) {
  const auto one = [](const std::string& type, const std::string& shape, const std::string& offsets,
                      size_t bytes) {
    return File(absl::StrCat("{", Tensor("t", type, shape, offsets), "}"),
                std::string(bytes, '\0'));
  };
  const std::string deep =
      "{\"t\":" + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "too short"},
      {std::string(8, '\xff'), "header of 18446744073709551615"},
      {File("{}", "").substr(0, 9), "truncated"},
      {File("", ""), "does not begin with {"},
      {File(" {}", ""), "does not begin with {"},
      {File("{", ""), "no JSON"},
      {File("{} x", ""), "no JSON"},
      {File("{\"\xff\":1}", ""), "no JSON"},
      {File("{\"t\":1}", ""), "\"t\": found a number instead"},
      {File("{\"t\":{}}", ""), "missing"},
      {File("{" + Tensor("t", "U8", "[]", "[0,1]") + "," + Tensor("t", "U8", "[]", "[0,1]") + "}",
            "x"),
       "there twice"},
      {File("{\"t\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
            "x"),
       "repeated field \"dtype\""},
      {File("{\"t\":{\"dtype\":\"U8\",\"extra\":[1]}}", "x"), "unknown field \"extra\""},
      {File("{\"__metadata__\":{\"a\":1}}", ""), "__metadata__: found a number"},
      {File("{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", ""), "\"a\" twice"},
      {File(deep, ""), "found an array"},
      {one("F8_E4M3", "[1]", "[0,1]", 1), "\"t\": type \"F8_E4M3\""},
      {one("F32", "[1,1.5]", "[0,4]", 4), "found a fraction in \"shape\""},
      {one("F32", "[-1]", "[0,4]", 4), "negative number in \"shape\""},
      {one("F32", "[[1]]", "[0,4]", 4), "found an array in \"shape\""},
      {one("F32", "[18446744073709551615]", "[0,4]", 4), "shape is too large"},
      {one("F32", "[4611686018427387904,4]", "[0,4]", 4), "too large"},
      {one("F32", "[4294967296,4294967296,0]", "[0,0]", 0), "too large"},
      {one("F32", "[1]", "[0,4,8]", 4), "more than 2"},
      {one("F32", "[1]", "[0]", 4), "too few"},
      {one("F32", "[1]", "[4,0]", 4), "not within"},
      {one("F32", "[2]", "[0,8]", 4), "truncated?"},
      {one("F32", "[2]", "[0,4]", 4), "takes 8 bytes, but it has 4"},
      {one("F32", "[1]", "[4,8]", 8), "gap between bytes 0 and 4"},
      {one("F32", "[1]", "[0,4]", 5), "1 bytes behind the last tensor"},
      {File("{" + Tensor("a", "F32", "[2]", "[0,8]") + "," + Tensor("b", "F32", "[2]", "[4,12]") +
                "}",
            std::string(12, '\0')),
       "overlap"},
  };
  for (const auto& [content, message] : cases) {
    EXPECT_THAT(Open(content), StatusIs(absl::StatusCode::kInvalidArgument,
                                        AllOf(HasSubstr(path_), HasSubstr(message))));
  }
}

TEST_F(SafetensorsFileTest, DamageGivesAnErrorOrTensorsWithinTheFile) {
  ASSERT_OK_AND_ASSIGN(auto writer, SafetensorsWriter::Create(path_,
                                                              {{"a", TensorType::kFloat32, {3, 2}},
                                                               {"b", TensorType::kFloat16, {2}}},
                                                              {{"k", "v"}}));
  ASSERT_THAT(writer->AppendFloats("a", {1, 2, 3, 4, 5, 6}), IsOk());
  ASSERT_THAT(writer->Append("b", std::vector<std::byte>(4)), IsOk());
  ASSERT_THAT(writer->Finish(), IsOk());
  ForEachDamage(ReadFile(path_), 1000, [this](const std::string& damaged, const std::string& what) {
    const auto file = Open(damaged);
    if (!file.ok()) {
      EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument) << what;
      return;
    }
    for (const auto& [name, tensor] : (*file)->tensors()) {
      const auto floats = tensor.ToFloats();
      if (floats.ok()) {
        EXPECT_LE(floats->size() * 2, damaged.size()) << what << name;
      }
    }
  });
}

TEST_F(SafetensorsFileTest, WriterFillsTensorsInAnyOrderAndInPieces) {
  ASSERT_OK_AND_ASSIGN(auto writer,
                       SafetensorsWriter::Create(path_,
                                                 {{"wide", TensorType::kFloat64, {1}},
                                                  {"x", TensorType::kFloat32, {2, 2}},
                                                  {"none", TensorType::kFloat32, {0, 3}},
                                                  {"flag", TensorType::kBool, {1}}},
                                                 {{"made by", "a test"}}));
  EXPECT_THAT(writer->AppendFloats("x", {1, 2, 3}), IsOk());
  EXPECT_THAT(writer->Append("flag", std::vector<std::byte>(1, std::byte{1})), IsOk());
  EXPECT_THAT(writer->Append("wide", std::vector<std::byte>(8)), IsOk());
  EXPECT_THAT(writer->AppendFloats("wide", {1, 2}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("declared F64")));
  EXPECT_THAT(writer->Append("absent", {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not declared")));
  EXPECT_THAT(writer->AppendFloats("x", {4, 5}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("has 16 bytes; got 20")));
  EXPECT_THAT(writer->Finish(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("not filled whole: x")));
  EXPECT_THAT(writer->AppendFloats("x", {4}), IsOk());
  EXPECT_FALSE(Exists(path_));
  ASSERT_THAT(writer->Finish(), IsOk());
  EXPECT_FALSE(Exists(path_ + ".part"));

  ASSERT_OK_AND_ASSIGN(const auto file, SafetensorsFile::Open(path_));
  EXPECT_THAT(*file->Floats("x", {2, 2}), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(*file->Find("wide")->ToFloats(), ElementsAre(0));
  EXPECT_THAT(file->metadata(), ElementsAre(Pair("made by", "a test")));
  // The payload is 64-byte aligned.
  EXPECT_EQ(ReadFile(path_).size() % 64, (8 + 16 + 1) % 64);
}

TEST_F(SafetensorsFileTest, WriterRefusesBadDeclarationsAndLeavesNothingBehind) {
  const auto create = [this](std::vector<SafetensorsWriter::Declaration> declarations) {
    return SafetensorsWriter::Create(path_, std::move(declarations)).status();
  };
  EXPECT_THAT(create({{"x", TensorType::kFloat32, {1}}, {"x", TensorType::kFloat32, {1}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("declared twice")));
  EXPECT_THAT(create({{"x", TensorType::kUint8, {1}}, {"y", TensorType::kFloat32, {1}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"y\" would be misaligned")));
  EXPECT_THAT(create({{"x", TensorType::kFloat32, {int64_t{1} << 62}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("too large")));
  EXPECT_THAT(create({{"\xff", TensorType::kFloat32, {1}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("name")));
  EXPECT_THAT(create({{"x", TensorType::kFloat32, {1}}}), IsOk());
  EXPECT_FALSE(Exists(path_));
  EXPECT_FALSE(Exists(path_ + ".part"));
}

}  // namespace
}  // namespace dime
