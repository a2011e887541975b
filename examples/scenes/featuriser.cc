#include "examples/scenes/featuriser.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "examples/scenes/featuriser_constants.h"

namespace dime::scenes {
namespace {

constexpr int kOrientations = 8;
constexpr int kHues = 7;
constexpr int kColourBins = kHues + 1;  // and dark
constexpr int kSubCells = 4;            // per side of a window
constexpr int kSubCellPixels = Featuriser::kWindowPixels / kSubCells;
// Sub-cells of all windows begin at multiples of 2 px, windows at multiples of 8 px: sums over
// blocks of those sizes are shared by the windows that overlap.
constexpr int kFineBlock = 2;
constexpr int kFineBlocks = Featuriser::kPicturePixels / kFineBlock;
constexpr int kFineChannels = 3 + kOrientations;
constexpr int kCoarseBlock = 8;
constexpr int kCoarseBlocks = Featuriser::kPicturePixels / kCoarseBlock;
constexpr int kCoarseChannels = kColourBins + kOrientations + kColourBins * kOrientations;

constexpr int kOrientationOffset = 3 * kSubCells * kSubCells;
constexpr int kWindowOffset = kOrientationOffset + kOrientations * kSubCells * kSubCells;
static_assert(kWindowOffset + kCoarseChannels == Featuriser::kAppearance);
static_assert(3 + kOrientations + kCoarseChannels == Featuriser::kStandardised);

constexpr float kNoiseFloor = 0.03f;  // of a gradient whose full scale is 1
constexpr float kClip = 6;            // standard deviations

// Hue angles in degrees of red, orange, yellow, green, blue, purple, pink, and red again.
constexpr std::array<float, kHues + 1> kHueAngles = {0, 29, 51, 137, 220, 280, 330, 360};

// Spreads a pixel over the colour bins: the two nearest hues by how colourful it is, and dark by
// how dark the rest of it is. What is light and grey goes nowhere.
std::array<float, kColourBins> ColourWeights(float red, float green, float blue) {
  std::array<float, kColourBins> weights = {};
  const float high = std::max({red, green, blue});
  const float chroma = high - std::min({red, green, blue});
  const float colourful = std::clamp((chroma - 0.12f) / 0.3f, 0.0f, 1.0f);
  weights[kHues] = (1 - colourful) * std::clamp((0.55f - high) / 0.3f, 0.0f, 1.0f);
  if (colourful == 0) return weights;
  float hue = 0;  // degrees
  if (high == red) {
    hue = 60 * (green - blue) / chroma;
  } else if (high == green) {
    hue = 60 * (blue - red) / chroma + 120;
  } else {
    hue = 60 * (red - green) / chroma + 240;
  }
  if (hue < 0) hue += 360;
  int bin = 0;
  while (bin + 1 < kHues && hue >= kHueAngles[bin + 1]) ++bin;
  const float next = (hue - kHueAngles[bin]) / (kHueAngles[bin + 1] - kHueAngles[bin]);
  weights[bin] += colourful * (1 - next);
  weights[(bin + 1) % kHues] += colourful * next;
  return weights;
}

struct Gradient {
  float magnitude = 0;  // at most about 0.7, after the noise floor
  int bin = 0;          // orientation below
  float next = 0;       // the share of the bin above
};

// Central differences of the colour channel in which they are largest. The direction's sign is
// dropped: an edge is the same from either side.
Gradient GradientAt(const Picture& picture, int x, int y) {
  const int last = Featuriser::kPicturePixels - 1;
  const uint8_t* left = picture.At(std::max(x - 1, 0), y);
  const uint8_t* right = picture.At(std::min(x + 1, last), y);
  const uint8_t* above = picture.At(x, std::max(y - 1, 0));
  const uint8_t* below = picture.At(x, std::min(y + 1, last));
  int best = -1;
  int best_dx = 0;
  int best_dy = 0;
  for (int c = 0; c < 3; ++c) {
    const int dx = right[c] - left[c];
    const int dy = below[c] - above[c];
    if (dx * dx + dy * dy > best) {
      best = dx * dx + dy * dy;
      best_dx = dx;
      best_dy = dy;
    }
  }
  Gradient gradient;
  gradient.magnitude =
      std::max(0.0f, std::sqrt(static_cast<float>(best)) / (2 * 255) - kNoiseFloor);
  if (gradient.magnitude == 0) return gradient;
  float angle = std::atan2(static_cast<float>(best_dy), static_cast<float>(best_dx));
  if (angle < 0) angle += std::numbers::pi_v<float>;
  const float place = angle / std::numbers::pi_v<float> * kOrientations;
  const int floor = static_cast<int>(place);
  gradient.bin = floor % kOrientations;
  gradient.next = place - static_cast<float>(floor);
  return gradient;
}

std::vector<float> PositionCode() {
  constexpr int kSide = Featuriser::kWindowsPerSide;
  constexpr int kWidth = Featuriser::kPosition;
  std::vector<float> code(static_cast<size_t>(Featuriser::kRegions) * kWidth);
  for (int row = 0; row < kSide; ++row) {
    for (int column = 0; column < kSide; ++column) {
      float* out = &code[static_cast<size_t>(row * kSide + column) * kWidth];
      out[column] = 1;
      out[kSide + row] = 1;
      out += 2 * kSide;
      const double x = 2.0 * column / (kSide - 1) - 1;  // -1 at the left, 1 at the right
      const double y = 2.0 * row / (kSide - 1) - 1;     // -1 at the top, 1 at the bottom
      *out++ = static_cast<float>(x);
      *out++ = static_cast<float>(y);
      *out++ = static_cast<float>(x + y);
      *out++ = static_cast<float>(x - y);
      for (double along : {x, y}) {
        for (double frequency : {0.5, 1.0, 1.5, 2.0}) {
          // The quarter-turn keeps the sine of whole frequencies from vanishing at both ends.
          const double phase = std::numbers::pi * (frequency * along + 0.25);
          *out++ = static_cast<float>(std::sin(phase));
          *out++ = static_cast<float>(std::cos(phase));
        }
      }
    }
  }
  for (int i = 0; i < kWidth; ++i) {
    double sum = 0;
    double squares = 0;
    for (int w = 0; w < Featuriser::kRegions; ++w) {
      const double value = code[static_cast<size_t>(w) * kWidth + i];
      sum += value;
      squares += value * value;
    }
    const double mean = sum / Featuriser::kRegions;
    const double deviation = std::sqrt(squares / Featuriser::kRegions - mean * mean);
    for (int w = 0; w < Featuriser::kRegions; ++w) {
      float& value = code[static_cast<size_t>(w) * kWidth + i];
      value = static_cast<float>(Featuriser::kPositionGain * (value - mean) / deviation);
    }
  }
  return code;
}

}  // namespace

Featuriser::Featuriser() : position_(PositionCode()) {}

std::vector<float> Featuriser::Boxes() {
  std::vector<float> boxes;
  boxes.reserve(size_t{kRegions} * 4);
  for (int row = 0; row < kWindowsPerSide; ++row) {
    for (int column = 0; column < kWindowsPerSide; ++column) {
      const int left = column * kStridePixels;
      const int top = row * kStridePixels;
      for (int edge : {left, top, left + kWindowPixels, top + kWindowPixels}) {
        boxes.push_back(static_cast<float>(edge));
      }
    }
  }
  return boxes;
}

int Featuriser::StandardisedBy(int appearance_index) {
  if (appearance_index < kOrientationOffset) return appearance_index % 3;
  if (appearance_index < kWindowOffset) {
    return 3 + (appearance_index - kOrientationOffset) % kOrientations;
  }
  return 3 + kOrientations + appearance_index - kWindowOffset;
}

std::vector<float> Featuriser::RawAppearance(const Picture& picture) {
  // (fine block row, column, channel) and (coarse block row, column, channel), sums over pixels.
  std::vector<float> fine(size_t{kFineBlocks} * kFineBlocks * kFineChannels);
  std::vector<float> coarse(size_t{kCoarseBlocks} * kCoarseBlocks * kCoarseChannels);
  for (int y = 0; y < kPicturePixels; ++y) {
    for (int x = 0; x < kPicturePixels; ++x) {
      float* fine_sums =
          &fine[(static_cast<size_t>(y / kFineBlock) * kFineBlocks + x / kFineBlock) *
                kFineChannels];
      float* coarse_sums =
          &coarse[(static_cast<size_t>(y / kCoarseBlock) * kCoarseBlocks + x / kCoarseBlock) *
                  kCoarseChannels];
      const uint8_t* pixel = picture.At(x, y);
      const float red = pixel[0] / 255.0f;
      const float green = pixel[1] / 255.0f;
      const float blue = pixel[2] / 255.0f;
      fine_sums[0] += red;
      fine_sums[1] += green;
      fine_sums[2] += blue;
      const std::array<float, kColourBins> colours = ColourWeights(red, green, blue);
      for (int c = 0; c < kColourBins; ++c) coarse_sums[c] += colours[c];
      const Gradient gradient = GradientAt(picture, x, y);
      if (gradient.magnitude == 0) continue;
      const int bins[2] = {gradient.bin, (gradient.bin + 1) % kOrientations};
      const float shares[2] = {gradient.magnitude * (1 - gradient.next),
                               gradient.magnitude * gradient.next};
      for (int side = 0; side < 2; ++side) {
        fine_sums[3 + bins[side]] += shares[side];
        coarse_sums[kColourBins + bins[side]] += shares[side];
        float* joint = coarse_sums + kColourBins + kOrientations + bins[side];
        for (int c = 0; c < kColourBins; ++c) {
          joint[c * kOrientations] += shares[side] * colours[c];
        }
      }
    }
  }

  std::vector<float> appearance(size_t{kRegions} * kAppearance);
  for (int window = 0; window < kRegions; ++window) {
    const int left = window % kWindowsPerSide * kStridePixels;
    const int top = window / kWindowsPerSide * kStridePixels;
    float* out = &appearance[static_cast<size_t>(window) * kAppearance];
    for (int cell = 0; cell < kSubCells * kSubCells; ++cell) {
      const int first_x = (left + cell % kSubCells * kSubCellPixels) / kFineBlock;
      const int first_y = (top + cell / kSubCells * kSubCellPixels) / kFineBlock;
      std::array<float, kFineChannels> sums = {};
      for (int y = first_y; y < first_y + kSubCellPixels / kFineBlock; ++y) {
        for (int x = first_x; x < first_x + kSubCellPixels / kFineBlock; ++x) {
          const float* block = &fine[(static_cast<size_t>(y) * kFineBlocks + x) * kFineChannels];
          for (int c = 0; c < kFineChannels; ++c) sums[c] += block[c];
        }
      }
      constexpr float kArea = kSubCellPixels * kSubCellPixels;
      for (int c = 0; c < 3; ++c) out[cell * 3 + c] = sums[c] / kArea;
      for (int o = 0; o < kOrientations; ++o) {
        out[kOrientationOffset + cell * kOrientations + o] = std::sqrt(sums[3 + o] / kArea);
      }
    }
    std::array<float, kCoarseChannels> sums = {};
    for (int y = top / kCoarseBlock; y < (top + kWindowPixels) / kCoarseBlock; ++y) {
      for (int x = left / kCoarseBlock; x < (left + kWindowPixels) / kCoarseBlock; ++x) {
        const float* block =
            &coarse[(static_cast<size_t>(y) * kCoarseBlocks + x) * kCoarseChannels];
        for (int c = 0; c < kCoarseChannels; ++c) sums[c] += block[c];
      }
    }
    constexpr float kArea = kWindowPixels * kWindowPixels;
    for (int c = 0; c < kCoarseChannels; ++c) out[kWindowOffset + c] = std::sqrt(sums[c] / kArea);
  }
  return appearance;
}

absl::StatusOr<std::vector<float>> Featuriser::Featurise(const Picture& picture) const {
  if (picture.width != kPicturePixels || picture.height != kPicturePixels) {
    return absl::InvalidArgumentError(absl::StrCat("a picture of ", picture.width, " x ",
                                                   picture.height, " pixels; it must be ",
                                                   kPicturePixels, " x ", kPicturePixels));
  }
  const std::vector<float> raw = RawAppearance(picture);
  std::vector<float> features(size_t{kRegions} * kDimension);
  for (int window = 0; window < kRegions; ++window) {
    const float* in = &raw[static_cast<size_t>(window) * kAppearance];
    float* out = &features[static_cast<size_t>(window) * kDimension];
    for (int i = 0; i < kAppearance; ++i) {
      const int constant = StandardisedBy(i);
      out[i] = std::clamp((in[i] - kFeaturiserMeans[constant]) / kFeaturiserDeviations[constant],
                          -kClip, kClip);
    }
    std::copy_n(&position_[static_cast<size_t>(window) * kPosition], kPosition, out + kAppearance);
  }
  return features;
}

}  // namespace dime::scenes
