#include "model/dime/similarity.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "index/status_macros.h"

namespace dime {
namespace {

constexpr int64_t kEncodeBatch = 64;

// Images and captions in one block of pairs: a CPU's caches, or enough to fill a device.
struct BlockSize {
  int64_t images;
  int64_t captions;
};
BlockSize BlockFor(torch::Device device) {
  return device.is_cpu() ? BlockSize{8, 16} : BlockSize{64, 64};
}

}  // namespace

absl::StatusOr<EncodedSplit> EncodeSplit(DirectionModelImpl& model, const TextBackbone& backbone,
                                         int max_words, torch::Device device,
                                         const PrecomputedDataset& dataset,
                                         std::optional<int64_t> max_images,
                                         const ProgressCallback& progress) {
  c10::InferenceMode inference;
  const int64_t images = std::min(max_images.value_or(dataset.num_images()), dataset.num_images());
  const int64_t captions = std::min(images * dataset.captions_per_image(), dataset.num_captions());
  EncodedSplit split;
  std::vector<torch::Tensor> regions, image, words, sentence, mask;
  for (int64_t first = 0; first < images; first += kEncodeBatch) {
    const int64_t count = std::min(kEncodeBatch, images - first);
    const torch::Tensor features =
        torch::empty({count, dataset.num_regions(), dataset.feature_dim()});
    RETURN_IF_ERROR(dataset.ReadFeatures(
        first, count, {features.data_ptr<float>(), static_cast<size_t>(features.numel())}));
    const ImageHeadsImpl::Output output = model.image->forward(features.to(device));
    regions.push_back(output.regions);
    image.push_back(output.image);
    progress(count);
  }
  for (int64_t first = 0; first < captions; first += kEncodeBatch) {
    const int64_t count = std::min(kEncodeBatch, captions - first);
    ASSIGN_OR_RETURN(
        const TokenBatch tokens,
        TokenBatch::Make(*backbone.tokenizer,
                         absl::MakeConstSpan(dataset.captions()).subspan(first, count), max_words));
    const torch::Tensor lengths = tokens.lengths.to(device);
    const TextHeadsImpl::Output output =
        model.text->forward(Bert(backbone.bert)->forward(tokens.ids.to(device), lengths));
    words.push_back(output.words);
    sentence.push_back(output.sentence);
    mask.push_back(torch::arange(max_words, lengths.options()).unsqueeze(0) < lengths.unsqueeze(1));
    progress(count);
  }
  std::vector<int64_t> first_equal(captions);
  absl::flat_hash_map<absl::string_view, int64_t> first_of_text;
  for (int64_t c = 0; c < captions; ++c) {
    first_equal[c] = first_of_text.try_emplace(dataset.captions()[c], c).first->second;
  }
  return EncodedSplit{.regions = torch::cat(regions),
                      .image = torch::cat(image),
                      .words = torch::cat(words),
                      .sentence = torch::cat(sentence),
                      .word_mask = torch::cat(mask),
                      .first_equal = std::move(first_equal)};
}

torch::Tensor Similarity(DirectionModelImpl& model, const EncodedSplit& split, int64_t first_image,
                         int64_t images, int64_t first_caption, int64_t captions,
                         const ProgressCallback& progress) {
  c10::InferenceMode inference;
  const BlockSize block = BlockFor(split.regions.device());
  torch::Tensor similarity = torch::empty({images, captions});
  for (int64_t i = 0; i < images; i += block.images) {
    const int64_t rows = std::min(block.images, images - i);
    for (int64_t c = 0; c < captions; c += block.captions) {
      const int64_t columns = std::min(block.captions, captions - c);
      // (I, 1, ...) against (1, T, ...): all pairs of the block.
      const auto image_side = [&](const torch::Tensor& x) {
        return x.narrow(0, first_image + i, rows).unsqueeze(1);
      };
      const auto caption_side = [&](const torch::Tensor& x) {
        return x.narrow(0, first_caption + c, columns).unsqueeze(0);
      };
      similarity.narrow(0, i, rows)
          .narrow(1, c, columns)
          .copy_(model
                     .Score(image_side(split.regions), image_side(split.image),
                            caption_side(split.words), caption_side(split.sentence),
                            caption_side(split.word_mask))
                     .scores);
      progress(rows * columns);
    }
  }
  absl::flat_hash_map<int64_t, int64_t> column_of_text;
  for (int64_t c = 0; c < captions; ++c) {
    const auto [first, is_new] =
        column_of_text.try_emplace(split.first_equal[first_caption + c], c);
    if (!is_new) similarity.select(1, c).copy_(similarity.select(1, first->second));
  }
  return similarity;
}

}  // namespace dime
