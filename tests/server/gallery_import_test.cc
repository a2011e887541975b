#include "server/gallery_import.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "index/file_gallery.h"
#include "index/npy_file.h"
#include "index/open_gallery.h"
#include "index/store_gallery.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

class GalleryImportTest : public ::testing::Test {
 protected:
  GalleryImportTest() {
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  ~GalleryImportTest() override {
    std::filesystem::remove_all(directory_);
    std::fclose(progress_);
  }

  GalleryImporter Importer() const { return Importer({.batch = 4, .progress = progress_}); }
  GalleryImporter Importer(const GalleryImporter::Options& options) const {
    return GalleryImporter(model_.info(), &model_.caption_encoder(), &model_.image_encoder(),
                           options);
  }

  // A split "test" of `num_images` fake images with five captions each.
  absl::StatusOr<std::unique_ptr<PrecomputedDataset>> MakeDataset(int num_images, int num_regions) {
    auto writer = NpyWriter::Create(directory_ + "/test_ims.npy", {num_regions, kFakeFeatureDim});
    if (!writer.ok()) return writer.status();
    for (int i = 0; i < num_images; ++i) {
      std::vector<float> features = FakeRegionFeatures(i);
      features.resize(num_regions * kFakeFeatureDim);
      if (absl::Status status = (*writer)->Append(features); !status.ok()) return status;
    }
    if (absl::Status status = (*writer)->Finish(); !status.ok()) return status;
    std::ofstream captions(directory_ + "/test_caps.txt");
    for (const std::string& caption : FakeCaptions(5 * num_images)) captions << caption << "\n";
    captions.close();
    return PrecomputedDataset::Open(directory_, "test");
  }

  void ExpectFeatures(const EncodedItemsView& stored, const EncodedItems& expected) {
    EXPECT_EQ(stored.count, expected.count);
    EXPECT_EQ(stored.positions, expected.positions);
    EXPECT_THAT(stored.lengths, ElementsAreArray(expected.lengths));
    EXPECT_THAT(stored.coarse, ElementsAreArray(expected.coarse));
    for (int d = 0; d < kNumDirections; ++d) {
      EXPECT_THAT(stored.directions[d].local, ElementsAreArray(expected.directions[d].local));
      EXPECT_THAT(stored.directions[d].global, ElementsAreArray(expected.directions[d].global));
    }
  }

  const std::string directory_ = absl::StrCat(::testing::TempDir(), "/gallery_import_test");
  const std::string out_ = directory_ + "/gallery";
  std::FILE* const progress_ = std::tmpfile();
  const FakeModel model_;
};

TEST_F(GalleryImportTest, ADatasetBecomesAGallery) {
  const auto dataset = MakeDataset(/*num_images=*/7, kFakeNumRegions);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  const absl::Status imported = Importer().ImportDataset(**dataset, out_);
  ASSERT_TRUE(imported.ok()) << imported;

  const auto gallery = FileGallery::Open(out_, {.expected_model_fingerprint = "fake-fingerprint"});
  ASSERT_TRUE(gallery.ok()) << gallery.status();
  std::vector<float> features;
  for (int i = 0; i < 7; ++i) {
    for (float value : FakeRegionFeatures(i)) features.push_back(value);
  }
  ExpectFeatures((*gallery)->features(Modality::kImage),
                 *model_.image_encoder().EncodeImages(7, kFakeNumRegions, features));
  ExpectFeatures((*gallery)->features(Modality::kCaption),
                 *model_.caption_encoder().EncodeCaptions(FakeCaptions(35)));
  EXPECT_EQ((*gallery)->caption(34).text, FakeCaptions(35)[34]);
  EXPECT_EQ((*gallery)->caption(34).image_id, (*gallery)->image(6).id);

  EXPECT_EQ(Importer().ImportDataset(**dataset, out_).code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(GalleryImportTest, ADatasetBecomesALivingGallery) {
  const auto dataset = MakeDataset(/*num_images=*/7, kFakeNumRegions);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  const GalleryImporter importer =
      Importer({.batch = 4, .living = true, .keep_raw = true, .progress = progress_});
  const absl::Status imported = importer.ImportDataset(**dataset, out_);
  ASSERT_TRUE(imported.ok()) << imported;
  {
    const auto gallery = OpenGallery(out_, "fake-fingerprint");
    ASSERT_TRUE(gallery.ok()) << gallery.status();
    const auto* living = dynamic_cast<const StoreGallery*>(gallery->get());
    ASSERT_NE(living, nullptr);
    const auto view = living->Pin();
    std::vector<float> features;
    for (int i = 0; i < 7; ++i) {
      for (float value : FakeRegionFeatures(i)) features.push_back(value);
    }
    const std::vector<int64_t> rows = view->ListRows(Modality::kImage);
    EXPECT_EQ(*living->ReadRaw(*view, rows), features);
    ExpectFeatures(view->ReadFeatures(Modality::kImage, rows)->view(),
                   *model_.image_encoder().EncodeImages(7, kFakeNumRegions, features));
    EXPECT_EQ(view->size(Modality::kCaption), 35);
    EXPECT_EQ(view->info().name, "gallery");
  }
  EXPECT_EQ(importer.ImportDataset(**dataset, out_).code(), absl::StatusCode::kAlreadyExists);
  const std::string empty = directory_ + "/empty";
  ASSERT_TRUE(importer.MakeEmpty(empty).ok());
  EXPECT_EQ((*OpenGallery(empty, ""))->Pin()->size(Modality::kImage), 0);
  EXPECT_EQ(Importer().MakeEmpty(directory_ + "/built").code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(GalleryImportTest, ARelativeNameWillDo) {
  const auto dataset = MakeDataset(/*num_images=*/1, kFakeNumRegions);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(directory_);
  const absl::Status imported = Importer().ImportDataset(**dataset, "gallery");
  std::filesystem::current_path(before);
  ASSERT_TRUE(imported.ok()) << imported;
  EXPECT_TRUE(FileGallery::Open(out_, {}).ok());
}

TEST_F(GalleryImportTest, ADatasetOfOtherSizesIsRefused) {
  const auto dataset = MakeDataset(/*num_images=*/2, /*num_regions=*/4);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  const absl::Status imported = Importer().ImportDataset(**dataset, out_);
  EXPECT_EQ(imported.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(imported.message(), AllOf(HasSubstr("4 regions x 5"), HasSubstr("takes 3 x 5")));
  EXPECT_FALSE(std::filesystem::exists(out_));
}

class GalleryImportTsvTest : public GalleryImportTest {
 protected:
  void AddRow(int seed, int num_regions) {
    const auto base64 = [](const std::vector<float>& values) {
      return absl::Base64Escape(absl::string_view(reinterpret_cast<const char*>(values.data()),
                                                  values.size() * sizeof(float)));
    };
    std::vector<float> features = FakeRegionFeatures(seed);
    features.resize(num_regions * kFakeFeatureDim);
    std::ofstream(tsv_, std::ios::app)
        << 1000 + seed << "\t640\t480\t" << num_regions << "\t"
        << base64(std::vector<float>(num_regions * 4, 1.0f)) << "\t" << base64(features) << "\n";
  }

  const std::string tsv_ = directory_ + "/features.tsv";
};

TEST_F(GalleryImportTsvTest, ATsvBecomesAGalleryOfImages) {
  std::vector<float> features;
  for (int i = 0; i < 6; ++i) {
    AddRow(i, kFakeNumRegions);
    for (float value : FakeRegionFeatures(i)) features.push_back(value);
  }
  const absl::Status imported = Importer().ImportTsv(tsv_, out_);
  ASSERT_TRUE(imported.ok()) << imported;
  const auto gallery = FileGallery::Open(out_, {});
  ASSERT_TRUE(gallery.ok()) << gallery.status();
  EXPECT_EQ((*gallery)->size(Modality::kCaption), 0);
  ExpectFeatures((*gallery)->features(Modality::kImage),
                 *model_.image_encoder().EncodeImages(6, kFakeNumRegions, features));
  EXPECT_EQ((*gallery)->image(5).id, "1005");
  EXPECT_EQ((*gallery)->image(5).width, 640);
}

TEST_F(GalleryImportTsvTest, AnImageOfOtherSizesIsNamed) {
  AddRow(0, kFakeNumRegions);
  AddRow(1, kFakeNumRegions + 1);
  const absl::Status imported = Importer().ImportTsv(tsv_, out_);
  EXPECT_EQ(imported.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(imported.message(), AllOf(HasSubstr("image 1001"), HasSubstr("4 regions x 5")));
  EXPECT_FALSE(std::filesystem::exists(out_));
}

TEST_F(GalleryImportTsvTest, AMissingFileIsNotFound) {
  EXPECT_EQ(Importer().ImportTsv(tsv_, out_).code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace dime
