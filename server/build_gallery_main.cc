// dime_build_gallery: makes a gallery out of a data set and a model. See --help.
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "index/build_info.h"
#include "index/precomputed_dataset.h"
#include "index/status_macros.h"
#include "model/dime_model.h"
#include "model/first_stage.h"
#include "server/gallery_import.h"
#include "server/program_error.h"

namespace dime {
namespace {

constexpr char kProgram[] = "dime_build_gallery";

struct Flags {
  std::string model;
  std::string directory;
  std::string split;
  std::string tsv;
  std::string out;
  std::string device = "auto";
  std::string scorer = "auto";
  std::string form = "float32";
  GalleryImporter::Options import;
};

void DefineFlags(CLI::App& app, Flags& flags) {
  app.set_version_flag("--version", VersionText("dime_build_gallery"));
  app.footer(kExitCodesHelp);
  app.add_option("--model", flags.model, "Model directory")->required();
  CLI::Option* data = app.add_option(
      "--data", flags.directory,
      "Directory in the precomputed layout: SPLIT_ims.npy, SPLIT_caps.txt and, where they are "
      "known, SPLIT_boxes.npy and SPLIT_ids.txt or SPLIT_meta.json");
  CLI::Option* split = app.add_option("--split", flags.split, "Split of --data, such as test");
  data->needs(split);
  split->needs(data);
  CLI::Option* tsv =
      app.add_option("--tsv", flags.tsv, "Bottom-up-attention TSV: images without captions");
  tsv->excludes(data);
  app.add_option("--out", flags.out, "Gallery directory to make")->required();
  app.add_option("--device", flags.device, "cpu, cuda, cuda:N or auto")->capture_default_str();
  app.add_option("--scorer", flags.scorer, kEncodeByHelp)
      ->check(
          CLI::IsMember(std::vector<std::string>(std::begin(kScorerNames), std::end(kScorerNames))))
      ->capture_default_str();
  app.add_option(
         "--index", flags.import.index.factory,
         "Coarse index, by FAISS factory string: Flat (loses nothing), SQfp16, SQ8 (less "
         "memory), IVF1024,SQfp16 (1024 lists, of which a search probes some), HNSW32 "
         "(graph), ...; auto: Flat to 50,000 items, above that IVF with about 4 sqrt(items) "
         "lists. See benchmarks/README.md")
      ->capture_default_str();
  app.add_option("--batch", flags.import.batch, "Items encoded at once")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app.add_flag("--overwrite", flags.import.overwrite, "Replace a gallery that is there already");
  CLI::Option* living = app.add_flag(
      "--living", flags.import.living,
      "Make a living gallery, which is written to while it is served; without --data and --tsv an "
      "empty one");
  app.add_option("--feature-form", flags.form,
                 "How a living gallery keeps local features: float32, bfloat16 (half the size) or "
                 "int8 (a quarter); see benchmarks/README.md for what that costs")
      ->check(CLI::IsMember({"float32", "bfloat16", "int8"}))
      ->capture_default_str()
      ->needs(living);
  app.add_flag("--keep-raw", flags.import.keep_raw,
               "A living gallery keeps the region features that images are encoded from as well, "
               "so that dime_rebuild can encode it for another model: 4 x regions x feature width "
               "bytes an image")
      ->needs(living);
}

absl::Status Build(const Flags& flags) {
  std::unique_ptr<PrecomputedDataset> dataset;
  if (!flags.directory.empty()) {  // before the model, which takes longer to load
    ASSIGN_OR_RETURN(dataset, PrecomputedDataset::Open(flags.directory, flags.split));
  }
  std::cerr << "loading model " << flags.model << " ..." << std::endl;
  ASSIGN_OR_RETURN(const std::unique_ptr<DimeModel> model,
                   DimeModel::Load(flags.model, {.device = flags.device, .scorer = flags.scorer}));
  std::cerr << DescribeFirstStage(model->info()) << std::endl;
  const GalleryImporter importer(model->info(), &model->caption_encoder(), &model->image_encoder(),
                                 flags.import);
  RETURN_IF_ERROR(dataset != nullptr   ? importer.ImportDataset(*dataset, flags.out)
                  : !flags.tsv.empty() ? importer.ImportTsv(flags.tsv, flags.out)
                                       : importer.MakeEmpty(flags.out));
  std::cout << "gallery " << flags.out << " is ready: dime_server --model " << flags.model
            << " --gallery " << flags.out << std::endl;
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "Encodes a data set's images and captions by a model, and makes the gallery that "
      "dime_server serves.",
      kProgram);
  DefineFlags(app, flags);
  try {
    app.parse(argc, argv);
    flags.import.form = *ParseFeatureForm(flags.form);
    if (flags.tsv.empty() && flags.directory.empty() && !flags.import.living) {
      throw CLI::RequiredError("--data with --split, or --tsv");
    }
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? static_cast<int>(ProgramExit::kOk)
                                : static_cast<int>(ProgramExit::kUsage);
  }
  const absl::Status status = Build(flags);
  return status.ok() ? static_cast<int>(ProgramExit::kOk) : ReportError(kProgram, status);
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) { return dime::Main(argc, argv); }
