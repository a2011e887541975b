#include "model/query_sample.h"

#include <algorithm>

namespace dime {

std::vector<int64_t> SampleRows(int64_t items, int64_t count) {
  count = std::min(count, items);
  std::vector<int64_t> rows(count);
  for (int64_t i = 0; i < count; ++i) rows[i] = i * items / count;
  return rows;
}

std::vector<int64_t> SampleCaptions(int64_t images, int captions_per_image, int64_t count) {
  count = std::min(count, images * captions_per_image);
  std::vector<int64_t> captions(count);
  // Those that fall on one image follow each other, so that their places differ.
  for (int64_t i = 0; i < count; ++i) {
    captions[i] = i * images / count * captions_per_image + i % captions_per_image;
  }
  std::sort(captions.begin(), captions.end());
  return captions;
}

}  // namespace dime
