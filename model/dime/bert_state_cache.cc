#include "model/dime/bert_state_cache.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "index/progress_bar.h"
#include "index/status_macros.h"
#include "model/fingerprint.h"

namespace dime {
namespace {

constexpr int64_t kBatch = 64;  // captions that BERT takes at a time

}  // namespace

absl::StatusOr<std::string> BertFingerprint(const std::string& directory) {
  return FingerprintFiles(directory, {"model.safetensors", "vocab.txt"});
}

absl::StatusOr<std::unique_ptr<BertStateCache>> BertStateCache::Create(
    const TextBackbone& backbone, torch::Device device, const std::vector<std::string>& captions,
    const Options& options, const std::atomic<bool>* stop) {
  std::unique_ptr<BertStateCache> cache(new BertStateCache(backbone, device));
  ASSIGN_OR_RETURN(const TokenBatch tokens,
                   TokenBatch::Make(*backbone.tokenizer, captions, options.max_words));
  cache->token_ids_ = tokens.ids;
  cache->token_lengths_ = tokens.lengths;
  RETURN_IF_ERROR(cache->Keep(options, stop));
  return cache;
}

absl::Status BertStateCache::Keep(const Options& options, const std::atomic<bool>* stop) {
  const std::vector<int64_t> shape = {num_captions(), options.max_words, backbone_.hidden_size};
  const int64_t values = shape[0] * shape[1] * shape[2];
  if (!options.keep || values * 2 > options.max_bytes) {
    if (options.file.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("a state cache needs BERT's dropout off and room for ", values * 2, " bytes"));
  }
  if (options.file.empty()) {
    states_ = torch::empty(shape, torch::kHalf);
    return Fill(stop);
  }
  // The name tells what the states are of, so that a cache of other captions is never taken.
  ASSIGN_OR_RETURN(const std::string bert, BertFingerprint(options.bert));
  ASSIGN_OR_RETURN(const std::string text,
                   FingerprintFiles(options.data, {options.split + "_caps.txt"}));
  const std::string path = absl::StrCat(options.file, ".", bert.substr(0, 8), "-",
                                        text.substr(0, 8), "-", options.max_words, ".f16");
  std::error_code error;
  if (!std::filesystem::exists(path)) {
    const std::string part = absl::StrCat(path, ".part-", options.part_tag);
    states_ = torch::from_file(part, /*shared=*/true, values, torch::kHalf).view(shape);
    RETURN_IF_ERROR(Fill(stop));
    std::filesystem::rename(part, path, error);
    if (error) return absl::UnavailableError(absl::StrCat("cannot write ", path));
    return absl::OkStatus();
  }
  if (std::filesystem::file_size(path, error) != static_cast<uint64_t>(values) * 2) {
    return absl::InvalidArgumentError(absl::StrCat(path, " has not the size of a state cache of ",
                                                   num_captions(), " captions; remove it"));
  }
  states_ = torch::from_file(path, /*shared=*/false, values, torch::kHalf).view(shape);
  return absl::OkStatus();
}

absl::Status BertStateCache::Fill(const std::atomic<bool>* stop) {
  c10::InferenceMode inference;
  ProgressBar bar("encoding captions", num_captions());
  for (int64_t first = 0; first < num_captions(); first += kBatch) {
    if (stop != nullptr && *stop) return absl::CancelledError("stopped");
    const int64_t count = std::min(kBatch, num_captions() - first);
    states_.narrow(0, first, count)
        .copy_(Bert(backbone_.bert)
                   ->forward(token_ids_.narrow(0, first, count).to(device_),
                             token_lengths_.narrow(0, first, count).to(device_)));
    bar.Advance(count);
  }
  bar.Finish();
  return absl::OkStatus();
}

torch::Tensor BertStateCache::States(const std::vector<int64_t>& captions,
                                     torch::Tensor* lengths) const {
  torch::NoGradGuard no_grad;  // BERT is frozen
  const torch::Tensor rows = torch::tensor(captions);
  *lengths = token_lengths_.index_select(0, rows).to(device_);
  if (states_.defined()) return states_.index_select(0, rows).to(device_, torch::kFloat32);
  return Bert(backbone_.bert)
      ->forward(token_ids_.index_select(0, rows).to(device_), *lengths)
      .to(torch::kFloat32);  // in mixed precision it may be another
}

}  // namespace dime
