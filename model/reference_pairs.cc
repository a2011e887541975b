#include "model/reference_pairs.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "index/durable_file.h"
#include "index/status_macros.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

using nlohmann::ordered_json;

constexpr int kFormat = 1;
constexpr size_t kMaxFileBytes = 16 << 20;
constexpr int kMaxItems = 1000;

// The number-th value of the generator SplitMix64 that starts at `seed` (Steele, Lea, Flood 2014).
uint64_t SplitMix64(uint64_t seed, uint64_t number) {
  uint64_t z = seed + (number + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// (images, R, D) row-major.
std::vector<float> DrawFeatures(uint64_t seed, int64_t count) {
  std::vector<float> values(count);
  for (int64_t k = 0; k < count; ++k) {
    values[k] = static_cast<float>(SplitMix64(seed, k) >> 40) * 0x1p-24f;
  }
  return values;
}

absl::StatusOr<ReferencePairs> Parse(const ordered_json& json) {
  ReferencePairs pairs;
  if (json.at("format").get<int>() != kFormat) {
    return absl::InvalidArgumentError(
        absl::StrCat("format is ", json.at("format").get<int>(), ", not ", kFormat));
  }
  pairs.seed = json.at("seed").get<uint64_t>();
  pairs.num_images = json.at("num_images").get<int>();
  pairs.captions = json.at("captions").get<std::vector<std::string>>();
  if (pairs.num_images < 1 || pairs.num_images > kMaxItems || pairs.captions.empty() ||
      pairs.captions.size() > kMaxItems) {
    return absl::InvalidArgumentError(
        absl::StrCat("num_images and the number of captions must be 1 to ", kMaxItems));
  }
  const size_t size = pairs.num_images * pairs.captions.size();
  for (Direction direction : kDirections) {
    const std::string name(DirectionName(direction));
    if (!json.at("scores").contains(name)) continue;
    std::vector<float>& scores = pairs.scores[static_cast<int>(direction)];
    scores = json.at("scores").at(name).get<std::vector<float>>();
    if (scores.size() != size) {
      return absl::InvalidArgumentError(
          absl::StrCat("scores.", name, " has ", scores.size(), " numbers, not ", size));
    }
  }
  if (pairs.scores[0].empty() && pairs.scores[1].empty()) {
    return absl::InvalidArgumentError("scores has none of i2t and t2i");
  }
  return pairs;
}

}  // namespace

absl::StatusOr<ReferencePairs> ReferencePairs::Load(const std::string& directory) {
  const std::filesystem::path path = std::filesystem::path(directory) / kReferencePairsName;
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) return absl::NotFoundError(absl::StrCat(path.string(), " is not there"));
  if (size > kMaxFileBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path.string(), " has ", size, " bytes, more than ", kMaxFileBytes));
  }
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  absl::StatusOr<ReferencePairs> pairs;
  try {
    pairs = Parse(ordered_json::parse(text));
  } catch (const ordered_json::exception& exception) {
    pairs = absl::InvalidArgumentError(exception.what());
  }
  if (pairs.ok()) return pairs;
  return absl::InvalidArgumentError(
      absl::StrCat(path.string(), ": ", pairs.status().message(),
                   "; make it anew by dime_reference --write, or delete it"));
}

absl::Status ReferencePairs::Save(const std::string& directory) const {
  ordered_json json = {
      {"format", kFormat}, {"seed", seed}, {"num_images", num_images}, {"captions", captions}};
  json["scores"] = ordered_json::object();
  for (Direction direction : kDirections) {
    const std::vector<float>& of_direction = scores[static_cast<int>(direction)];
    if (!of_direction.empty()) json["scores"][std::string(DirectionName(direction))] = of_direction;
  }
  return WriteFileDurably((std::filesystem::path(directory) / kReferencePairsName).string(),
                          json.dump(1) + "\n");
}

absl::StatusOr<ReferencePairs> ReferencePairs::Make(const DimeModel& model,
                                                    const PairScorer& scorer, uint64_t seed,
                                                    int num_images,
                                                    std::vector<std::string> captions) {
  const ModelInfo& info = model.info();
  const int64_t per_image = int64_t{1} * info.num_regions * info.feature_dim;
  ASSIGN_OR_RETURN(const EncodedItems images,
                   model.image_encoder().EncodeImages(num_images, info.num_regions,
                                                      DrawFeatures(seed, num_images * per_image)));
  ASSIGN_OR_RETURN(const EncodedItems texts, model.caption_encoder().EncodeCaptions(captions));
  const EncodedItemsView of_images = images.view();
  ASSIGN_OR_RETURN(const std::unique_ptr<FeatureBank> bank, scorer.MakeBank(texts.view()));
  std::vector<int64_t> rows(captions.size());
  std::iota(rows.begin(), rows.end(), 0);
  ReferencePairs pairs = {.seed = seed, .num_images = num_images, .captions = std::move(captions)};
  const ScoreMode mode = info.Serves(ScoreMode::kEnsemble) ? ScoreMode::kEnsemble
                         : info.Has(Direction::kI2t)       ? ScoreMode::kI2t
                                                           : ScoreMode::kT2i;
  for (int64_t image = 0; image < num_images; ++image) {
    const ScoringRequest request = {
        .query = of_images.Slice(image, 1), .bank = bank.get(), .rows = rows, .mode = mode};
    ASSIGN_OR_RETURN(const std::vector<PairScores> scored,
                     scorer.Score(absl::MakeConstSpan(&request, 1)));
    for (int d = 0; d < kNumDirections; ++d) {
      pairs.scores[d].insert(pairs.scores[d].end(), scored[0].scores[d].begin(),
                             scored[0].scores[d].end());
    }
  }
  return pairs;
}

absl::StatusOr<ReferencePairs::Deviation> ReferencePairs::Compare(const DimeModel& model) const {
  ASSIGN_OR_RETURN(const ReferencePairs own,
                   Make(model, model.pair_scorer(), seed, num_images, captions));
  std::vector<double> differences;
  for (Direction direction : kDirections) {
    const std::vector<float>& expected = scores[static_cast<int>(direction)];
    const std::vector<float>& found = own.scores[static_cast<int>(direction)];
    if (expected.size() != found.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(kReferencePairsName, " has ", expected.size(), " scores of direction ",
                       DirectionName(direction), " where the model gives ", found.size(),
                       ": it is another model's; make it anew by dime_reference --write"));
    }
    for (size_t k = 0; k < expected.size(); ++k) {
      const double difference = std::abs(double{expected[k]} - double{found[k]});
      // Not a number is as far away as can be.
      differences.push_back(std::isfinite(difference) ? difference
                                                      : std::numeric_limits<double>::infinity());
    }
  }
  std::sort(differences.begin(), differences.end());
  const size_t count = differences.size();
  return Deviation{.mean = std::accumulate(differences.begin(), differences.end(), 0.0) /
                           static_cast<double>(count),
                   .p90 = differences[std::min(count - 1, count * 9 / 10)],
                   .largest = differences.back()};
}

absl::Status CheckDeviation(const ReferencePairs::Deviation& deviation, const std::string& scorer) {
  // Of float32 in another order, and of kernels that round (benchmarks/README.md has their precision).
  const double tolerance = scorer == "modules" ? 1e-3 : 2e-2;
  if (deviation.mean <= tolerance && deviation.p90 <= 2 * tolerance) return absl::OkStatus();
  return absl::InternalError(absl::StrFormat(
      "the model does not compute here what it did where it was made: scores of the reference "
      "pairs "
      "(%s) differ by %.4g on average and %.4g at nine in ten, where %s allows %.4g and %.4g. The "
      "weights, the device or a library is at fault; --scorer modules tells whether the kernels "
      "are",
      kReferencePairsName, deviation.mean, deviation.p90, scorer, tolerance, 2 * tolerance));
}

}  // namespace dime
