#include "model/dime/coarse_teacher.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/types/span.h"
#include "index/status_macros.h"
#include "model/dime/kernel_factory.h"

namespace dime {
namespace {

constexpr int64_t kTaughtAtOnce = 64;

}  // namespace

absl::StatusOr<torch::Tensor> ReadImages(const PrecomputedDataset& dataset,
                                         const std::vector<int64_t>& images, torch::Device device) {
  const int64_t size = int64_t{dataset.num_regions()} * dataset.feature_dim();
  const torch::Tensor features = torch::empty(
      {static_cast<int64_t>(images.size()), dataset.num_regions(), dataset.feature_dim()});
  for (size_t i = 0; i < images.size(); ++i) {
    RETURN_IF_ERROR(dataset.ReadFeatures(
        images[i], 1, {features.data_ptr<float>() + i * size, static_cast<size_t>(size)}));
  }
  return features.to(device);
}

absl::StatusOr<std::unique_ptr<CoarseTeacher>> CoarseTeacher::Create(
    const Network& network, const std::string& backbone, const PrecomputedDataset& dataset,
    const BertStateCache& states, const std::string& scorer) {
  std::unique_ptr<CoarseTeacher> teacher(new CoarseTeacher(network, dataset));
  ASSIGN_OR_RETURN(const ScorerChoice choice, ChooseScorer(scorer, network.device()));
  if (choice.instructions.has_value()) {
    teacher->kernels_ = MakeKernelScorer(network, *choice.instructions, /*team=*/nullptr);
  }
  teacher->states_[backbone] = &states;
  for (Direction direction : kDirections) {
    if (!network.Has(direction)) continue;
    teacher->directions_.push_back(direction);
    const std::string& name = network.config().of(direction)->bert;
    if (teacher->states_.contains(name)) continue;
    ASSIGN_OR_RETURN(
        std::unique_ptr<BertStateCache> own,
        BertStateCache::Create(network.backbone(direction), network.device(), dataset.captions(),
                               {.max_words = network.config().max_words, .keep = false},
                               /*stop=*/nullptr));
    teacher->states_[name] = own.get();
    teacher->own_states_.push_back(std::move(own));
  }
  return teacher;
}

absl::StatusOr<torch::Tensor> CoarseTeacher::Score(const std::vector<int64_t>& images,
                                                   const std::vector<int64_t>& captions,
                                                   const ProgressCallback& progress) const {
  c10::InferenceMode inference;
  torch::Tensor mean;
  for (Direction direction : directions_) {
    DirectionModelImpl& model = network_.direction(direction);
    const BertStateCache& states = *states_.at(network_.config().of(direction)->bert);
    std::vector<torch::Tensor> regions, image, words, sentence, mask;
    const auto batch = [](const std::vector<int64_t>& rows, size_t first) {
      const size_t count = std::min<size_t>(kTaughtAtOnce, rows.size() - first);
      return std::vector<int64_t>(rows.begin() + first, rows.begin() + first + count);
    };
    for (size_t first = 0; first < images.size(); first += kTaughtAtOnce) {
      ASSIGN_OR_RETURN(const torch::Tensor features,
                       ReadImages(dataset_, batch(images, first), network_.device()));
      const ImageHeadsImpl::Output output = model.image->forward(features);
      regions.push_back(output.regions);
      image.push_back(output.image);
    }
    for (size_t first = 0; first < captions.size(); first += kTaughtAtOnce) {
      torch::Tensor lengths;
      const torch::Tensor of_batch = states.States(batch(captions, first), &lengths);
      const TextHeadsImpl::Output output = model.text->forward(of_batch);
      words.push_back(output.words);
      sentence.push_back(output.sentence);
      mask.push_back(torch::arange(of_batch.size(1), lengths.options()).unsqueeze(0) <
                     lengths.unsqueeze(1));
    }
    EncodedSplit split{.regions = torch::cat(regions),
                       .image = torch::cat(image),
                       .words = torch::cat(words),
                       .sentence = torch::cat(sentence),
                       .word_mask = torch::cat(mask),
                       .first_equal = std::vector<int64_t>(captions.size())};
    std::iota(split.first_equal.begin(), split.first_equal.end(), 0);
    const std::vector<int64_t> rows = RowRange(0, static_cast<int64_t>(images.size()));
    const std::vector<int64_t> columns = RowRange(0, static_cast<int64_t>(captions.size()));
    const torch::Tensor scores =
        kernels_ == nullptr ? Similarity(model, split, rows, columns, progress)
                            : Similarity(*kernels_, direction, split, rows, columns, progress);
    mean = mean.defined() ? mean.add_(scores) : scores;
  }
  return mean.div_(num_directions());
}

}  // namespace dime
