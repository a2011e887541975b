// The device's kernels without LibTorch, so that ThreadSanitizer sees them: on the emulator,
// against the CPU's kernels in float32. That they agree with the modules is cuda_scorer_test's to
// tell.
#include "model/cuda/device_kernel.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/kernels/array.h"
#include "model/kernels/instructions.h"
#include "model/kernels/interaction_kernel.h"
#include "tests/model/cuda/random_weights.h"

namespace dime::cuda {
namespace {

using kernels::InteractionShape;
using kernels::InteractionWeights;
using kernels::ScoreNorm;

// Pairs of each of some local items with each of some contexts, contexts of different lengths.
class Pairs {
 public:
  static constexpr int kLocals = 3, kContexts = 2;

  Pairs(const InteractionShape& shape, RandomWeights& random) : shape_(shape) {
    local_ = random.Values(kLocals * shape.positions * shape.embed_size, 0.3f);
    context_ = random.Values(kContexts * shape.max_context * shape.embed_size, 0.3f);
    global_ = random.Values(kContexts * shape.embed_size, 0.3f);
  }

  std::vector<float> ScoreOnDevice(const InteractionWeights& weights,
                                   const EmulatorOptions& options) const {
    auto made = MakeEmulatedKernel(shape_, weights, options);
    EXPECT_TRUE(made.ok()) << made.status();
    DeviceKernel& kernel = **made;
    const auto blocks = [&kernel](int count, size_t bytes) {
      std::vector<DeviceBytes> allocated;
      for (int i = 0; i < count; ++i) allocated.push_back(*kernel.Allocate(bytes));
      return allocated;
    };
    const std::vector<DeviceBytes> locals = blocks(kLocals, kernel.local_bytes());
    const std::vector<DeviceBytes> contexts = blocks(kContexts, kernel.context_bytes());
    EXPECT_TRUE(kernel
                    .PrepareLocals(
                        {.count = kLocals, .positions = shape_.positions, .local = local_}, locals)
                    .ok());
    EXPECT_TRUE(kernel
                    .PrepareContexts({.count = kContexts,
                                      .positions = shape_.max_context,
                                      .local = context_,
                                      .global = global_,
                                      .lengths = lengths().data()},
                                     contexts)
                    .ok());
    std::vector<DeviceBytes> local_of, context_of;
    for (int i = 0; i < kLocals * kContexts; ++i) {
      local_of.push_back(locals[static_cast<size_t>(i / kContexts)]);
      context_of.push_back(contexts[static_cast<size_t>(i % kContexts)]);
    }
    std::vector<float> scores(kLocals * kContexts), paths(scores.size() * 36);
    EXPECT_TRUE(
        kernel.Score(local_of, context_of, absl::MakeSpan(scores), absl::MakeSpan(paths)).ok());
    for (const auto& allocated : {locals, contexts}) {
      for (const DeviceBytes block : allocated) kernel.Free(block);
    }
    return scores;
  }

  std::vector<float> ScoreOnCpu(const InteractionWeights& weights,
                                kernels::Instructions instructions) const {
    const auto kernel = kernels::InteractionKernel::Create(shape_, weights, instructions);
    const auto workspace = kernel->MakeWorkspace();
    kernels::Slab slab;
    kernels::Array<unsigned char> locals[kLocals], contexts[kContexts];
    for (int i = 0; i < kLocals; ++i) {
      locals[i].Resize(static_cast<int64_t>(kernel->local_bytes()), slab);
      kernel->PrepareLocal(local_ + i * shape_.positions * shape_.embed_size, locals[i].get(),
                           *workspace);
    }
    for (int i = 0; i < kContexts; ++i) {
      const int rows = lengths()[static_cast<size_t>(i)];
      contexts[i].Resize(static_cast<int64_t>(kernel->context_bytes(rows)), slab);
      kernel->PrepareContext(context_ + i * shape_.max_context * shape_.embed_size, rows,
                             global_ + i * shape_.embed_size, contexts[i].get(), *workspace);
    }
    std::vector<kernels::PreparedPair> pairs;
    for (int i = 0; i < kLocals * kContexts; ++i) {
      pairs.push_back({locals[i / kContexts].get(), contexts[i % kContexts].get()});
    }
    std::vector<float> scores(pairs.size());
    kernel->Score(pairs.data(), static_cast<int>(pairs.size()), scores.data(), nullptr, *workspace);
    return scores;
  }

 private:
  std::vector<int32_t> lengths() const { return {shape_.max_context, shape_.max_context / 2 + 1}; }

  const InteractionShape shape_;
  const float *local_, *context_, *global_;
};

class DeviceKernelTest : public testing::TestWithParam<InteractionShape> {};

TEST_P(DeviceKernelTest, ScoresAsTheCpuByTilesOfAnySize) {
  RandomWeights random(GetParam());
  const Pairs pairs(GetParam(), random);
  const std::optional<kernels::Instructions> cpu = kernels::SupportedFloat32();
  if (!cpu.has_value()) GTEST_SKIP() << "no kernels for this CPU";
  const std::vector<float> expected = pairs.ScoreOnCpu(random.weights(), *cpu);
  for (const TileProducts products : {TileProducts::kWarps, TileProducts::kWarpgroups}) {
    SCOPED_TRACE(products == TileProducts::kWarps ? "by warps" : "by warpgroups");
    EmulatorOptions options = {.max_items = Pairs::kLocals * Pairs::kContexts,
                               .products = products};
    const std::vector<float> scores = pairs.ScoreOnDevice(random.weights(), options);
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(scores[i], expected[i], 0.01f) << i;
    options.processors = 1000;  // each to have a small tile
    options.descending = true;
    EXPECT_EQ(pairs.ScoreOnDevice(random.weights(), options), scores);
  }
}

InteractionShape MakeShape(int positions, int max_context, int embed_size, int num_heads,
                           ScoreNorm norm) {
  return {.positions = positions,
          .max_context = max_context,
          .embed_size = embed_size,
          .num_heads = num_heads,
          .feed_forward_size = embed_size + 8,
          .router_size = 40,
          .norm = norm};
}

// Numbers of blocks of 16 positions that attention is compiled for, items that fill tiles and that
// do not, alone or several; channels of a head in whole vectors, in words and by themselves; chunks
// of 64 columns of weights, of 128 and of 192.
INSTANTIATE_TEST_SUITE_P(Shapes, DeviceKernelTest,
                         testing::Values(MakeShape(5, 9, 32, 2, ScoreNorm::kClippedL2),
                                         MakeShape(20, 33, 27, 3, ScoreNorm::kSoftmax),
                                         MakeShape(36, 20, 64, 8, ScoreNorm::kL1),
                                         MakeShape(41, 32, 128, 8, ScoreNorm::kClippedL1),
                                         MakeShape(64, 5, 32, 2, ScoreNorm::kNone),
                                         MakeShape(70, 17, 30, 5, ScoreNorm::kClipped),
                                         MakeShape(100, 3, 32, 1, ScoreNorm::kL2)),
                         [](const auto& info) {
                           return std::to_string(info.param.positions) + "Positions";
                         });

}  // namespace
}  // namespace dime::cuda
