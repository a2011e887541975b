#ifndef DIME_EXAMPLES_SCENES_FEATURISER_H_
#define DIME_EXAMPLES_SCENES_FEATURISER_H_

#include <array>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "examples/scenes/picture.h"

namespace dime::scenes {

// Turns a picture of 120 x 120 pixels into region features, from the pixels alone: 36 overlapping
// windows of 40 px on a 6 x 6 grid (stride 16, row by row), each described by 288 numbers:
//
//     [0, 48)     mean red, green, blue of the 4 x 4 sub-cells of 10 px
//     [48, 176)   histogram of gradient orientation of each sub-cell, 8 bins of 22.5 degrees
//     [176, 184)  colour histogram of the window: 7 hues and dark
//     [184, 192)  orientation histogram of the window
//     [192, 256)  their joint histogram (colour, orientation): which colour has which edges
//     [256, 288)  where the window is: its column and row one-hot, ramps, and sinusoids of both
//
// Histograms are means over pixels, square-rooted. Appearance is standardised by constants fixed at
// compile time (featuriser_constants.h, made by scenes_fit_featuriser) and clipped to +-6. Position
// entries are standardised over the 36 windows and multiplied by kPositionGain, because relations
// between objects hang on them and appearance has eight times as many numbers.
// The numbers of one kVersion never change. Immutable, hence thread-safe.
class Featuriser {
 public:
  static constexpr int kVersion = 1;
  static constexpr int kPicturePixels = 120;  // width and height
  static constexpr int kWindowPixels = 40;
  static constexpr int kStridePixels = 16;
  static constexpr int kWindowsPerSide = 6;
  static constexpr int kRegions = kWindowsPerSide * kWindowsPerSide;
  static constexpr int kAppearance = 256;
  static constexpr int kPosition = 32;
  static constexpr int kDimension = kAppearance + kPosition;
  static constexpr double kPositionGain = 2;
  // Appearance numbers of one kind share their constants, whatever sub-cell they are of:
  // 3 colour means, 8 orientations, 8 colours, 8 orientations, 64 joint.
  static constexpr int kStandardised = 91;

  Featuriser();

  // (36, 288), row-major. INVALID_ARGUMENT for a picture of another size.
  absl::StatusOr<std::vector<float>> Featurise(const Picture& picture) const;

  // (36, 4): left, top, right, bottom of each window in pixels.
  static std::vector<float> Boxes();

  // Appearance before standardisation, (36, 256), for fitting the constants. The picture must be
  // of the right size.
  static std::vector<float> RawAppearance(const Picture& picture);
  // Which of the kStandardised constants the appearance number uses.
  static int StandardisedBy(int appearance_index);

 private:
  const std::vector<float> position_;  // (36, 32), row-major
};

}  // namespace dime::scenes

#endif  // DIME_EXAMPLES_SCENES_FEATURISER_H_
