#ifndef DIME_MODEL_DIME_MODEL_H_
#define DIME_MODEL_DIME_MODEL_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "model/caption_encoder.h"
#include "model/image_encoder.h"
#include "model/model_info.h"
#include "model/pair_explainer.h"
#include "model/pair_scorer.h"

namespace dime {

// What a program's --scorer option may be (DimeModel::Options::scorer), and its help.
inline constexpr const char* kScorerNames[] = {"auto",        "modules", "amx",      "avx512_bf16",
                                               "avx512_vnni", "avx512",  "avx_vnni", "avx2",
                                               "avx2_int8",   "cuda"};
inline constexpr char kScorerHelp[] =
    "What scores pairs and, on a CPU, encodes captions: modules (float32); on a CPU kernels, in "
    "bfloat16 (amx, avx512_bf16), in float32 (avx512, avx2), or in float32 with linear layers in "
    "bytes (avx512_vnni, avx_vnni, avx2_int8); on a CUDA device cuda (bfloat16); or auto, on a CPU "
    "the first that it has of amx, avx512_vnni, avx512, avx512_bf16, avx_vnni, avx2, modules, but "
    "avx512_bf16 before avx512_vnni on AMD's processors";

// A model directory, loaded: DIME's encoders and its pair scorer on one device, behind interfaces
// that carry no LibTorch types. Thread-safe.
class DimeModel {
 public:
  struct Options {
    // "cpu", "cuda", "cuda:N", or "auto": the first CUDA device if there is one, else the CPU.
    std::string device = "auto";
    // What scores pairs: "modules", float32, the yardstick; on a CPU the kernels (see KernelScorer)
    // on these instructions, "amx" or "avx512_bf16" in bfloat16, "avx512" or "avx2" in float32,
    // "avx512_vnni", "avx_vnni" or "avx2_int8" in float32 but for bytes in linear layers; on a CUDA
    // device "cuda" (see CudaScorer); "auto", on a CPU the first of PreferredInstructions() that
    // the processor has, else the modules. The CPU's kernels compute the layers of captions' BERT
    // too: see kernels::TransformerKernel for how these round.
    std::string scorer = "auto";
    int scorer_threads = 0;  // of the kernels; 0: one for each core that the process may use
  };
  // NOT_FOUND, INVALID_ARGUMENT (naming files, and every missing, unexpected or wrongly shaped
  // tensor) or FAILED_PRECONDITION (a device or instructions that are not there).
  static absl::StatusOr<std::unique_ptr<DimeModel>> Load(const std::string& directory,
                                                         const Options& options);
  virtual ~DimeModel() = default;

  virtual const ModelInfo& info() const = 0;
  virtual const CaptionEncoder& caption_encoder() const = 0;
  virtual const ImageEncoder& image_encoder() const = 0;
  virtual const PairScorer& pair_scorer() const = 0;
  virtual const PairExplainer& pair_explainer() const = 0;
};

}  // namespace dime

#endif  // DIME_MODEL_DIME_MODEL_H_
