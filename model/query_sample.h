#ifndef DIME_MODEL_QUERY_SAMPLE_H_
#define DIME_MODEL_QUERY_SAMPLE_H_

#include <cstdint>
#include <vector>

namespace dime {

// Which of a split's items stand for all as queries where scoring all would take too long: spread
// evenly, the same each time. Functions without state, hence thread-safe.

// `count` of `items` rows, ascending; all of them if there are no more.
std::vector<int64_t> SampleRows(int64_t items, int64_t count);

// `count` of the captions of `images` images, ascending; all of them if there are no more. They are
// spread evenly over the images, and take the first caption of one, the second of the next and so
// on: a data set whose captions come in kinds by their place is not judged by one kind.
std::vector<int64_t> SampleCaptions(int64_t images, int captions_per_image, int64_t count);

}  // namespace dime

#endif  // DIME_MODEL_QUERY_SAMPLE_H_
