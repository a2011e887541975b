#ifndef DIME_TESTS_FAKES_FAKE_GALLERY_H_
#define DIME_TESTS_FAKES_FAKE_GALLERY_H_

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "index/gallery.h"
#include "tests/fakes/fake_model.h"

namespace dime {

// A gallery in memory, filled by FakeModel's encoders; one version, hence its own view. Recall
// compares with every item.
class FakeGallery : public Gallery, public GalleryView {
 public:
  struct Contents {
    int num_images = 0;  // image-0, image-1, ...: features by FakeRegionFeatures(row)
    std::vector<std::string> captions;  // caption-0, ...: caption k describes image k % num_images
  };
  explicit FakeGallery(const Contents& contents);

  const GalleryInfo& info() const override { return info_; }
  GalleryInfo& mutable_info() { return info_; }
  std::shared_ptr<const GalleryView> Pin() const override {
    return std::shared_ptr<const GalleryView>(std::shared_ptr<const void>(), this);
  }
  int64_t size(Modality modality) const override { return features(modality).count; }
  EncodedItemsView shape(Modality modality) const override { return ShapeOf(features(modality)); }
  absl::StatusOr<int64_t> FindRow(Modality modality, absl::string_view id) const override;
  std::vector<int64_t> ListRows(Modality modality) const override;
  absl::StatusOr<std::vector<std::string>> ListIds(Modality modality, absl::string_view after_id,
                                                   int64_t limit) const override;
  absl::Status VisitImages(absl::Span<const int64_t> rows, RecordParts parts,
                           absl::FunctionRef<void(const ImageRecord&)> visit) const override;
  absl::Status VisitCaptions(absl::Span<const int64_t> rows, RecordParts parts,
                             absl::FunctionRef<void(const CaptionRecord&)> visit) const override;
  absl::StatusOr<EncodedItems> ReadFeatures(Modality modality,
                                            absl::Span<const int64_t> rows) const override;
  std::optional<EncodedItemsView> whole_features(Modality modality) const override {
    return features(modality);
  }
  absl::StatusOr<std::vector<Candidate>> Recall(Modality modality,
                                                absl::Span<const float> coarse_query, int64_t k,
                                                const RecallOptions& options) const override;

  const ImageRecord& image(int64_t row) const { return images_[row]; }
  const CaptionRecord& caption(int64_t row) const { return captions_[row]; }
  EncodedItemsView features(Modality modality) const {
    return items_[static_cast<int>(modality)].view();
  }

  // Features to spoil for a test.
  EncodedItems& mutable_features(Modality modality) { return items_[static_cast<int>(modality)]; }
  // What the last recall was asked; an exact one has no effort.
  int last_effort() const { return last_effort_; }

 private:
  GalleryInfo info_;
  std::array<EncodedItems, 2> items_;  // by Modality
  std::vector<ImageRecord> images_;
  std::vector<CaptionRecord> captions_;
  mutable std::atomic<int> last_effort_{-1};
};

// Region features (kFakeNumRegions, kFakeFeatureDim) of the fake image `seed`.
std::vector<float> FakeRegionFeatures(int seed);

// Boxes (kFakeNumRegions, 4) of the fake image `seed`; odd ones have none in the gallery.
std::vector<float> FakeBoxes(int seed);

// Some captions of one to six words; equal ones occur.
std::vector<std::string> FakeCaptions(int count);

}  // namespace dime

#endif  // DIME_TESTS_FAKES_FAKE_GALLERY_H_
