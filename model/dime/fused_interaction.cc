#include "model/dime/fused_interaction.h"

#include <c10/core/impl/LocalDispatchKeySet.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/dime/interaction_weights_reader.h"
#include "model/dime/mixed_precision.h"
#include "model/dime/routing_layer.h"
#include "model/dime/tensor_ops.h"
#include "model/dime/torch_threads.h"
#include "model/kernels/training_kernel.h"

namespace dime {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The differentiable arguments of one call, in the order of kernels::TrainingArrays.
constexpr int kNumArrays = 8;

// What a call's passes need besides them. Immutable once the forward pass is under way.
struct PairCall : torch::CustomClassHolder {
  std::unique_ptr<kernels::TrainingKernel> kernel;
  std::unique_ptr<kernels::TrainingKernel::Step> step;  // borrows the arguments
  std::vector<kernels::TrainingPair> pairs;
  torch::Tensor context_rows;  // (contexts) int64
  torch::Tensor guide_sign;    // (contexts, E)
};

template <class Value>
kernels::TrainingArrays<Value> ToArrays(const variable_list& tensors) {
  const auto data = [&](int i) -> Value* { return tensors[i].data_ptr<float>(); };
  return {data(0), data(1), data(2), data(3), data(4), data(5), data(6), data(7)};
}

kernels::TrainingInputs ToInputs(const PairCall& call, const variable_list& tensors) {
  kernels::TrainingInputs inputs{ToArrays<const float>(tensors)};
  inputs.num_contexts = static_cast<int>(call.context_rows.size(0));
  inputs.context_rows = call.context_rows.data_ptr<int64_t>();
  inputs.guide_sign = call.guide_sign.data_ptr<float>();
  return inputs;
}

// Gradients that parts may hold before they are added up.
constexpr int64_t kGradientBytes = int64_t{2} << 30;
// Pairs below which a part is not worth its memory.
constexpr int64_t kLeastPairs = 8;

// Into how many parts a call's pairs are divided: as many as LibTorch has threads, but at most
// `most`.
int64_t NumParts(const PairCall& call, int64_t most) {
  const auto pairs = static_cast<int64_t>(call.pairs.size());
  most = std::min({most, int64_t{at::get_num_threads()}, (pairs + kLeastPairs - 1) / kLeastPairs});
  return std::max<int64_t>(most, 1);
}

// Calls body(part, first, count) for so many parts of the pairs, the same ones in every call, from
// several threads.
template <class Body>
void ForParts(const PairCall& call, int64_t parts, Body&& body) {
  const auto pairs = static_cast<int64_t>(call.pairs.size());
  RunOnTorchThreads(parts, [&](int64_t part) {
    const int64_t first = pairs * part / parts;
    body(part, first, static_cast<int>(pairs * (part + 1) / parts - first));
  });
}

// Each tensor's rows from `first` on, in PairSummaries' order.
template <class Value>
kernels::PairSummaries<Value> SummariesFrom(const variable_list& tensors, int64_t first) {
  const auto data = [&](int i) -> Value* {
    return tensors[i].data_ptr<float>() + first * tensors[i].size(1);
  };
  return {data(0), data(1), data(2), data(3), data(4)};
}

// kernels::TrainingKernel as a function of its arrays.
class PairFunction : public torch::autograd::Function<PairFunction> {
 public:
  static variable_list forward(AutogradContext* context, const c10::intrusive_ptr<PairCall>& call,
                               const torch::Tensor& weights, const torch::Tensor& local,
                               const torch::Tensor& base, const torch::Tensor& guided,
                               const torch::Tensor& guided_share,
                               const torch::Tensor& refined_share,
                               const torch::Tensor& other_context, const torch::Tensor& projected) {
    variable_list arrays = {weights,      local,         base,          guided,
                            guided_share, refined_share, other_context, projected};
    for (torch::Tensor& array : arrays) array = array.contiguous();
    const auto pairs = static_cast<int64_t>(call->pairs.size());
    const int64_t width = local.size(-1);
    variable_list summaries;
    for (int i = 0; i < 4; ++i) summaries.push_back(torch::empty({pairs, width}));
    summaries.push_back(torch::empty({pairs, kNumPathWeights - kNumCells * kNumCells}));

    call->step = call->kernel->MakeStep(ToInputs(*call, arrays));
    ForParts(*call, NumParts(*call, pairs), [&](int64_t, int64_t first, int count) {
      const auto workspace = call->kernel->MakeWorkspace();
      call->kernel->Forward(*call->step, call->pairs.data() + first, count,
                            SummariesFrom<float>(summaries, first), *workspace);
    });
    context->save_for_backward(arrays);
    context->saved_data["call"] = c10::IValue::make_capsule(call);
    return summaries;
  }

  static variable_list backward(AutogradContext* context, variable_list given) {
    TORCH_CHECK(!torch::GradMode::is_enabled(),
                "gradients of fused scores cannot be differentiated further; score by the modules");
    const variable_list arrays = context->get_saved_variables();
    const auto call =
        c10::static_intrusive_pointer_cast<PairCall>(context->saved_data["call"].toCapsule());
    for (torch::Tensor& gradient : given) gradient = gradient.contiguous();

    int64_t bytes = 0;
    for (const torch::Tensor& array : arrays) bytes += static_cast<int64_t>(array.nbytes());
    const int64_t parts = NumParts(*call, kGradientBytes / bytes);
    std::vector<variable_list> gradients(parts);  // of each part's pairs
    ForParts(*call, parts, [&](int64_t part, int64_t first, int count) {
      for (const torch::Tensor& array : arrays) {
        gradients[part].push_back(torch::zeros(array.sizes()));
      }
      const auto workspace = call->kernel->MakeWorkspace();
      call->kernel->Backward(*call->step, call->pairs.data() + first, count,
                             SummariesFrom<const float>(given, first),
                             ToArrays<float>(gradients[part]), *workspace);
    });
    variable_list sums = {torch::Tensor()};  // of `call`
    for (int i = 0; i < kNumArrays; ++i) {
      for (int64_t part = 1; part < parts; ++part) gradients[0][i].add_(gradients[part][i]);
      sums.push_back(gradients[0][i]);
    }
    return sums;
  }
};

// The interaction's parameters as kernels::TrainingLayout has them, by their names.
torch::Tensor FlatWeights(const InteractionImpl& interaction) {
  const auto parameters = interaction.named_parameters();
  std::vector<torch::Tensor> parts;
  const auto add = [&](const std::string& name) { parts.push_back(parameters[name].flatten()); };
  const auto add_linear = [&](const std::string& name) {
    add(name + ".weight");
    add(name + ".bias");
  };
  for (int n = 0; n < kNumRoutingLayers; ++n) {
    const std::string layer = absl::StrCat("dynamic_itr_l", n, ".");
    if (n > 0) {
      for (const char* cell : kCellModules) {
        add_linear(absl::StrCat(layer, cell, ".router.mlp.0"));
        add_linear(absl::StrCat(layer, cell, ".router.mlp.2"));
      }
      add_linear(layer + "glgc.fc_1");
      for (const char* part : {".weight", ".bias"}) {
        for (int i = 0; i < 3; ++i) {
          add(absl::StrCat(layer, "imrc.sa.att_layer.linears.", i, part));
        }
      }
      add_linear(layer + "imrc.sa.feed_forward_layer.fc1");
      add_linear(layer + "imrc.sa.feed_forward_layer.fc2");
    }
    add_linear(layer + "cmrc.refine.fc_1");
    add_linear(layer + "cmrc.refine.fc_2");
  }
  return torch::cat(parts);
}

// Linear_scale and Linear_shift of all layers on the context, as one product: (items, C, E) ->
// (items, C, 6 E), in kernels::TrainingArrays' order. Linear(P C) = P Linear(C), because the rows
// of P sum to one.
torch::Tensor ProjectContext(const InteractionImpl& interaction, const torch::Tensor& context) {
  const auto parameters = interaction.named_parameters();
  std::vector<torch::Tensor> weights, biases;
  for (int n = 0; n < kNumRoutingLayers; ++n) {
    for (const char* name : {"scale", "shift"}) {
      const std::string linear = absl::StrCat("dynamic_itr_l", n, ".cmrc.refine.fc_", name);
      weights.push_back(parameters[linear + ".weight"]);
      biases.push_back(parameters[linear + ".bias"]);
    }
  }
  return torch::linear(context, torch::cat(weights), torch::cat(biases));
}

// The last layer's output Y after batch normalisation, mean + maximum over its positions, from what
// PairSummaries keeps of each pair: (pairs, E). Normalisation is a product and a sum for each
// channel, so that the maximum is that of Y, or where the factor is negative the minimum.
torch::Tensor NormalizeAndPool(torch::nn::BatchNorm1dImpl& norm, const torch::Tensor& mean,
                               const torch::Tensor& maximum, const torch::Tensor& minimum,
                               const torch::Tensor& spread, int64_t positions) {
  torch::Tensor center = norm.running_mean, variance = norm.running_var;
  if (norm.is_training()) {
    center = mean.mean(0);
    variance = spread.mean(0) + (mean - center).square().mean(0);
    torch::NoGradGuard no_grad;
    const auto count = static_cast<double>(mean.size(0) * positions);
    TORCH_CHECK(count > 1 && norm.options.momentum().has_value(),
                "batch normalisation needs more than one value a channel, and a momentum");
    const double share = *norm.options.momentum();
    norm.running_mean.lerp_(center, share);
    norm.running_var.lerp_(variance * (count / (count - 1)), share);
    norm.num_batches_tracked += 1;
  }
  const torch::Tensor factor = norm.weight * torch::rsqrt(variance + norm.options.eps());
  const torch::Tensor highest = torch::where(factor >= 0, maximum, minimum);
  return factor * (mean + highest) + 2 * (norm.bias - factor * center);
}

// What the kernels multiply by in this thread, if by anything.
std::optional<kernels::Instructions> KernelInstructions() {
  return MixedPrecision::IsOn(torch::kCPU) ? kernels::SupportedBf16() : kernels::SupportedFloat32();
}

}  // namespace

bool CanFuseScores(const PairedItems& items) {
  const auto fits = [](const torch::Tensor& x) {
    return x.is_cpu() &&
           (x.scalar_type() == torch::kFloat32 ||
            (x.scalar_type() == torch::kBFloat16 && MixedPrecision::IsOn(torch::kCPU)));
  };
  return KernelInstructions().has_value() && fits(items.regions) && fits(items.words) &&
         fits(items.image) && fits(items.sentence) && items.word_lengths.is_cpu();
}

InteractionImpl::Output FusedScores(DirectionModelImpl& model, const PairedItems& items,
                                    const std::vector<ImageCaptionPair>& pairs,
                                    std::optional<kernels::Instructions> instructions) {
  TORCH_CHECK(CanFuseScores(items), "these items' scores cannot be fused");
  if (!instructions.has_value()) instructions = KernelInstructions();
  // What is left to the modules is work of single items, which all of an item's pairs share: in
  // float32 in mixed precision too.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::DispatchKey::AutocastCPU);
  TORCH_CHECK(!pairs.empty(), "no pairs to score");
  TORCH_CHECK(items.word_lengths.ge(1)
                  .logical_and(items.word_lengths.le(items.words.size(1)))
                  .all()
                  .item<bool>(),
              "captions' lengths must be 1 to ", items.words.size(1));
  InteractionImpl& interaction = *model.interaction;
  const bool refines_regions = model.direction() == Direction::kI2t;
  const int64_t regions = items.regions.size(1), words = items.words.size(1);
  const auto float32 = [](const torch::Tensor& x) { return x.to(torch::kFloat32); };
  const torch::Tensor local = float32(refines_regions ? items.regions : items.words);
  const torch::Tensor context = float32(refines_regions ? items.words : items.regions);
  const torch::Tensor guide = float32(refines_regions ? items.sentence : items.image);

  auto call = c10::make_intrusive<PairCall>();
  call->kernel = kernels::TrainingKernel::Create(
      KernelShape(model, static_cast<int>(regions), static_cast<int>(words)), *instructions);
  call->guide_sign = torch::sign(guide.detach()).contiguous();
  call->context_rows = refines_regions
                           ? items.word_lengths.to(torch::kLong).clone()
                           : torch::full({context.size(0)}, context.size(1), torch::kLong);
  torch::Tensor local_rows = torch::empty({static_cast<int64_t>(pairs.size())}, torch::kLong);
  torch::Tensor guide_rows = torch::empty_like(local_rows);
  call->pairs.reserve(pairs.size());
  for (size_t p = 0; p < pairs.size(); ++p) {
    TORCH_CHECK(pairs[p].image >= 0 && pairs[p].image < items.regions.size(0) &&
                    pairs[p].caption >= 0 && pairs[p].caption < items.words.size(0),
                "pair ", p, " is of items that are not there");
    const int64_t own = refines_regions ? pairs[p].image : pairs[p].caption;
    const int64_t other = refines_regions ? pairs[p].caption : pairs[p].image;
    call->pairs.push_back({.local = static_cast<int>(own), .context = static_cast<int>(other)});
    local_rows.data_ptr<int64_t>()[p] = own;
    guide_rows.data_ptr<int64_t>()[p] = other;
  }

  const RoutingLayerImpl::LocalPart first = interaction.layer(0).ForwardLocal(local);
  const variable_list summaries = PairFunction::apply(
      call, FlatWeights(interaction), local, first.base, first.guided, first.guided_share,
      first.refined_share, context, ProjectContext(interaction, context));

  const torch::Tensor pooled =
      NormalizeL2(NormalizeAndPool(interaction.batch_norm(), summaries[0], summaries[1],
                                   summaries[2], summaries[3], local.size(1)),
                  -1);
  return {.scores = (pooled * guide.index_select(0, guide_rows)).sum(-1),
          .path_weights =
              torch::cat({first.path_weights.index_select(0, local_rows), summaries[4]}, -1)};
}

}  // namespace dime
