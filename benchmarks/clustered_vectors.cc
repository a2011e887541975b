#include "benchmarks/clustered_vectors.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "absl/types/span.h"

namespace dime {
namespace {

constexpr int kRank = 48;
constexpr int64_t kItemsPerCluster = 32;  // on average
constexpr float kMean = 0.3f;             // length of the centres' common mean
constexpr float kSpread = 0.5f;           // of a cluster, along the subspace
constexpr float kNoise = 0.3f;            // of an item, in all directions
constexpr float kQuerySpread = 0.8f;
constexpr float kQueryNoise = 1.5f;

// SplitMix64: quick, and the same everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // In (0, 1).
  double Uniform() { return (static_cast<double>(Next() >> 11) + 0.5) * 0x1p-53; }
  // Normal: a sum of four 16-bit uniforms is near enough to one here, and needs no logarithm.
  float Normal() {
    const uint64_t bits = Next();
    float sum = 0;
    for (int shift = 0; shift < 64; shift += 16) {
      sum += static_cast<float>((bits >> shift) & 0xffff);
    }
    return (sum - 2 * 65535.0f) * (std::numbers::sqrt3_v<float> / 65536.0f);
  }

 private:
  uint64_t state_;
};

void Normalize(absl::Span<float> vector) {
  float square = 0;
  for (const float value : vector) square += value * value;
  const float scale = 1 / std::sqrt(square);
  for (float& value : vector) value *= scale;
}

class Generator {
 public:
  Generator(int dim, uint64_t seed) : dim_(dim), random_(seed), basis_(size_t{kRank} * dim) {
    // Rows with an expected square of c / j that sum to 1, so that a step in the subspace has the
    // expected length 1.
    double harmonic = 0;
    for (int j = 1; j <= kRank; ++j) harmonic += 1.0 / j;
    for (int j = 0; j < kRank; ++j) {
      const float scale = static_cast<float>(1 / std::sqrt(harmonic * (j + 1) * dim));
      for (int i = 0; i < dim; ++i) basis_[size_t{1} * j * dim + i] = scale * random_.Normal();
    }
    mean_.resize(dim);
    for (float& value : mean_) value = random_.Normal();
    Normalize(absl::MakeSpan(mean_));
  }

  void Centre(absl::Span<float> out) {
    for (int i = 0; i < dim_; ++i) out[i] = kMean * mean_[i];
    AddStep(1, 0, out);
    Normalize(out);
  }
  // Moves `out` along the subspace and in all directions, by about these lengths.
  void Move(float along, float all, absl::Span<float> out) {
    AddStep(along, all / std::sqrt(static_cast<float>(dim_)), out);
    Normalize(out);
  }
  Random& random() { return random_; }

 private:
  void AddStep(float along, float noise, absl::Span<float> out) {
    for (int j = 0; j < kRank; ++j) {
      const float z = along * random_.Normal();
      const float* const row = basis_.data() + size_t{1} * j * dim_;
      for (int i = 0; i < dim_; ++i) out[i] += z * row[i];
    }
    if (noise == 0) return;
    for (float& value : out) value += noise * random_.Normal();
  }

  const int dim_;
  Random random_;
  std::vector<float> basis_;  // (kRank, dim)
  std::vector<float> mean_;
};

}  // namespace

ClusteredVectors ClusteredVectors::Make(int64_t count, int dim, int num_queries, uint64_t seed) {
  Generator generator(dim, seed);
  Random& random = generator.random();
  const int64_t clusters = std::max<int64_t>(1, count / kItemsPerCluster);
  std::vector<float> centres(static_cast<size_t>(clusters * dim));
  std::vector<double> ends;  // of each cluster's share in the items, summed up
  double sum = 0;
  for (int64_t c = 0; c < clusters; ++c) {
    generator.Centre(absl::MakeSpan(centres).subspan(c * dim, dim));
    ends.push_back(sum += 1.0 / static_cast<double>(c + 1));
  }

  ClusteredVectors vectors;
  vectors.items.resize(static_cast<size_t>(count * dim));
  for (int64_t row = 0; row < count; ++row) {
    const int64_t cluster = std::min<int64_t>(
        clusters - 1,
        std::lower_bound(ends.begin(), ends.end(), random.Uniform() * sum) - ends.begin());
    const absl::Span<float> item = absl::MakeSpan(vectors.items).subspan(row * dim, dim);
    std::copy_n(centres.begin() + cluster * dim, dim, item.begin());
    generator.Move(kSpread, kNoise, item);
  }
  vectors.queries.resize(size_t{1} * num_queries * dim);
  for (int q = 0; q < num_queries; ++q) {
    const auto row = static_cast<int64_t>(random.Next() % static_cast<uint64_t>(count));
    const absl::Span<float> query =
        absl::MakeSpan(vectors.queries).subspan(size_t{1} * q * dim, dim);
    std::copy_n(vectors.items.begin() + row * dim, dim, query.begin());
    generator.Move(kQuerySpread, kQueryNoise, query);
  }
  return vectors;
}

}  // namespace dime
