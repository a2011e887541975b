// Measures what the forms in which a living gallery keeps local features cost and lose. See --help.
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "index/coarse_segment.h"
#include "index/item_codec.h"
#include "index/precomputed_dataset.h"
#include "index/progress_bar.h"
#include "index/status_macros.h"
#include "model/dime_model.h"
#include "model/query_sample.h"
#include "model/query_scores.h"
#include "server/program_error.h"

namespace dime {
namespace {

constexpr char kProgram[] = "feature_form_benchmark";
constexpr int64_t kEncodeBatch = 64;
constexpr int kRanks[] = {1, 5, 10};

struct Flags {
  std::string model;
  std::string data;
  std::string split = "test";
  std::string device = "auto";
  int64_t queries = 200;
  int64_t depth = 100;
};

void Append(const EncodedItemsView& from, EncodedItems& to) {
  const auto append = [](const auto& values, auto& out) {
    out.insert(out.end(), values.begin(), values.end());
  };
  append(from.lengths, to.lengths);
  append(from.coarse, to.coarse);
  for (int d = 0; d < kNumDirections; ++d) {
    append(from.directions[d].local, to.directions[d].local);
    append(from.directions[d].global, to.directions[d].global);
  }
  to.count += from.count;
}

absl::StatusOr<EncodedItems> EncodeImages(const DimeModel& model, const PrecomputedDataset& data) {
  const int64_t size = int64_t{data.num_regions()} * data.feature_dim();
  ProgressBar bar("encoding images", data.num_images());
  EncodedItems all;
  for (int64_t first = 0; first < data.num_images(); first += kEncodeBatch) {
    const int64_t count = std::min(kEncodeBatch, data.num_images() - first);
    std::vector<float> features(static_cast<size_t>(count * size));
    RETURN_IF_ERROR(data.ReadFeatures(first, count, absl::MakeSpan(features)));
    ASSIGN_OR_RETURN(EncodedItems encoded,
                     model.image_encoder().EncodeImages(count, data.num_regions(), features));
    if (first == 0) {
      all = std::move(encoded);
    } else {
      Append(encoded.view(), all);
    }
    bar.Advance(count);
  }
  bar.Finish();
  return all;
}

absl::StatusOr<EncodedItems> EncodeCaptions(const DimeModel& model,
                                            const PrecomputedDataset& data) {
  ProgressBar bar("encoding captions", data.num_captions());
  EncodedItems all;
  for (int64_t first = 0; first < data.num_captions(); first += kEncodeBatch) {
    const int64_t count = std::min(kEncodeBatch, data.num_captions() - first);
    ASSIGN_OR_RETURN(EncodedItems encoded,
                     model.caption_encoder().EncodeCaptions(
                         absl::MakeConstSpan(data.captions())
                             .subspan(static_cast<size_t>(first), static_cast<size_t>(count))));
    if (first == 0) {
      all = std::move(encoded);
    } else {
      Append(encoded.view(), all);
    }
    bar.Advance(count);
  }
  bar.Finish();
  return all;
}

// The items as a gallery gives them back that keeps this form.
absl::StatusOr<EncodedItems> ThroughForm(const EncodedItems& items, FeatureForm form) {
  EncodedItems back = CopyItems(ShapeOf(items.view()), {});
  for (int64_t i = 0; i < items.count; ++i) {
    RETURN_IF_ERROR(DecodeFeatures(EncodeFeatures(items.view().Slice(i, 1), form), form, back));
  }
  back.coarse = items.coarse;
  return back;
}

// The share of the queries with an item of theirs among the best 1, 5, 10 of two stages.
absl::StatusOr<std::vector<double>> Recall(const DimeModel& model, const Flags& flags,
                                           const EncodedItems& queries, const EncodedItems& items,
                                           const std::vector<int64_t>& sample,
                                           int captions_per_image) {
  const ScoreMode mode = model.info().DefaultMode();
  const float weight = model.info().ranking.FusionWeight(items.modality, mode);
  ASSIGN_OR_RETURN(const std::unique_ptr<FeatureBank> bank,
                   model.pair_scorer().MakeBank(items.view()));
  ProgressBar bar(absl::StrCat("searching ", ModalityName(items.modality), "s"),
                  static_cast<int64_t>(sample.size()));
  std::vector<double> hits(std::size(kRanks));
  for (const int64_t q : sample) {
    const EncodedItemsView query = queries.view().Slice(q, 1);
    std::vector<std::pair<float, int64_t>> coarse;
    for (int64_t row = 0; row < items.count; ++row) {
      coarse.emplace_back(-InnerProduct(items.view().Slice(row, 1).coarse, query.coarse), row);
    }
    const size_t depth = std::min<size_t>(coarse.size(), static_cast<size_t>(flags.depth));
    std::partial_sort(coarse.begin(), coarse.begin() + static_cast<ptrdiff_t>(depth), coarse.end());
    coarse.resize(depth);
    std::vector<int64_t> rows;
    for (const auto& [score, row] : coarse) rows.push_back(row);
    const ScoringRequest request = {.query = query, .bank = bank.get(), .rows = rows, .mode = mode};
    ASSIGN_OR_RETURN(const std::vector<PairScores> scores,
                     model.pair_scorer().Score(absl::MakeConstSpan(&request, 1)));
    const std::vector<float> rerank = scores[0].Combined();
    std::vector<std::pair<float, int64_t>> final;
    for (size_t k = 0; k < depth; ++k) {
      final.emplace_back(-FusedScore(rerank[k], -coarse[k].first, weight), rows[k]);
    }
    std::stable_sort(final.begin(), final.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (size_t k = 0; k < final.size(); ++k) {
      const bool own = items.modality == Modality::kImage
                           ? final[k].second == q / captions_per_image
                           : final[k].second / captions_per_image == q;
      if (!own) continue;
      for (size_t r = 0; r < std::size(kRanks); ++r) {
        if (k < static_cast<size_t>(kRanks[r])) hits[r] += 1;
      }
      break;
    }
    bar.Advance();
  }
  bar.Finish();
  for (double& hit : hits) hit *= 100.0 / static_cast<double>(sample.size());
  return hits;
}

absl::Status Run(const Flags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<PrecomputedDataset> data,
                   PrecomputedDataset::Open(flags.data, flags.split));
  ASSIGN_OR_RETURN(const std::unique_ptr<DimeModel> model,
                   DimeModel::Load(flags.model, {.device = flags.device}));
  ASSIGN_OR_RETURN(const EncodedItems images, EncodeImages(*model, *data));
  ASSIGN_OR_RETURN(const EncodedItems captions, EncodeCaptions(*model, *data));
  const std::vector<int64_t> texts =
      SampleCaptions(data->num_images(), data->captions_per_image(), flags.queries);
  const std::vector<int64_t> pictures = SampleRows(data->num_images(), flags.queries);
  std::printf("%lld images, %lld captions, %zu and %zu queries, depth %lld\n",
              static_cast<long long>(images.count), static_cast<long long>(captions.count),
              texts.size(), pictures.size(), static_cast<long long>(flags.depth));
  std::printf(
      "| form | bytes an image | bytes a caption | text to image R@1 / 5 / 10 | image to text R@1 "
      "/ 5 "
      "/ 10 |\n|---|---|---|---|---|\n");
  for (const FeatureForm form :
       {FeatureForm::kFloat32, FeatureForm::kBfloat16, FeatureForm::kInt8}) {
    ASSIGN_OR_RETURN(const EncodedItems kept_images, ThroughForm(images, form));
    ASSIGN_OR_RETURN(const EncodedItems kept_captions, ThroughForm(captions, form));
    ASSIGN_OR_RETURN(const std::vector<double> t2i, Recall(*model, flags, captions, kept_images,
                                                           texts, data->captions_per_image()));
    ASSIGN_OR_RETURN(const std::vector<double> i2t, Recall(*model, flags, images, kept_captions,
                                                           pictures, data->captions_per_image()));
    std::printf("| %s | %lld | %lld | %.1f / %.1f / %.1f | %.1f / %.1f / %.1f |\n",
                std::string(FeatureFormName(form)).c_str(),
                static_cast<long long>(EncodedFeaturesBytes(images.view(), form)),
                static_cast<long long>(EncodedFeaturesBytes(captions.view(), form)), t2i[0], t2i[1],
                t2i[2], i2t[0], i2t[1], i2t[2]);
    std::fflush(stdout);
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "Measures size and R@K of two-stage searches with the gallery's local features in each of "
      "the forms that a living gallery can keep them in.",
      kProgram);
  app.add_option("--model", flags.model, "Model directory")->required();
  app.add_option("--data", flags.data, "Directory in the precomputed layout")->required();
  app.add_option("--split", flags.split, "Split of it")->capture_default_str();
  app.add_option("--device", flags.device, "cpu, cuda, cuda:N or auto")->capture_default_str();
  app.add_option("--queries", flags.queries, "Queries of each kind")->capture_default_str();
  app.add_option("--rerank-depth", flags.depth, "Candidates to rerank")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? static_cast<int>(ProgramExit::kOk)
                                : static_cast<int>(ProgramExit::kUsage);
  }
  const absl::Status status = Run(flags);
  return status.ok() ? static_cast<int>(ProgramExit::kOk) : ReportError(kProgram, status);
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) { return dime::Main(argc, argv); }
