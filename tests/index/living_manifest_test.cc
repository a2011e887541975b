#include "index/living_manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_replace.h"
#include "tests/index/file_fixtures.h"
#include "tests/index/load_items.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(LivingManifestTest, ComesBackOrTellsWhatIsWrong) {
  const std::string directory = FreshDirectory();
  EXPECT_THAT(LivingManifest::Read(directory),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(kLivingManifestName)));
  LivingManifest manifest = LoadManifest();
  manifest.lineage = "0123";
  manifest.index = "SQ8";
  manifest.form = FeatureForm::kInt8;
  manifest.raw_feature_dim = 288;
  ASSERT_THAT(manifest.Write(directory), IsOk());
  ASSERT_OK_AND_ASSIGN(const LivingManifest back, LivingManifest::Read(directory));
  EXPECT_EQ(back.lineage, "0123");
  EXPECT_EQ(back.model_fingerprint, manifest.model_fingerprint);
  EXPECT_EQ(back.index, "SQ8");
  EXPECT_EQ(back.form, FeatureForm::kInt8);
  EXPECT_EQ(back.raw_feature_dim, 288);
  for (int m = 0; m < 2; ++m) EXPECT_TRUE(SameShape(back.shapes[m], manifest.shapes[m]));

  const std::string path = directory + "/" + kLivingManifestName;
  const std::string whole = ReadFile(path);
  for (const auto& [from, to, what] :
       {std::tuple("\"format_version\": 1", "\"format_version\": 2", "format version 2"),
        std::tuple("\"SQ8\"", "\"SQ4\"", "altered"), std::tuple("dime-living", "some", "format")}) {
    WriteFile(path, absl::StrReplaceAll(whole, {{from, to}}));
    EXPECT_THAT(LivingManifest::Read(directory),
                StatusIs(kInvalid, AllOf(HasSubstr(path), HasSubstr(what))));
  }
  ForEachDamage(whole, 60, [&](const std::string& damaged, const std::string& what) {
    WriteFile(path, damaged);
    const auto read = LivingManifest::Read(directory);
    // White space may be another; nothing else.
    if (read.ok()) {
      EXPECT_EQ(read->lineage + read->index, "0123SQ8") << what;
    } else {
      EXPECT_THAT(read, StatusIs(kInvalid, HasSubstr(path))) << what;
    }
  });
}

}  // namespace
}  // namespace dime
