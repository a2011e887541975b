#include "model/dime/fused_bert.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace dime {
namespace {

// Captions that a thread takes through all layers together: the weights, which come from the
// third-level cache or from memory, are read once for them.
constexpr int64_t kMostCaptions = 4;
// Rows that a thread takes at least where captions are shared: as many as the kernel multiplies at
// once.
constexpr int64_t kFewestRows = 6;

// One layer's weights as the kernel takes them; owns what they point to.
class LayerWeightsReader {
 public:
  LayerWeightsReader(const torch::OrderedDict<std::string, torch::Tensor>& parameters, int layer)
      : parameters_(parameters), prefix_(absl::StrCat(layer, ".")) {
    const std::string attention = "attention.self.";
    std::vector<torch::Tensor> weights, biases;
    for (const char* name : {"query", "key", "value"}) {
      weights.push_back(Of(absl::StrCat(attention, name, ".weight")));
      biases.push_back(Of(absl::StrCat(attention, name, ".bias")));
    }
    weights_.attention = Linear(torch::cat(weights), torch::cat(biases));
    weights_.attention_output = Linear("attention.output.dense");
    weights_.attention_norm = Norm("attention.output.LayerNorm");
    weights_.intermediate = Linear("intermediate.dense");
    weights_.output = Linear("output.dense");
    weights_.output_norm = Norm("output.LayerNorm");
  }
  LayerWeightsReader(const LayerWeightsReader&) = delete;
  LayerWeightsReader& operator=(const LayerWeightsReader&) = delete;
  const kernels::TransformerLayerWeights& weights() const { return weights_; }

 private:
  torch::Tensor Of(const std::string& name) const {
    const torch::Tensor* const tensor = parameters_.find(prefix_ + name);
    TORCH_CHECK(tensor != nullptr, "BERT has no parameter ", prefix_, name);
    return *tensor;
  }
  const float* Keep(const torch::Tensor& tensor) {
    tensors_.push_back(tensor.detach().to(torch::kCPU, torch::kFloat32).contiguous());
    return tensors_.back().data_ptr<float>();
  }
  kernels::LinearWeights Linear(const torch::Tensor& weight, const torch::Tensor& bias) {
    return {.weight = Keep(weight),
            .bias = Keep(bias),
            .in = static_cast<int>(weight.size(1)),
            .out = static_cast<int>(weight.size(0))};
  }
  kernels::LinearWeights Linear(const std::string& name) {
    return Linear(Of(name + ".weight"), Of(name + ".bias"));
  }
  kernels::LayerNormWeights Norm(const std::string& name) {
    return {.scale = Keep(Of(name + ".weight")), .shift = Keep(Of(name + ".bias"))};
  }

  const torch::OrderedDict<std::string, torch::Tensor>& parameters_;
  const std::string prefix_;
  std::vector<torch::Tensor> tensors_;
  kernels::TransformerLayerWeights weights_;
};

}  // namespace

FusedBert::FusedBert(const BertConfig& config, const torch::nn::Module& layers,
                     kernels::Instructions instructions, std::shared_ptr<ThreadTeam> team)
    : num_layers_(config.num_layers), hidden_size_(config.hidden_size), team_(std::move(team)) {
  const auto parameters = layers.named_parameters();
  std::vector<std::unique_ptr<LayerWeightsReader>> readers;
  std::vector<kernels::TransformerLayerWeights> weights;
  for (int n = 0; n < num_layers_; ++n) {
    readers.push_back(std::make_unique<LayerWeightsReader>(parameters, n));
    weights.push_back(readers.back()->weights());
  }
  kernel_ = Kernel::Create({.num_layers = num_layers_,
                            .hidden_size = hidden_size_,
                            .num_heads = config.num_heads,
                            .intermediate_size = config.intermediate_size,
                            .layer_norm_eps = static_cast<float>(config.layer_norm_eps)},
                           weights.data(), instructions);
}

torch::Tensor FusedBert::forward(const torch::Tensor& embedded, const torch::Tensor& lengths) {
  TORCH_CHECK(embedded.dim() == 3 && embedded.size(2) == hidden_size_ && embedded.is_cpu() &&
                  embedded.scalar_type() == torch::kFloat32,
              "embeddings must be (B, L, ", hidden_size_, ") float32 on the CPU");
  const int64_t captions = embedded.size(0), length = embedded.size(1);
  TORCH_CHECK(lengths.dim() == 1 && lengths.size(0) == captions, "a length for each caption");
  const torch::Tensor valid = lengths.to(torch::kCPU, torch::kLong).contiguous();
  const int64_t* const first = valid.data_ptr<int64_t>();
  TORCH_CHECK(
      std::all_of(first, first + captions, [&](int64_t n) { return n >= 1 && n <= length; }),
      "lengths must be from 1 to ", length);
  torch::Tensor states = embedded.clone(torch::MemoryFormat::Contiguous);
  if (states.numel() == 0) return states;
  const Kernel::Batch batch = {
      .length = static_cast<int>(length), .lengths = first, .states = states.data_ptr<float>()};
  const bool whole = captions >= 2 * team_->size() || team_->size() == 1;
  const torch::Tensor projected =
      torch::empty({whole ? 1 : 2, captions * length, 3 * hidden_size_}, states.options());
  float* const to = projected.data_ptr<float>();
  if (whole) {
    WholeCaptions(batch, captions, to);
  } else {
    SharedCaptions(batch, captions * length, to, to + captions * length * 3 * hidden_size_);
  }
  return states;
}

IdlePool<kernels::TransformerKernel::Workspace>::Lease FusedBert::TakeWorkspace() {
  return workspaces_.Take([this] { return kernel_->MakeWorkspace(); });
}

void FusedBert::WholeCaptions(const Kernel::Batch& batch, int64_t captions, float* projected) {
  const int64_t threads = team_->size();
  const int64_t group = std::min(kMostCaptions, (captions + threads - 1) / threads);
  team_->Run((captions + group - 1) / group, [&](int64_t task) {
    const int64_t first = task * group * batch.length;
    const int count = static_cast<int>(std::min(group, captions - task * group)) * batch.length;
    const auto workspace = TakeWorkspace();
    for (int n = 0; n < num_layers_; ++n) {
      kernel_->Project(n, batch, first, count, projected, *workspace);
      kernel_->Finish(n, batch, first, count, projected, *workspace);
    }
  });
}

void FusedBert::SharedCaptions(const Kernel::Batch& batch, int64_t rows, float* projected,
                               float* projected_next) {
  const int64_t parts = std::clamp<int64_t>(rows / kFewestRows, 1, team_->size());
  float* const buffers[] = {projected, projected_next};
  team_->RunPhases(num_layers_ + 1, parts, [&](int64_t phase, int64_t part) {
    const int64_t first = rows * part / parts;
    const int count = static_cast<int>(rows * (part + 1) / parts - first);
    const auto workspace = TakeWorkspace();
    const int layer = static_cast<int>(phase);
    if (layer > 0) {
      kernel_->Finish(layer - 1, batch, first, count, buffers[(layer - 1) % 2], *workspace);
    }
    // The next layer's projections already, while other parts still read this one's.
    if (layer < num_layers_) {
      kernel_->Project(layer, batch, first, count, buffers[layer % 2], *workspace);
    }
  });
}

}  // namespace dime
