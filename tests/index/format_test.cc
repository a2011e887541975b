// Galleries that earlier versions of the formats wrote stay readable. tests/golden/galleries holds
// one of each form and format version, as it was written; DIME_WRITE_GALLERIES=DIR makes those of
// the present versions there.
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "index/open_gallery.h"
#include "index/store_gallery.h"
#include "tests/index/file_fixtures.h"
#include "tests/index/gallery_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

constexpr char kGalleries[] = DIME_SOURCE_DIR "/tests/golden/galleries";

// What the galleries hold that were built once.
void WriteFileGallery(const std::string& directory) {
  ASSERT_THAT(BuildTestGallery(directory, 6, 9, {.model_fingerprint = kTestFingerprint}), IsOk());
}

// What the living ones hold: an item of each kind with everything that it can have, some in the
// saved index, some written since, one written twice, one deleted.
void WriteLivingGallery(const std::string& directory, FeatureForm form) {
  LivingManifest manifest;
  manifest.model_fingerprint = kTestFingerprint;
  manifest.form = form;
  for (const Modality modality : {Modality::kImage, Modality::kCaption}) {
    manifest.shapes[static_cast<size_t>(modality)] = MakeItems(modality, 0, 1).view();
  }
  StoreGallery::Options options;
  options.background_merges = false;
  absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  options.clock = [&now] { return now; };
  ASSERT_OK_AND_ASSIGN(const auto gallery, StoreGallery::Create(directory, manifest, options));
  const auto upsert_image = [&](int number, uint32_t seed) {
    const std::vector<ImageRecord> records = {
        {.id = absl::StrCat("image-", number),
         .width = 100 + number,
         .height = 80,
         .uri = absl::StrCat("file:///pictures/", number, ".png"),
         .boxes = {0, 0, 50, 40, 10, 10, 90, 70},
         .payload = {{"number", number}, {"tags", {"a", "b"}}, {"nested", {{"x", 1.5}}}}}};
    ASSERT_OK_AND_ASSIGN(
        const auto statuses,
        gallery->UpsertImages(records, MakeItems(Modality::kImage, 1, seed).view(), {}));
    ASSERT_THAT(statuses[0], IsOk());
    now += absl::Seconds(1);
  };
  const auto upsert_caption = [&](int number) {
    const std::vector<CaptionRecord> records = {{.id = absl::StrCat("image-", number, "#0"),
                                                 .text = absl::StrCat("caption nümber ", number),
                                                 .image_id = absl::StrCat("image-", number),
                                                 .payload = {{"lang", "en"}}}};
    ASSERT_OK_AND_ASSIGN(
        const auto statuses,
        gallery->UpsertCaptions(records, MakeItems(Modality::kCaption, 1, number).view()));
    ASSERT_THAT(statuses[0], IsOk());
  };
  for (int i = 0; i < 4; ++i) upsert_image(i, i);
  for (int i = 0; i < 3; ++i) upsert_caption(i);
  ASSERT_THAT(gallery->MergeNow(), IsOk());
  upsert_image(1, 11);
  upsert_image(4, 4);
  upsert_caption(3);
  ASSERT_THAT(gallery->Delete(Modality::kImage, {"image-2"}), IsOk());
}

// All that the gallery answers but for its name and version, which are its own.
std::string Answers(const std::string& directory) {
  const auto gallery = OpenGallery(directory, kTestFingerprint);
  EXPECT_THAT(gallery, IsOk()) << directory;
  if (!gallery.ok()) return "";
  const auto view = (*gallery)->Pin();
  std::string text = Contents(*view);
  text.erase(0, text.find('\n'));
  for (const Modality modality : {Modality::kImage, Modality::kCaption}) {
    for (const int64_t row : view->ListRows(modality)) {
      const auto add = [&](const auto& record) {
        absl::StrAppend(&text, "\n", record.id, " ", record.payload.dump(), " ", record.uri, " ",
                        absl::FormatTime(record.create_time, absl::UTCTimeZone()), " ",
                        absl::FormatTime(record.update_time, absl::UTCTimeZone()));
      };
      modality == Modality::kImage ? add(view->ReadImage(row).value())
                                   : add(view->ReadCaption(row).value());
    }
  }
  return text;
}

class FormatTest : public testing::TestWithParam<std::string> {
 protected:
  static void Write(const std::string& name, const std::string& directory) {
    if (absl::StartsWith(name, "file")) return WriteFileGallery(directory);
    WriteLivingGallery(directory, *ParseFeatureForm(name.substr(name.rfind('-') + 1)));
  }
};

TEST_P(FormatTest, AGalleryOfThisFormatAnswersAsOneWrittenNow) {
  const std::string directory = FreshDirectory();
  const std::string fresh = directory + "/fresh";
  Write(GetParam(), fresh);
  if (const char* target = std::getenv("DIME_WRITE_GALLERIES")) {
    std::filesystem::copy(fresh, absl::StrCat(target, "/", GetParam()),
                          std::filesystem::copy_options::recursive);
  }
  // A copy: opening a living gallery writes into it.
  const std::string old = directory + "/old";
  std::filesystem::copy(absl::StrCat(kGalleries, "/", GetParam()), old,
                        std::filesystem::copy_options::recursive);
  EXPECT_EQ(Answers(old), Answers(fresh));
}

INSTANTIATE_TEST_SUITE_P(Formats, FormatTest,
                         testing::Values("file-1", "living-1-float32", "living-1-bfloat16",
                                         "living-1-int8"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace dime
