#include "model/dime/modules_model.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <filesystem>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "index/status_macros.h"
#include "model/dime/device.h"
#include "model/dime/kernel_factory.h"
#include "model/dime/torch_threads.h"
#include "model/thread_team.h"

namespace dime {
namespace {

// Items encoded, and pairs scored, in one pass. On a CPU a pass is kept near the caches' size; on a
// device large enough to fill it.
constexpr int64_t kItemsInAPass = 64;
constexpr int64_t kImagesTogether = 8;  // of a pass, in one thread
constexpr int64_t kCpuPairs = 64;
constexpr int64_t kDevicePairs = 2048;

// Runs `function`, turning LibTorch's exceptions into a status.
template <typename Function>
auto CatchTorch(Function&& function) -> decltype(function()) {
  try {
    return function();
  } catch (const c10::OutOfMemoryError& error) {
    return absl::ResourceExhaustedError(
        absl::StrCat("out of device memory: ", error.what_without_backtrace()));
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("LibTorch: ", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("LibTorch: ", error.what()));
  }
}

torch::Tensor BorrowFloats(absl::Span<const float> values, std::vector<int64_t> shape) {
  // from_blob takes no const; nothing here writes.
  return torch::from_blob(const_cast<float*>(values.data()), shape, torch::kFloat32);
}

// Rows of `tensor` to those of `out` from `first` on.
void PutFloats(const torch::Tensor& tensor, int64_t first, std::vector<float>& out) {
  const torch::Tensor values = tensor.to(torch::kCPU, torch::kFloat32).contiguous();
  const int64_t count = values.numel();
  if (count == 0) return;
  std::copy_n(values.data_ptr<float>(), count, out.data() + first * (count / values.size(0)));
}

void AppendFloats(const torch::Tensor& tensor, std::vector<float>& out) {
  const torch::Tensor values = tensor.to(torch::kCPU, torch::kFloat32).contiguous();
  out.insert(out.end(), values.data_ptr<float>(), values.data_ptr<float>() + values.numel());
}

// The first stage's embedding of each item where a model has no heads for it: the directions'
// global vectors side by side, as unit rows, so that its inner product is the mean of the
// directions' own cosines.
void FillCoarse(EncodedItems& items) {
  items.coarse.resize(items.count * items.coarse_dim);
  for (int64_t i = 0; i < items.count; ++i) {
    float* const row = items.coarse.data() + i * items.coarse_dim;
    float* out = row;
    for (const DirectionFeatures& part : items.directions) {
      const float* global = part.global.data() + i * part.embed_size;
      double square = 0;
      for (int e = 0; e < part.embed_size; ++e) square += double{global[e]} * global[e];
      // A part that is zero throughout stays zero.
      const float scale = square > 0 ? static_cast<float>(1 / std::sqrt(square)) : 0;
      for (int e = 0; e < part.embed_size; ++e) *out++ = global[e] * scale;
    }
    double square = 0;
    for (int c = 0; c < items.coarse_dim; ++c) square += double{row[c]} * row[c];
    const float scale = square > 0 ? static_cast<float>(1 / std::sqrt(square)) : 0;
    for (int c = 0; c < items.coarse_dim; ++c) row[c] *= scale;
  }
}

// A gallery's features on the model's device; on the CPU where they lie.
class TensorBank : public FeatureBank {
 public:
  struct Part {
    torch::Tensor local;   // (count, positions, E) float32
    torch::Tensor global;  // (count, E)
  };

  TensorBank(const EncodedItemsView& features, torch::Device device)
      : modality_(features.modality), count_(features.count), positions_(features.positions) {
    for (Direction direction : kDirections) {
      const DirectionFeaturesView& from = features.of(direction);
      if (from.embed_size == 0) continue;
      Part& part = parts_[static_cast<int>(direction)];
      part.local = BorrowFloats(from.local, {count_, positions_, from.embed_size}).to(device);
      part.global = BorrowFloats(from.global, {count_, from.embed_size}).to(device);
    }
    lengths_ = torch::empty({count_}, torch::kLong);
    std::copy(features.lengths.begin(), features.lengths.end(), lengths_.data_ptr<int64_t>());
    lengths_ = lengths_.to(device);
  }
  // A slab of `capacity` slots.
  TensorBank(const EncodedItemsView& shape, int64_t capacity, torch::Device device)
      : modality_(shape.modality), count_(capacity), positions_(shape.positions), slab_(true) {
    const torch::TensorOptions options = torch::TensorOptions(torch::kFloat32).device(device);
    for (Direction direction : kDirections) {
      const int embed_size = shape.of(direction).embed_size;
      if (embed_size == 0) continue;
      Part& part = parts_[static_cast<int>(direction)];
      part.local = torch::empty({count_, positions_, embed_size}, options);
      part.global = torch::empty({count_, embed_size}, options);
    }
    lengths_ = torch::ones({count_}, torch::TensorOptions(torch::kLong).device(device));
  }

  absl::Status Write(absl::Span<const int64_t> slots, const EncodedItemsView& items) override {
    if (!slab_) return FeatureBank::Write(slots, items);
    const auto fits = [&](Direction direction) {
      const torch::Tensor& local = of(direction).local;
      return items.of(direction).embed_size == (local.defined() ? local.size(2) : 0);
    };
    if (items.modality != modality_ || items.positions != positions_ ||
        items.count != static_cast<int64_t>(slots.size()) || !fits(Direction::kI2t) ||
        !fits(Direction::kT2i)) {
      return absl::InvalidArgumentError("the items do not have the bank's sizes");
    }
    for (const int64_t slot : slots) {
      if (slot < 0 || slot >= count_) {
        return absl::InvalidArgumentError(
            absl::StrCat("slot ", slot, " is outside the bank's ", count_));
      }
    }
    return CatchTorch([&]() -> absl::Status {
      c10::InferenceMode inference;
      const torch::Device device = lengths_.device();
      const int64_t count = items.count;
      const torch::Tensor places =
          torch::tensor(std::vector<int64_t>(slots.begin(), slots.end())).to(device);
      for (Direction direction : kDirections) {
        const DirectionFeaturesView& from = items.of(direction);
        if (from.embed_size == 0) continue;
        Part& part = parts_[static_cast<int>(direction)];
        part.local.index_copy_(
            0, places, BorrowFloats(from.local, {count, positions_, from.embed_size}).to(device));
        part.global.index_copy_(0, places,
                                BorrowFloats(from.global, {count, from.embed_size}).to(device));
      }
      const std::vector<int64_t> lengths(items.lengths.begin(), items.lengths.end());
      lengths_.index_copy_(0, places, torch::tensor(lengths).to(device));
      return absl::OkStatus();
    });
  }

  Modality modality() const override { return modality_; }
  int64_t count() const override { return count_; }
  const Part& of(Direction direction) const { return parts_[static_cast<int>(direction)]; }
  const torch::Tensor& lengths() const { return lengths_; }
  int positions() const { return positions_; }

 private:
  const Modality modality_;
  const int64_t count_;
  const int positions_;
  const bool slab_ = false;
  std::array<Part, kNumDirections> parts_;
  torch::Tensor lengths_;  // (count) int64
};

// (P) lengths -> (P, L) bool, true at valid positions.
torch::Tensor ValidPositions(const torch::Tensor& lengths, int64_t positions) {
  return torch::arange(positions, lengths.options()).unsqueeze(0) < lengths.unsqueeze(1);
}

// How much of the cross-modal refinement cell's output flows on from `layer`, out of a pair's (36)
// path weights: see PairExplanation::Layer::weight.
float RefinementWeight(absl::Span<const float> paths, int layer) {
  const int num_paths = layer == kNumRoutingLayers - 1 ? 1 : kNumCells;
  float sum = 0;
  for (int path = 0; path < num_paths; ++path) {
    sum += paths[(layer * kNumCells + path) * kNumCells + kNumCells - 1];
  }
  return sum / static_cast<float>(num_paths);
}

}  // namespace

absl::StatusOr<std::unique_ptr<DimeModel>> DimeModel::Load(const std::string& directory,
                                                           const Options& options) {
  return ModulesModel::Load(directory, options);
}

absl::StatusOr<std::unique_ptr<ModulesModel>> ModulesModel::Load(const std::string& directory,
                                                                 const Options& options) {
  return CatchTorch([&]() -> absl::StatusOr<std::unique_ptr<ModulesModel>> {
    UseAvailableCores();
    ASSIGN_OR_RETURN(const torch::Device device, ParseDevice(options.device));
    ASSIGN_OR_RETURN(const ScorerChoice scorer, ChooseScorer(options.scorer, device));
    ASSIGN_OR_RETURN(std::unique_ptr<Network> network, Network::Load(directory, device));
    const std::filesystem::path path = std::filesystem::absolute(directory).lexically_normal();
    const std::string name = path.has_filename() ? path.filename() : path.parent_path().filename();
    ASSIGN_OR_RETURN(RankingSettings ranking, RankingSettings::Load(directory));
    auto model = std::make_unique<ModulesModel>(std::move(network), name, std::move(ranking));
    if (scorer.instructions.has_value()) {
      model->UseKernels(*scorer.instructions, options.scorer_threads);
    }
    if (scorer.cuda) RETURN_IF_ERROR(model->UseCudaKernels(device));
    return model;
  });
}

ModulesModel::ModulesModel(std::unique_ptr<Network> network, std::string name,
                           RankingSettings ranking)
    : network_(std::move(network)) {
  info_ = network_->Describe();
  info_.name = std::move(name);
  info_.ranking = std::move(ranking);
  info_.scorer = "modules";
}

void ModulesModel::UseKernels(kernels::Instructions instructions, int threads) {
  info_.scorer = kernels::InstructionsName(instructions);
  team_ = std::make_shared<ThreadTeam>(threads);
  std::set<const TextBackbone*> backbones;  // directions may share one
  for (Direction direction : kDirections) {
    if (!network_->Has(direction)) continue;
    const TextBackbone& backbone = network_->backbone(direction);
    if (backbones.insert(&backbone).second) Bert(backbone.bert)->UseKernels(instructions, team_);
  }
  kernel_scorer_ = MakeKernelScorer(*network_, instructions, team_);
}

absl::Status ModulesModel::UseCudaKernels(const torch::Device& device) {
  ASSIGN_OR_RETURN(cuda_scorer_, MakeCudaScorer(*network_, device));
  info_.scorer = "cuda";
  return absl::OkStatus();
}

absl::StatusOr<bool> ModulesModel::IsTruncated(const std::string& caption) const {
  ASSIGN_OR_RETURN(const WordPieceTokenizer::Encoding encoding,
                   tokenizer().Encode(caption, info_.max_words));
  return encoding.truncated;
}

absl::StatusOr<std::vector<std::string>> ModulesModel::Words(const std::string& caption) const {
  ASSIGN_OR_RETURN(const WordPieceTokenizer::Encoding encoding,
                   tokenizer().Encode(caption, info_.max_words));
  std::vector<std::string> words;
  for (int32_t w = 0; w < encoding.length; ++w) {
    words.push_back(tokenizer().Piece(encoding.ids[w]));
  }
  return words;
}

const WordPieceTokenizer& ModulesModel::tokenizer() const {
  const Direction direction = network_->Has(Direction::kI2t) ? Direction::kI2t : Direction::kT2i;
  return *network_->backbone(direction).tokenizer;
}

void ModulesModel::ForItems(int64_t items, int64_t together,
                            const std::vector<ItemsTask>& tasks) const {
  if (team_ == nullptr) {
    for (const ItemsTask& task : tasks) task(0, items);
    return;
  }
  const auto num_tasks = static_cast<int64_t>(tasks.size());
  const int64_t parts = (items + together - 1) / together;
  std::vector<std::exception_ptr> thrown(parts * num_tasks);
  team_->Run(parts * num_tasks, [&](int64_t i) {
    const int64_t first = i / num_tasks * together;
    const OneTorchThread alone;
    c10::InferenceMode inference;  // a thread's own
    try {
      tasks[i % num_tasks](first, std::min(together, items - first));
    } catch (...) {
      thrown[i] = std::current_exception();
    }
  });
  for (const std::exception_ptr& exception : thrown) {
    if (exception != nullptr) std::rethrow_exception(exception);
  }
}

void ModulesModel::Allocate(EncodedItems& items) const {
  for (Direction direction : kDirections) {
    if (!network_->Has(direction)) continue;
    DirectionFeatures& part = items.directions[static_cast<int>(direction)];
    part.embed_size = network_->config().of(direction)->embed_size;
    part.local.resize(items.count * items.positions * part.embed_size);
    part.global.resize(items.count * part.embed_size);
  }
  items.coarse.resize(items.count * items.coarse_dim);
}

absl::StatusOr<EncodedItems> ModulesModel::EncodeCaptions(
    absl::Span<const std::string> captions) const {
  return CatchTorch([&]() -> absl::StatusOr<EncodedItems> {
    c10::InferenceMode inference;
    std::optional<OneTorchThread> alone;
    if (team_ != nullptr) alone.emplace();
    EncodedItems items{.modality = Modality::kCaption,
                       .count = static_cast<int64_t>(captions.size()),
                       .positions = info_.max_words,
                       .coarse_dim = info_.coarse_dim};
    Allocate(items);
    CoarseHeadsImpl* const heads = network_->coarse_heads();
    for (size_t first = 0; first < captions.size(); first += kItemsInAPass) {
      const absl::Span<const std::string> batch = captions.subspan(first, kItemsInAPass);
      // Directions with one backbone share its states.
      const TextBackbone* computed = nullptr;
      torch::Tensor states, lengths;
      std::vector<ItemsTask> tasks;
      for (Direction direction : kDirections) {
        if (!network_->Has(direction)) continue;
        const TextBackbone& backbone = network_->backbone(direction);
        if (computed != &backbone) {
          ASSIGN_OR_RETURN(const TokenBatch tokens,
                           TokenBatch::Make(*backbone.tokenizer, batch, info_.max_words));
          if (computed == nullptr) {
            const int64_t* values = tokens.lengths.data_ptr<int64_t>();
            items.lengths.insert(items.lengths.end(), values, values + batch.size());
          }
          lengths = tokens.lengths.to(network_->device());
          states = Bert(backbone.bert)->forward(tokens.ids.to(network_->device()), lengths);
          computed = &backbone;
          if (heads != nullptr && &backbone == &network_->coarse_backbone()) {
            tasks.push_back([&items, heads, first, states, lengths](int64_t begin, int64_t size) {
              PutFloats(
                  heads->Captions(states.narrow(0, begin, size), lengths.narrow(0, begin, size)),
                  first + begin, items.coarse);
            });
          }
        }
        DirectionFeatures& part = items.directions[static_cast<int>(direction)];
        tasks.push_back([this, &part, direction, first, states](int64_t begin, int64_t size) {
          const TextHeadsImpl::Output output =
              network_->direction(direction).text->forward(states.narrow(0, begin, size));
          PutFloats(output.words, first + begin, part.local);
          PutFloats(output.sentence, first + begin, part.global);
        });
      }
      // One by one, so that a text is the same bits whatever other texts' calls it shares.
      ForItems(static_cast<int64_t>(batch.size()), 1, tasks);
    }
    if (heads == nullptr) FillCoarse(items);
    return items;
  });
}

absl::StatusOr<EncodedItems> ModulesModel::EncodeImages(int64_t count, int num_regions,
                                                        absl::Span<const float> features) const {
  return CatchTorch([&]() -> absl::StatusOr<EncodedItems> {
    if (count < 0 || num_regions < 1 ||
        features.size() != static_cast<size_t>(count) * num_regions * info_.feature_dim) {
      return absl::InvalidArgumentError(absl::StrCat(features.size(), " values are not ", count,
                                                     " images of ", num_regions, " regions with ",
                                                     info_.feature_dim, " features"));
    }
    c10::InferenceMode inference;
    EncodedItems items{.modality = Modality::kImage,
                       .count = count,
                       .positions = num_regions,
                       .coarse_dim = info_.coarse_dim};
    Allocate(items);
    CoarseHeadsImpl* const heads = network_->coarse_heads();
    items.lengths.assign(count, num_regions);
    const torch::Tensor all = BorrowFloats(features, {count, num_regions, info_.feature_dim});
    for (int64_t first = 0; first < count; first += kItemsInAPass) {
      const torch::Tensor batch =
          all.narrow(0, first, std::min(kItemsInAPass, count - first)).to(network_->device());
      std::vector<ItemsTask> tasks;
      for (Direction direction : kDirections) {
        if (!network_->Has(direction)) continue;
        DirectionFeatures& part = items.directions[static_cast<int>(direction)];
        tasks.push_back([this, &part, &batch, direction, first](int64_t begin, int64_t size) {
          const ImageHeadsImpl::Output output =
              network_->direction(direction).image->forward(batch.narrow(0, begin, size));
          PutFloats(output.regions, first + begin, part.local);
          PutFloats(output.image, first + begin, part.global);
        });
      }
      if (heads != nullptr) {
        tasks.push_back([&items, &batch, heads, first](int64_t begin, int64_t size) {
          PutFloats(heads->Images(batch.narrow(0, begin, size)), first + begin, items.coarse);
        });
      }
      ForItems(batch.size(0), kImagesTogether, tasks);
    }
    if (heads == nullptr) FillCoarse(items);
    return items;
  });
}

absl::StatusOr<std::unique_ptr<FeatureBank>> ModulesModel::MakeBank(
    const EncodedItemsView& features) const {
  return CatchTorch([&]() -> absl::StatusOr<std::unique_ptr<FeatureBank>> {
    RETURN_IF_ERROR(CheckFeatureShape(features, info_));
    return std::make_unique<TensorBank>(features, network_->device());
  });
}

absl::StatusOr<std::unique_ptr<FeatureBank>> ModulesModel::MakeSlabBank(
    const EncodedItemsView& shape, int64_t capacity) const {
  return CatchTorch([&]() -> absl::StatusOr<std::unique_ptr<FeatureBank>> {
    RETURN_IF_ERROR(CheckFeatureShape(shape, info_));
    if (capacity < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("a slab needs a slot at least, got ", capacity));
    }
    c10::InferenceMode inference;
    return std::make_unique<TensorBank>(shape, capacity, network_->device());
  });
}

absl::Status ModulesModel::CheckRequest(const ScoringRequest& request) const {
  if (dynamic_cast<const TensorBank*>(request.bank) == nullptr) {
    return absl::InvalidArgumentError("the feature bank was not made by this scorer");
  }
  return CheckScoringRequest(request, info_);
}

absl::StatusOr<std::vector<PairScores>> ModulesModel::Score(
    absl::Span<const ScoringRequest> requests) const {
  return CatchTorch([&]() -> absl::StatusOr<std::vector<PairScores>> {
    for (const ScoringRequest& request : requests) RETURN_IF_ERROR(CheckRequest(request));
    c10::InferenceMode inference;
    std::vector<PairScores> results(requests.size());
    for (Direction direction : kDirections) {
      if (network_->Has(direction)) {
        ScoreDirection(requests, direction, absl::MakeSpan(results));
      }
    }
    return results;
  });
}

void ModulesModel::ScoreDirection(absl::Span<const ScoringRequest> requests, Direction direction,
                                  absl::Span<PairScores> results) const {
  const torch::Device device = network_->device();
  const int d = static_cast<int>(direction);
  // Requests over one bank whose queries have one shape share a launch; in the service all requests
  // of one kind do.
  std::vector<bool> done(requests.size(), false);
  for (size_t begin = 0; begin < requests.size(); ++begin) {
    if (done[begin] || !Uses(requests[begin].mode, direction)) continue;
    const auto& bank = static_cast<const TensorBank&>(*requests[begin].bank);
    const int positions = requests[begin].query.positions;
    std::vector<size_t> members;
    std::vector<int64_t> rows, query_of_row, lengths;
    std::vector<torch::Tensor> locals, globals;
    bool want_paths = false;
    for (size_t i = begin; i < requests.size(); ++i) {
      const ScoringRequest& request = requests[i];
      if (done[i] || !Uses(request.mode, direction) || request.bank != &bank ||
          request.query.positions != positions) {
        continue;
      }
      done[i] = true;
      const DirectionFeaturesView& query = request.query.of(direction);
      query_of_row.insert(query_of_row.end(), request.rows.size(),
                          static_cast<int64_t>(members.size()));
      rows.insert(rows.end(), request.rows.begin(), request.rows.end());
      locals.push_back(BorrowFloats(query.local, {1, positions, query.embed_size}));
      globals.push_back(BorrowFloats(query.global, {1, query.embed_size}));
      lengths.push_back(request.query.lengths[0]);
      want_paths = want_paths || request.want_paths;
      members.push_back(i);
    }
    const torch::Tensor query_local = torch::cat(locals).to(device);    // (Q, positions, E)
    const torch::Tensor query_global = torch::cat(globals).to(device);  // (Q, E)
    const torch::Tensor query_lengths = torch::tensor(lengths).to(device);
    const torch::Tensor all_rows = torch::tensor(rows).to(device);
    const torch::Tensor all_queries = torch::tensor(query_of_row).to(device);
    const TensorBank::Part& part = bank.of(direction);

    std::vector<float> scores, paths;
    const int64_t step = device.is_cpu() ? kCpuPairs : kDevicePairs;
    const int64_t count = static_cast<int64_t>(rows.size());
    for (int64_t first = 0; first < count; first += step) {
      const int64_t size = std::min(step, count - first);
      const torch::Tensor row = all_rows.narrow(0, first, size);
      // One query broadcasts over its candidates, so that what depends on it alone is computed
      // once.
      const bool single = members.size() == 1;
      const torch::Tensor query = all_queries.narrow(0, first, single ? 1 : size);
      const torch::Tensor item_local = part.local.index_select(0, row);
      const torch::Tensor item_global = part.global.index_select(0, row);
      const torch::Tensor asked_local = query_local.index_select(0, query);
      const torch::Tensor asked_global = query_global.index_select(0, query);
      DirectionModelImpl& model = network_->direction(direction);
      const InteractionImpl::Output output =
          bank.modality() == Modality::kImage
              ? model.Score(item_local, item_global, asked_local, asked_global,
                            ValidPositions(query_lengths.index_select(0, query), positions))
              : model.Score(asked_local, asked_global, item_local, item_global,
                            ValidPositions(bank.lengths().index_select(0, row), bank.positions()));
      AppendFloats(output.scores, scores);
      if (want_paths) AppendFloats(output.path_weights, paths);
    }
    auto score = scores.begin();
    auto path = paths.begin();
    for (size_t i : members) {
      const auto size = static_cast<int64_t>(requests[i].rows.size());
      results[i].scores[d].assign(score, score + size);
      score += size;
      if (!want_paths) continue;
      if (requests[i].want_paths) {
        results[i].paths[d].assign(path, path + size * kNumPathWeights);
      }
      path += size * kNumPathWeights;
    }
  }
}

absl::Status ModulesModel::CheckItem(const EncodedItemsView& item, Modality modality,
                                     ScoreMode mode) const {
  const int positions = modality == Modality::kImage ? info_.num_regions : info_.max_words;
  if (item.modality != modality || item.count != 1 || item.positions != positions ||
      item.lengths.size() != 1 || item.lengths[0] < 1 || item.lengths[0] > positions) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", ModalityName(modality), " must be one of ", positions, " positions"));
  }
  for (Direction direction : kDirections) {
    if (!Uses(mode, direction)) continue;
    const size_t size = info_.directions[static_cast<int>(direction)].embed_size;
    const DirectionFeaturesView& part = item.of(direction);
    if (part.embed_size != static_cast<int>(size) || part.local.size() != positions * size ||
        part.global.size() != size) {
      return absl::InvalidArgumentError(absl::StrCat("the ", ModalityName(modality), "'s ",
                                                     DirectionName(direction), " features are ",
                                                     part.embed_size, " wide, the model's ", size));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<PairExplanation> ModulesModel::Explain(const EncodedItemsView& image,
                                                      const EncodedItemsView& caption,
                                                      ScoreMode mode) const {
  if (!info_.Serves(mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the model has no ", ScoreModeName(mode), " scores"));
  }
  RETURN_IF_ERROR(CheckItem(image, Modality::kImage, mode));
  RETURN_IF_ERROR(CheckItem(caption, Modality::kCaption, mode));
  return CatchTorch([&]() -> absl::StatusOr<PairExplanation> {
    c10::InferenceMode inference;
    const torch::Device device = network_->device();
    const int64_t words = caption.lengths[0];
    PairExplanation explanation{.num_words = static_cast<int>(words),
                                .num_regions = image.positions};
    const torch::Tensor word_mask =
        ValidPositions(torch::tensor({words}), caption.positions).to(device);
    for (Direction direction : kDirections) {
      if (!Uses(mode, direction)) continue;
      const auto local = [&](const EncodedItemsView& item) {  // (1, positions, E)
        const DirectionFeaturesView& part = item.of(direction);
        return BorrowFloats(part.local, {1, item.positions, part.embed_size}).to(device);
      };
      const auto global = [&](const EncodedItemsView& item) {  // (1, E)
        const DirectionFeaturesView& part = item.of(direction);
        return BorrowFloats(part.global, {1, part.embed_size}).to(device);
      };
      InteractionImpl::Attention attention;
      const InteractionImpl::Output output = network_->direction(direction).Score(
          local(image), global(image), local(caption), global(caption), word_mask, &attention);
      PairExplanation::Part& part = explanation.directions[static_cast<int>(direction)].emplace();
      part.score = output.scores.item<float>();
      AppendFloats(output.path_weights, part.paths);
      for (int n = 0; n < kNumRoutingLayers; ++n) {
        const torch::Tensor of_layer = attention[n].squeeze(0);
        // (words, regions): regions attend to none of the padding, and what that attends to is
        // nobody's question.
        AppendFloats((direction == Direction::kI2t ? of_layer.t() : of_layer).narrow(0, 0, words),
                     part.layers[n].attention);
        part.layers[n].weight = RefinementWeight(part.paths, n);
      }
    }
    return explanation;
  });
}

}  // namespace dime
