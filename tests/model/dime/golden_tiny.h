#ifndef DIME_TESTS_MODEL_DIME_GOLDEN_TINY_H_
#define DIME_TESTS_MODEL_DIME_GOLDEN_TINY_H_

namespace dime {

// A model of a few kilobytes with its data and what it computed when it was made: model/, data/,
// expected.safetensors (see tests/golden/README.md).
inline constexpr char kTiny[] = DIME_SOURCE_DIR "/tests/golden/tiny";
inline constexpr char kTinyModel[] = DIME_SOURCE_DIR "/tests/golden/tiny/model";

}  // namespace dime

#endif  // DIME_TESTS_MODEL_DIME_GOLDEN_TINY_H_
