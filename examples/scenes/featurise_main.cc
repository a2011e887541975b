// scenes_featurise IN.png... --out F.npy
//
// Region features of pictures, in the form that `dime search-captions --features F.npy --row N`
// and the gallery builder read: (pictures, 36, 288) float32.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "examples/scenes/featuriser.h"
#include "examples/scenes/picture.h"
#include "index/npy_file.h"
#include "index/status_macros.h"

namespace dime::scenes {
namespace {

absl::Status Run(const std::vector<std::string>& pictures, const std::string& out) {
  ASSIGN_OR_RETURN(const std::unique_ptr<NpyWriter> writer,
                   NpyWriter::Create(out, {Featuriser::kRegions, Featuriser::kDimension}));
  const Featuriser featuriser;
  for (const std::string& path : pictures) {
    ASSIGN_OR_RETURN(const Picture picture,
                     ReadPng(path, Featuriser::kPicturePixels, Featuriser::kPicturePixels));
    ASSIGN_OR_RETURN(const std::vector<float> features, featuriser.Featurise(picture));
    RETURN_IF_ERROR(writer->Append(features));
  }
  return writer->Finish();
}

}  // namespace
}  // namespace dime::scenes

int main(int argc, char** argv) {
  std::vector<std::string> pictures;
  std::string out;
  CLI::App app{"Computes the sample world's region features of pictures."};
  app.add_option("pictures", pictures, "PNG files; scaled to 120 x 120 pixels")->required();
  app.add_option("--out", out, "The .npy file to write, one row a picture")->required();
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = dime::scenes::Run(pictures, out); !status.ok()) {
    std::fprintf(stderr, "scenes_featurise: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  return 0;
}
