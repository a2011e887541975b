#include "model/dime/interaction_weights_reader.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "model/dime/cross_modal_refinement_cell.h"
#include "model/local_side.h"

namespace dime {
namespace {

kernels::ScoreNorm ToScoreNorm(AttentionNorm norm) {
  switch (norm) {
    case AttentionNorm::kClippedL2:
      return kernels::ScoreNorm::kClippedL2;
    case AttentionNorm::kL2:
      return kernels::ScoreNorm::kL2;
    case AttentionNorm::kClippedL1:
      return kernels::ScoreNorm::kClippedL1;
    case AttentionNorm::kL1:
      return kernels::ScoreNorm::kL1;
    case AttentionNorm::kClipped:
      return kernels::ScoreNorm::kClipped;
    case AttentionNorm::kNone:
      return kernels::ScoreNorm::kNone;
    case AttentionNorm::kSoftmax:
      return kernels::ScoreNorm::kSoftmax;
  }
  return kernels::ScoreNorm::kClippedL2;
}

}  // namespace

kernels::InteractionShape KernelShape(const DirectionModelImpl& model, int num_regions,
                                      int max_words) {
  kernels::InteractionShape shape;
  const bool refines_regions = IsLocal(Modality::kImage, model.direction());
  shape.positions = refines_regions ? num_regions : max_words;
  shape.max_context = refines_regions ? max_words : num_regions;
  const DirectionConfig& config = model.config();
  AttentionNorm norm;
  TORCH_CHECK(ParseAttentionNorm(config.raw_feature_norm, &norm), "unknown raw_feature_norm");
  shape.embed_size = config.embed_size;
  shape.num_heads = config.num_heads;
  shape.feed_forward_size = config.feed_forward_size;
  shape.router_size = config.router_size;
  shape.norm = ToScoreNorm(norm);
  shape.lambda = static_cast<float>(config.lambda_softmax);
  return shape;
}

InteractionWeightsReader::InteractionWeightsReader(const DirectionModelImpl& model, int num_regions,
                                                   int max_words)
    : shape(KernelShape(model, num_regions, max_words)) {
  const auto parameters = model.interaction->named_parameters();
  const auto buffers = model.interaction->named_buffers();
  const auto keep = [this](const torch::Tensor& tensor) {
    tensors_.push_back(tensor.detach().to(torch::kCPU, torch::kFloat32).contiguous());
    return tensors_.back().data_ptr<float>();
  };
  const auto linear = [&](const std::string& name) {
    const torch::Tensor& weight = parameters[name + ".weight"];
    kernels::LinearWeights read;
    read.out = static_cast<int>(weight.size(0));
    read.in = static_cast<int>(weight.size(1));
    read.weight = keep(weight);
    read.bias = keep(parameters[name + ".bias"]);
    return read;
  };
  for (int n = 0; n < kNumRoutingLayers; ++n) {
    kernels::LayerWeights& layer = weights.layers[n];
    const std::string prefix = absl::StrCat("dynamic_itr_l", n, ".");
    for (int j = 0; j < kNumCells; ++j) {
      const std::string router = absl::StrCat(prefix, kCellModules[j], ".router.mlp.");
      layer.routers[j] = {.hidden = linear(router + "0"), .output = linear(router + "2")};
    }
    layer.guidance = linear(prefix + "glgc.fc_1");
    const std::string attention = prefix + "imrc.sa.att_layer.linears.";
    layer.query = linear(attention + "0");
    layer.key = linear(attention + "1");
    layer.value = linear(attention + "2");
    layer.feed_in = linear(prefix + "imrc.sa.feed_forward_layer.fc1");
    layer.feed_out = linear(prefix + "imrc.sa.feed_forward_layer.fc2");
    layer.scale = linear(prefix + "cmrc.refine.fc_scale");
    layer.shift = linear(prefix + "cmrc.refine.fc_shift");
    layer.refine_in = linear(prefix + "cmrc.refine.fc_1");
    layer.refine_out = linear(prefix + "cmrc.refine.fc_2");
  }
  const torch::Tensor scale =
      parameters["bn.weight"] /
      torch::sqrt(buffers["bn.running_var"] + 1e-5);  // dime-model.md, notation
  weights.norm_scale = keep(scale);
  weights.norm_shift = keep(parameters["bn.bias"] - buffers["bn.running_mean"] * scale);
}

}  // namespace dime
