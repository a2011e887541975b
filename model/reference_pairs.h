#ifndef DIME_MODEL_REFERENCE_PAIRS_H_
#define DIME_MODEL_REFERENCE_PAIRS_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/dime_model.h"

namespace dime {

inline constexpr char kReferencePairsName[] = "reference_pairs.json";

// Texts and images with the scores that the modules gave each pair in float32 on a CPU: by these a
// server finds out, before it serves, whether the model on its own device and processor, with its
// own libraries, still computes what it did where it was made. Kept in the model directory, beside
// what its fingerprint covers. The images are drawn from a seed rather than stored: each feature is
// uniform in [0, 1), by SplitMix64 over the seed and the feature's number.
// A value; not thread-safe.
struct ReferencePairs {
  uint64_t seed = 0;
  int num_images = 0;
  std::vector<std::string> captions;
  // By Direction: (images, captions) row-major; empty where the model lacks the direction.
  std::array<std::vector<float>, kNumDirections> scores;

  // How far a model's scores are from these.
  struct Deviation {
    double mean = 0;     // of absolute differences
    double p90 = 0;      // nine in ten are at most so large
    double largest = 0;  // single pairs may differ by much: the routers' gates are steps
  };

  // Of a model directory. NOT_FOUND if it has none; INVALID_ARGUMENT naming file and field.
  static absl::StatusOr<ReferencePairs> Load(const std::string& directory);
  // Replaces the file at once.
  absl::Status Save(const std::string& directory) const;

  // Scores pairs of `captions` and `num_images` images by `scorer`, which must be of `model`.
  static absl::StatusOr<ReferencePairs> Make(const DimeModel& model, const PairScorer& scorer,
                                             uint64_t seed, int num_images,
                                             std::vector<std::string> captions);

  // INVALID_ARGUMENT if the directions are not the model's; else the errors of encoding and
  // scoring.
  absl::StatusOr<Deviation> Compare(const DimeModel& model) const;
};

// What deviation is one of rounding, for a scorer of this name (see ModelInfo::scorer): OK, or an
// error that says by how much it is not.
absl::Status CheckDeviation(const ReferencePairs::Deviation& deviation, const std::string& scorer);

}  // namespace dime

#endif  // DIME_MODEL_REFERENCE_PAIRS_H_
