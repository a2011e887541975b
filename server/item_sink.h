#ifndef DIME_SERVER_ITEM_SINK_H_
#define DIME_SERVER_ITEM_SINK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/gallery_builder.h"
#include "index/item_records.h"
#include "index/store_gallery.h"

namespace dime {

// What an import fills: a gallery of one form or the other. Not thread-safe.
class ItemSink {
 public:
  virtual ~ItemSink() = default;
  // `raw`: (n, R, D), what the images were encoded from.
  virtual absl::Status AddImages(absl::Span<const ImageRecord> records,
                                 const EncodedItemsView& features, absl::Span<const float> raw) = 0;
  virtual absl::Status AddCaptions(absl::Span<const CaptionRecord> records,
                                   const EncodedItemsView& features) = 0;
  // Makes the gallery appear under its name. `on_indexed` is called whenever so many further items
  // were indexed.
  virtual absl::Status Finish(const std::function<void(int64_t)>& on_indexed) = 0;
};

// A gallery that is only read, by GalleryBuilder.
class BuilderSink : public ItemSink {
 public:
  explicit BuilderSink(std::unique_ptr<GalleryBuilder> builder) : builder_(std::move(builder)) {}
  absl::Status AddImages(absl::Span<const ImageRecord> records, const EncodedItemsView& features,
                         absl::Span<const float> raw) override {
    return builder_->AddImages(records, features);
  }
  absl::Status AddCaptions(absl::Span<const CaptionRecord> records,
                           const EncodedItemsView& features) override {
    return builder_->AddCaptions(records, features);
  }
  absl::Status Finish(const std::function<void(int64_t)>& on_indexed) override {
    return builder_->Finish(on_indexed);
  }

 private:
  const std::unique_ptr<GalleryBuilder> builder_;
};

// A living gallery, written beside its place as NAME.part and renamed when it is whole.
class LivingSink : public ItemSink {
 public:
  // ALREADY_EXISTS if `directory` is there; what a broken import left as NAME.part is removed.
  static absl::StatusOr<std::unique_ptr<LivingSink>> Create(const std::string& directory,
                                                            const LivingManifest& manifest);
  ~LivingSink() override;  // removes the .part directory if Finish() was not reached

  absl::Status AddImages(absl::Span<const ImageRecord> records, const EncodedItemsView& features,
                         absl::Span<const float> raw) override;
  absl::Status AddCaptions(absl::Span<const CaptionRecord> records,
                           const EncodedItemsView& features) override;
  absl::Status Finish(const std::function<void(int64_t)>& on_indexed) override;

 private:
  LivingSink(std::string directory, std::unique_ptr<StoreGallery> gallery);

  const std::string directory_;
  std::unique_ptr<StoreGallery> gallery_;  // null once it is finished
  int64_t added_ = 0;
};

}  // namespace dime

#endif  // DIME_SERVER_ITEM_SINK_H_
