#ifndef DIME_TESTS_INDEX_GALLERY_FIXTURES_H_
#define DIME_TESTS_INDEX_GALLERY_FIXTURES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "index/features.h"
#include "index/gallery.h"
#include "index/gallery_builder.h"
#include "index/precomputed_dataset.h"

namespace dime {

inline constexpr char kTestFingerprint[] = "0123456789abcdef0123456789abcdef";

// `count` items with made-up features of both directions, the same for the same seed: 2 regions or
// 3 words, E 4 (i2t) and 5 (t2i), coarse dimension 8.
EncodedItems MakeItems(Modality modality, int64_t count, uint32_t seed);

// Images "image-0", "image-1", ... with boxes, and captions "image-0#0", ...
std::vector<ImageRecord> MakeImages(int64_t count);
std::vector<CaptionRecord> MakeCaptions(int64_t count);

// A gallery of so many images and captions, added in batches of 4.
absl::Status BuildTestGallery(const std::string& directory, int64_t images, int64_t captions,
                              const GalleryBuilder::Options& options);

// All that a gallery answers, as text, to compare galleries by.
std::string Contents(const GalleryView& gallery);

}  // namespace dime

#endif  // DIME_TESTS_INDEX_GALLERY_FIXTURES_H_
