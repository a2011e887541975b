#include "index/open_gallery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "index/mutable_gallery.h"
#include "index/store_gallery.h"
#include "tests/index/file_fixtures.h"
#include "tests/index/gallery_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::HasSubstr;

TEST(OpenGalleryTest, OpensWhateverIsThere) {
  const std::string directory = FreshDirectory();
  const std::string built = directory + "/built", living = directory + "/living";
  ASSERT_THAT(BuildTestGallery(built, 3, 6, {}), IsOk());
  ASSERT_OK_AND_ASSIGN(const auto file, OpenGallery(built, kTestFingerprint));
  EXPECT_EQ(file->Pin()->size(Modality::kImage), 3);
  EXPECT_EQ(dynamic_cast<MutableGallery*>(file.get()), nullptr);

  LivingManifest manifest;
  manifest.model_fingerprint = kTestFingerprint;
  for (const Modality modality : {Modality::kImage, Modality::kCaption}) {
    manifest.shapes[static_cast<size_t>(modality)] = MakeItems(modality, 0, 1).view();
  }
  ASSERT_THAT(StoreGallery::Create(living, manifest, {}), IsOk());  // and closes it
  ASSERT_OK_AND_ASSIGN(const auto store, OpenGallery(living, kTestFingerprint));
  EXPECT_EQ(store->Pin()->size(Modality::kImage), 0);
  EXPECT_NE(dynamic_cast<MutableGallery*>(store.get()), nullptr);
}

TEST(OpenGalleryTest, ErrorsAreThoseOfTheFormThatIsThere) {
  const std::string directory = FreshDirectory();
  ASSERT_THAT(BuildTestGallery(directory + "/built", 1, 1, {}), IsOk());
  EXPECT_THAT(OpenGallery(directory + "/built", "another"),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("another")));
  const std::string nothing = directory + "/nothing";
  EXPECT_THAT(OpenGallery(nothing, kTestFingerprint),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(nothing)));
}

}  // namespace
}  // namespace dime
