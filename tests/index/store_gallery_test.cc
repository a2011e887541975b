#include "index/store_gallery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <numeric>
#include <thread>

#include "absl/strings/str_cat.h"
#include "index/item_filter.h"
#include "tests/index/fake_searcher.h"
#include "tests/index/file_fixtures.h"
#include "tests/index/gallery_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr auto kImage = Modality::kImage;
constexpr auto kCaption = Modality::kCaption;

LivingManifest TestManifest() {
  LivingManifest manifest;
  manifest.model_fingerprint = kTestFingerprint;
  for (const Modality modality : {kImage, kCaption}) {
    manifest.shapes[static_cast<size_t>(modality)] = MakeItems(modality, 0, 1).view();
  }
  return manifest;
}

class StoreGalleryTest : public testing::Test {
 protected:
  StoreGalleryTest() {
    options_.background_merges = false;
    options_.max_tail = 8;
    options_.clock = [this] { return now_; };
  }
  void SetUp() override { Create(TestManifest()); }

  void Create(const LivingManifest& manifest) {
    gallery_ = nullptr;
    std::filesystem::remove_all(directory_);
    auto created = StoreGallery::Create(directory_, manifest, options_);
    ASSERT_THAT(created, IsOk());
    gallery_ = *std::move(created);
  }
  void Reopen() {
    gallery_ = nullptr;
    auto opened = StoreGallery::Open(directory_, options_);
    ASSERT_THAT(opened, IsOk());
    gallery_ = *std::move(opened);
  }
  // Images with these numbers, with features of `seed`.
  void Upsert(int first, int count, uint32_t seed) {
    std::vector<ImageRecord> records;
    for (int i = first; i < first + count; ++i) {
      records.push_back({.id = absl::StrCat("image-", i),
                         .width = i,
                         .payload = {{"number", i}, {"even", i % 2 == 0}}});
    }
    const EncodedItems items = MakeItems(kImage, count, seed);
    ASSERT_OK_AND_ASSIGN(const auto statuses, gallery_->UpsertImages(records, items.view(), {}));
    for (const absl::Status& status : statuses) EXPECT_THAT(status, IsOk());
    for (int i = 0; i < count; ++i) {
      const auto coarse = items.view().Slice(i, 1).coarse;
      coarse_[absl::StrCat("image-", first + i)] = {coarse.begin(), coarse.end()};
    }
  }
  void Delete(int number) {
    ASSERT_OK_AND_ASSIGN(const auto statuses,
                         gallery_->Delete(kImage, {absl::StrCat("image-", number)}));
    ASSERT_THAT(statuses[0], IsOk());
    coarse_.erase(absl::StrCat("image-", number));
  }
  // Ids of all items, best first, by a scan of what was written.
  std::vector<std::string> Expected(absl::Span<const float> query) const {
    std::vector<std::pair<float, std::string>> scored;
    for (const auto& [id, vector] : coarse_) {
      scored.emplace_back(-std::inner_product(vector.begin(), vector.end(), query.begin(), 0.0f),
                          id);
    }
    std::sort(scored.begin(), scored.end());
    std::vector<std::string> ids;
    for (const auto& [score, id] : scored) ids.push_back(id);
    return ids;
  }
  static std::vector<std::string> Found(const GalleryView& view, absl::Span<const float> query,
                                        int64_t k, const RecallOptions& options = {}) {
    const auto candidates = view.Recall(kImage, query, k, options);
    EXPECT_THAT(candidates, IsOk());
    std::vector<std::string> ids;
    float last = 2;
    for (const Candidate& candidate : *candidates) {
      EXPECT_LE(candidate.score, last);
      last = candidate.score;
      ids.push_back(view.ReadImage(candidate.row)->id);
    }
    return ids;
  }
  // What is searched is what was written, by every way.
  void ExpectAgreement() const {
    const auto view = gallery_->Pin();
    ASSERT_EQ(view->size(kImage), static_cast<int64_t>(coarse_.size()));
    std::vector<std::string> ids;
    for (const auto& [id, vector] : coarse_) ids.push_back(id);
    EXPECT_THAT(*view->ListIds(kImage, "", 1'000'000), ElementsAreArray(ids));
    const std::vector<float> query = UnitVectors(1, 8, 4711);
    const std::vector<std::string> expected = Expected(query);
    for (const bool exact : {false, true}) {
      EXPECT_THAT(Found(*view, query, 1'000'000, {.exact = exact}), ElementsAreArray(expected));
      EXPECT_THAT(Found(*view, query, 5, {.exact = exact}),
                  ElementsAreArray(absl::MakeConstSpan(expected).subspan(0, 5)));
    }
    EXPECT_THAT(view->ListRows(kImage), SizeIs(coarse_.size()));
    for (const int64_t row : view->ListRows(kImage)) {
      ASSERT_OK_AND_ASSIGN(const ImageRecord record, view->ReadImage(row));
      ASSERT_OK_AND_ASSIGN(const EncodedItems features,
                           view->ReadFeatures(kImage, absl::MakeConstSpan(&row, 1)));
      EXPECT_EQ(features.coarse, coarse_.at(record.id));
      EXPECT_EQ(*view->FindRow(kImage, record.id), row);
    }
  }

  const std::string directory_ = FreshDirectory() + "/living";
  StoreGallery::Options options_;
  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  std::unique_ptr<StoreGallery> gallery_;
  std::map<std::string, std::vector<float>> coarse_;  // by id: what should be there
};

TEST_F(StoreGalleryTest, BasesAreSearchedElsewhereWhereThatIsAskedFor) {
  FakeSearcherFactory searchers;
  options_.searchers = &searchers;
  Create(TestManifest());
  Upsert(0, 30, 1);
  ExpectAgreement();
  EXPECT_EQ(searchers.made, 0) << "the tail is compared with one by one";
  ASSERT_THAT(gallery_->MergeNow(), IsOk());
  Delete(7);
  Upsert(3, 4, 2);
  Upsert(40, 5, 3);
  ExpectAgreement();
  EXPECT_EQ(gallery_->Pin()->info().image_index, "exact on fake:3");
  EXPECT_EQ(searchers.made, 1);
  EXPECT_GT(searchers.searches, 0);
  Reopen();
  EXPECT_EQ(searchers.made, 2);
  searchers.searches = 0;
  ExpectAgreement();
  EXPECT_GT(searchers.searches, 0);
  gallery_ = nullptr;
}

TEST_F(StoreGalleryTest, WhatDoesNotFitElsewhereIsSearchedByItsIndex) {
  FakeSearcherFactory searchers;
  searchers.room = 10;
  options_.searchers = &searchers;
  Create(TestManifest());
  Upsert(0, 30, 1);
  testing::internal::CaptureStderr();
  ASSERT_THAT(gallery_->MergeNow(), IsOk());
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("30 vectors do not fit fake:3 (no room); they are searched on the CPU"));
  ExpectAgreement();
  EXPECT_EQ(searchers.searches, 0);
  EXPECT_EQ(gallery_->Pin()->info().image_index, "Flat");
  gallery_ = nullptr;
}

TEST_F(StoreGalleryTest, GivesBackWhatWasWritten) {
  const std::vector<ImageRecord> images = MakeImages(6);
  const std::vector<CaptionRecord> captions = MakeCaptions(7);
  const EncodedItems image_items = MakeItems(kImage, 6, 100);
  const EncodedItems caption_items = MakeItems(kCaption, 7, 200);
  ASSERT_THAT(gallery_->UpsertImages(images, image_items.view(), {}), IsOk());
  ASSERT_THAT(gallery_->UpsertCaptions(captions, caption_items.view()), IsOk());
  for (const bool reopened : {false, true}) {
    if (reopened) Reopen();
    const auto view = gallery_->Pin();
    EXPECT_EQ(view->info().name, "living");
    EXPECT_EQ(view->info().model_fingerprint, kTestFingerprint);
    EXPECT_EQ(view->info().num_regions, 2);
    const std::vector<int64_t> rows = view->ListRows(kImage);
    ASSERT_OK_AND_ASSIGN(const EncodedItems features, view->ReadFeatures(kImage, rows));
    EXPECT_EQ(features.coarse, image_items.coarse);
    EXPECT_EQ(features.lengths, image_items.lengths);
    for (int d = 0; d < kNumDirections; ++d) {
      EXPECT_EQ(features.directions[d].local, image_items.directions[d].local);
      EXPECT_EQ(features.directions[d].global, image_items.directions[d].global);
    }
    ASSERT_OK_AND_ASSIGN(const auto records, view->ReadImages(rows));
    for (size_t i = 0; i < records.size(); ++i) {
      EXPECT_EQ(records[i].id, images[i].id);
      EXPECT_EQ(records[i].width, images[i].width);
      EXPECT_EQ(records[i].uri, images[i].uri);
      EXPECT_EQ(records[i].boxes, images[i].boxes);
      EXPECT_EQ(records[i].create_time, now_);
    }
    ASSERT_OK_AND_ASSIGN(const int64_t row, view->FindRow(kCaption, "image-1#1"));
    ASSERT_OK_AND_ASSIGN(const CaptionRecord caption, view->ReadCaption(row));
    EXPECT_EQ(caption.text, captions[3].text);
    EXPECT_THAT(*view->ListIds(kCaption, "image-1#0", 2), ElementsAre("image-1#1", "image-2#0"));
    EXPECT_THAT(view->FindRow(kImage, "image-1#1"),
                StatusIs(absl::StatusCode::kNotFound, HasSubstr("\"image-1#1\"")));
  }
}

TEST_F(StoreGalleryTest, WritesReplacesAndRemovesThroughMergesAndOpenings) {
  Upsert(0, 30, 1);
  ExpectAgreement();
  Upsert(10, 5, 2);  // replaced
  Delete(3);
  Delete(12);
  ExpectAgreement();
  ASSERT_THAT(gallery_->MergeNow(), IsOk());
  ExpectAgreement();
  Upsert(12, 3, 3);
  Upsert(40, 4, 4);
  Delete(41);
  Delete(20);
  ExpectAgreement();
  Reopen();  // the base, caught up
  ExpectAgreement();
  EXPECT_EQ(gallery_->Stats()->sides[0].indexed, 28);
  ASSERT_THAT(gallery_->MergeNow(), IsOk());
  Reopen();
  ExpectAgreement();
  EXPECT_EQ(gallery_->Stats()->sides[0].tail, 0);
  EXPECT_EQ(gallery_->Stats()->sides[0].tombstones, 0);
}

TEST_F(StoreGalleryTest, AViewStaysAsItWas) {
  Upsert(0, 20, 1);
  const auto before = gallery_->Pin();
  const std::vector<float> query = UnitVectors(1, 8, 5);
  const std::vector<std::string> found = Found(*before, query, 100);
  const std::string version = before->info().version;
  ASSERT_OK_AND_ASSIGN(const int64_t row, before->FindRow(kImage, "image-7"));
  Upsert(5, 10, 2);
  Delete(7);
  Upsert(100, 10, 3);
  ASSERT_THAT(gallery_->MergeNow(), IsOk());
  Upsert(0, 3, 4);
  EXPECT_EQ(Found(*before, query, 100), found);
  EXPECT_EQ(Found(*before, query, 100, {.exact = true}), found);
  EXPECT_EQ(before->size(kImage), 20);
  EXPECT_EQ(*before->FindRow(kImage, "image-7"), row);
  EXPECT_EQ(before->ReadImage(row)->width, 7);
  EXPECT_THAT(before->ReadFeatures(kImage, {row}), IsOk());
  EXPECT_NE(gallery_->Pin()->info().version, version);
  EXPECT_EQ(gallery_->Pin()->info().lineage, before->info().lineage);
  ExpectAgreement();
}

TEST_F(StoreGalleryTest, KeepsTheTimeOfTheFirstWrite) {
  Upsert(0, 2, 1);
  const absl::Time created = now_;
  now_ += absl::Hours(1);
  Upsert(1, 2, 2);
  const auto view = gallery_->Pin();
  const auto record = [&](const char* id) {
    return view->ReadImage(view->FindRow(kImage, id).value()).value();
  };
  EXPECT_EQ(record("image-1").create_time, created);
  EXPECT_EQ(record("image-1").update_time, now_);
  EXPECT_EQ(record("image-2").create_time, now_);
  EXPECT_EQ(record("image-0").update_time, created);
}

TEST_F(StoreGalleryTest, OneFaultDoesNotKeepTheOthersOut) {
  std::vector<ImageRecord> records = MakeImages(4);
  records[0].id = "";
  records[1].payload = {{"x", "\xff"}};
  records[3].boxes.pop_back();
  EncodedItems items = MakeItems(kImage, 4, 9);
  ASSERT_OK_AND_ASSIGN(auto statuses, gallery_->UpsertImages(records, items.view(), {}));
  EXPECT_THAT(statuses[0], StatusIs(kInvalid, HasSubstr("id is empty")));
  EXPECT_THAT(statuses[1], StatusIs(kInvalid, HasSubstr("field x")));
  EXPECT_THAT(statuses[2], IsOk());
  EXPECT_THAT(statuses[3], StatusIs(kInvalid, HasSubstr("boxes")));
  EXPECT_EQ(gallery_->Pin()->size(kImage), 1);
  items.directions[0].local[5] = std::numeric_limits<float>::quiet_NaN();
  ASSERT_OK_AND_ASSIGN(statuses, gallery_->UpsertImages(MakeImages(4), items.view(), {}));
  EXPECT_THAT(statuses[0], StatusIs(kInvalid, HasSubstr("NaN")));
  EXPECT_THAT(statuses[1], IsOk());
  ASSERT_OK_AND_ASSIGN(statuses, gallery_->Delete(kImage, {"image-1", "none", "image-1"}));
  EXPECT_THAT(statuses[0], IsOk());
  EXPECT_THAT(statuses[1], StatusIs(absl::StatusCode::kNotFound, HasSubstr("none")));
  EXPECT_THAT(statuses[2], StatusIs(absl::StatusCode::kNotFound, HasSubstr("image-1")));
  items.coarse_dim = 7;
  EXPECT_THAT(gallery_->UpsertImages(MakeImages(4), items.view(), {}),
              StatusIs(kInvalid, HasSubstr("sizes")));
}

TEST_F(StoreGalleryTest, OfAnIdThatComesTwiceTheLaterItemStays) {
  std::vector<ImageRecord> records(3, {.id = "twice"});
  for (int i = 0; i < 3; ++i) records[i].width = i;
  ASSERT_THAT(gallery_->UpsertImages(records, MakeItems(kImage, 3, 1).view(), {}), IsOk());
  for (const bool reopened : {false, true}) {
    if (reopened) Reopen();
    const auto view = gallery_->Pin();
    EXPECT_EQ(view->size(kImage), 1);
    ASSERT_THAT(view->ListRows(kImage), SizeIs(1));
    EXPECT_EQ(view->ReadImage(view->ListRows(kImage)[0])->width, 2);
  }
}

TEST_F(StoreGalleryTest, AFilterIsEvaluatedBeforeRecallWhateverTheIndex) {
  for (const char* factory : {"Flat", "SQ8", "IVF8,Flat", "HNSW16"}) {
    LivingManifest manifest = TestManifest();
    manifest.index = factory;
    options_.max_scanned_matches = 20;
    coarse_.clear();
    Create(manifest);
    Upsert(0, 200, 1);
    ASSERT_THAT(gallery_->MergeNow(), IsOk());
    EXPECT_EQ(gallery_->Pin()->info().image_index, factory);
    Upsert(150, 20, 2);
    Upsert(200, 5, 3);
    for (int i = 0; i < 150; i += 7) Delete(i);
    const auto view = gallery_->Pin();
    const std::vector<float> query = UnitVectors(1, 8, 6);
    for (const char* text : {"even = true", "number < 12", "number >= 195", "number > 1000", ""}) {
      const ItemFilter filter = ItemFilter::Parse(text).value();
      std::vector<std::string> expected;
      for (const std::string& id : Expected(query)) {
        const auto record = view->ReadImage(view->FindRow(kImage, id).value()).value();
        const FilterSubject subject{.modality = kImage, .id = id, .payload = &record.payload};
        if (filter.Matches(subject)) expected.push_back(id);
      }
      EXPECT_THAT(Found(*view, query, 1000, {.exact = true, .filter = &filter}),
                  ElementsAreArray(expected))
          << factory << " " << text;
      const std::vector<std::string> some =
          Found(*view, query, 10, {.effort = 1, .filter = &filter});
      // As many as there are, all of them matching; the best of all where the index sees all.
      EXPECT_EQ(some.size(), std::min<size_t>(10, expected.size())) << factory << " " << text;
      for (const std::string& id : some) {
        EXPECT_TRUE(std::find(expected.begin(), expected.end(), id) != expected.end());
      }
      if (factory == std::string("Flat")) {
        EXPECT_THAT(some, ElementsAreArray(absl::MakeConstSpan(expected).subspan(
                              0, std::min<size_t>(10, expected.size()))));
      }
    }
  }
}

TEST_F(StoreGalleryTest, AFilterSeesWhatEachVersionHolds) {
  Upsert(0, 10, 1);
  const ItemFilter filter = ItemFilter::Parse("number = 4").value();
  const std::vector<float> query = UnitVectors(1, 8, 6);
  const auto before = gallery_->Pin();
  Delete(4);
  EXPECT_THAT(Found(*gallery_->Pin(), query, 10, {.filter = &filter}), IsEmpty());
  EXPECT_THAT(Found(*before, query, 10, {.filter = &filter}), ElementsAre("image-4"));
  Upsert(4, 1, 2);
  EXPECT_THAT(Found(*gallery_->Pin(), query, 10, {.filter = &filter}), ElementsAre("image-4"));
}

TEST_F(StoreGalleryTest, ASecondOpenerIsRefused) {
  EXPECT_THAT(StoreGallery::Open(directory_, options_),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr(directory_), HasSubstr("open in another process"))));
}

TEST_F(StoreGalleryTest, AnotherModelsGalleryIsRefused) {
  gallery_ = nullptr;
  options_.expected_model_fingerprint = "fedcba9876543210";
  EXPECT_THAT(StoreGallery::Open(directory_, options_),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("dime_rebuild")));
}

TEST_F(StoreGalleryTest, WhatIsThereIsNotOverwritten) {
  EXPECT_THAT(StoreGallery::Create(directory_, TestManifest(), options_),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr(directory_)));
  EXPECT_THAT(StoreGallery::Open(directory_ + "/absent", options_),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no living gallery")));
}

TEST_F(StoreGalleryTest, ASnapshotIsAGalleryOfItsOwn) {
  Upsert(0, 30, 1);
  ASSERT_THAT(gallery_->MergeNow(), IsOk());
  Upsert(25, 10, 2);
  const std::string snapshot = directory_ + "-snapshot";
  ASSERT_THAT(gallery_->CreateSnapshot(snapshot), IsOk());
  EXPECT_THAT(gallery_->CreateSnapshot(snapshot),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr(snapshot)));
  const auto written = coarse_;
  Upsert(0, 5, 3);
  Delete(20);
  const std::string elsewhere = directory_ + "-elsewhere";
  std::filesystem::rename(snapshot, elsewhere);
  ASSERT_OK_AND_ASSIGN(auto restored, StoreGallery::Open(elsewhere, options_));
  ExpectAgreement();
  coarse_ = written;
  gallery_ = std::move(restored);
  ExpectAgreement();
  Upsert(50, 3, 4);  // and is written to
  ExpectAgreement();
}

TEST_F(StoreGalleryTest, KeepsRawFeaturesWhereAsked) {
  const std::vector<float> raw = UnitVectors(3 * 2, 5, 8);  // (3, R = 2, D = 5)
  EXPECT_THAT(gallery_->ReadRaw(*gallery_->Pin(), {}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("keeps no raw")));
  LivingManifest manifest = TestManifest();
  manifest.raw_feature_dim = 5;
  Create(manifest);
  const EncodedItems items = MakeItems(kImage, 3, 1);
  EXPECT_THAT(gallery_->UpsertImages(MakeImages(3), items.view(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("keeps raw")));
  ASSERT_THAT(gallery_->UpsertImages(MakeImages(3), items.view(), raw), IsOk());
  Reopen();
  const auto view = gallery_->Pin();
  EXPECT_EQ(*gallery_->ReadRaw(*view, view->ListRows(kImage)), raw);
  EXPECT_TRUE(gallery_->Stats()->keeps_raw_features);
}

TEST_F(StoreGalleryTest, ReducedFormsRoundLocalFeatures) {
  for (const auto& [form, error] :
       {std::pair(FeatureForm::kBfloat16, 0.004f), std::pair(FeatureForm::kInt8, 0.004f)}) {
    LivingManifest manifest = TestManifest();
    manifest.form = form;
    coarse_.clear();
    Create(manifest);
    Upsert(0, 5, 1);
    Reopen();
    const EncodedItems expected = MakeItems(kImage, 5, 1);
    const auto view = gallery_->Pin();
    ASSERT_OK_AND_ASSIGN(const EncodedItems found,
                         view->ReadFeatures(kImage, view->ListRows(kImage)));
    EXPECT_EQ(found.coarse, expected.coarse);
    for (int d = 0; d < kNumDirections; ++d) {
      EXPECT_EQ(found.directions[d].global, expected.directions[d].global);
      ASSERT_EQ(found.directions[d].local.size(), expected.directions[d].local.size());
      for (size_t i = 0; i < found.directions[d].local.size(); ++i) {
        EXPECT_NEAR(found.directions[d].local[i], expected.directions[d].local[i], error);
      }
    }
  }
}

// Searches, writes and merges at once: each search sees a whole version.
TEST_F(StoreGalleryTest, SearchesGoOnDuringWritesAndMerges) {
  gallery_ = nullptr;
  options_.background_merges = true;
  Reopen();
  Upsert(0, 40, 1);
  std::atomic<bool> stop{false};
  std::vector<std::thread> searchers;
  for (int t = 0; t < 2; ++t) {
    searchers.emplace_back([&, t] {
      const std::vector<float> query = UnitVectors(1, 8, 100 + static_cast<uint32_t>(t));
      const ItemFilter filter = ItemFilter::Parse("even = true").value();
      while (!stop) {
        const auto view = gallery_->Pin();
        const auto candidates = view->Recall(kImage, query, 1000, {});
        ASSERT_THAT(candidates, IsOk());
        ASSERT_EQ(static_cast<int64_t>(candidates->size()), view->size(kImage));
        ASSERT_THAT(view->ReadFeatures(kImage, {candidates->front().row}), IsOk());
        ASSERT_THAT(view->Recall(kImage, query, 10, {.filter = &filter}), IsOk());
      }
    });
  }
  for (int round = 0; round < 30; ++round) {
    Upsert(round * 3, 10, 200 + static_cast<uint32_t>(round));
    Delete(round);
  }
  stop = true;
  for (std::thread& searcher : searchers) searcher.join();
  ExpectAgreement();
  Reopen();
  ExpectAgreement();
}

}  // namespace
}  // namespace dime
