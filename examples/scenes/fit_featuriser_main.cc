// scenes_fit_featuriser > examples/scenes/featuriser_constants.h
//
// Prints the featuriser's standardisation constants: mean and deviation of each kind of appearance
// number over all windows of 2,000 scenes of a fixed seed. Run it only when the world or the
// featuriser changes, and raise Featuriser::kVersion then: models are trained on these numbers.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "examples/scenes/featuriser.h"
#include "examples/scenes/scene_painter.h"
#include "examples/scenes/scene_sampler.h"

namespace dime::scenes {
namespace {

constexpr int kPairs = 1000;
constexpr uint64_t kSeed = 0x5CE7E5;

void PrintArray(const char* name, const std::vector<double>& values) {
  std::printf("inline constexpr std::array<float, %zu> %s = {\n", values.size(), name);
  for (size_t i = 0; i < values.size(); ++i) {
    std::printf("%s%.6ff,%s", i % 8 == 0 ? "    " : " ", values[i],
                i % 8 == 7 || i + 1 == values.size() ? "\n" : "");
  }
  std::printf("};\n");
}

void Run() {
  std::vector<double> sums(Featuriser::kStandardised);
  std::vector<double> squares(Featuriser::kStandardised);
  std::vector<double> counts(Featuriser::kStandardised);
  const SceneSampler sampler;
  const ScenePainter painter;
  for (uint64_t pair = 0; pair < kPairs; ++pair) {
    RandomStream random({kSeed, pair});
    const TwinScenes twins = sampler.SampleTwins(random);
    for (const Scene* scene : {&twins.first, &twins.second}) {
      const std::vector<float> raw = Featuriser::RawAppearance(painter.Paint(*scene));
      for (size_t i = 0; i < raw.size(); ++i) {
        const int constant =
            Featuriser::StandardisedBy(static_cast<int>(i) % Featuriser::kAppearance);
        sums[constant] += raw[i];
        squares[constant] += static_cast<double>(raw[i]) * raw[i];
        counts[constant] += 1;
      }
    }
  }
  std::vector<double> deviations(Featuriser::kStandardised);
  for (int i = 0; i < Featuriser::kStandardised; ++i) {
    sums[i] /= counts[i];
    // The floor keeps a number that hardly ever varies from being blown up.
    deviations[i] = std::max(1e-3, std::sqrt(squares[i] / counts[i] - sums[i] * sums[i]));
  }
  std::printf(
      "// Made by scenes_fit_featuriser; see featuriser.h.\n"
      "#ifndef DIME_EXAMPLES_SCENES_FEATURISER_CONSTANTS_H_\n"
      "#define DIME_EXAMPLES_SCENES_FEATURISER_CONSTANTS_H_\n\n"
      "#include <array>\n\n"
      "namespace dime::scenes {\n\n"
      "// In the order of Featuriser::StandardisedBy().\n"
      "// clang-format off\n");
  PrintArray("kFeaturiserMeans", sums);
  PrintArray("kFeaturiserDeviations", deviations);
  std::printf(
      "// clang-format on\n\n"
      "}  // namespace dime::scenes\n\n"
      "#endif  // DIME_EXAMPLES_SCENES_FEATURISER_CONSTANTS_H_\n");
}

}  // namespace
}  // namespace dime::scenes

int main() {
  dime::scenes::Run();
  return 0;
}
