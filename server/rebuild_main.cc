// dime_rebuild: encodes a living gallery for another model. See --help.
#include <algorithm>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "index/build_info.h"
#include "index/progress_bar.h"
#include "index/status_macros.h"
#include "index/store_gallery.h"
#include "model/dime_model.h"
#include "server/gallery_import.h"
#include "server/item_sink.h"
#include "server/program_error.h"

namespace dime {
namespace {

constexpr char kProgram[] = "dime_rebuild";

struct Flags {
  std::string gallery;
  std::string model;
  std::string out;
  std::string device = "auto";
  std::string scorer = "auto";
  std::string form;
  int64_t batch = 64;
  bool captions_only = false;
  bool drop_raw = false;
};

void DefineFlags(CLI::App& app, Flags& flags) {
  app.set_version_flag("--version", VersionText("dime_rebuild"));
  app.footer(kExitCodesHelp);
  app.add_option("--gallery", flags.gallery,
                 "Living gallery to read; it must not be served meanwhile (a snapshot may be read "
                 "instead)")
      ->required();
  app.add_option("--model", flags.model, "Model directory to encode it for")->required();
  app.add_option("--out", flags.out, "Living gallery to make; must not be there")->required();
  app.add_option("--device", flags.device, "cpu, cuda, cuda:N or auto")->capture_default_str();
  app.add_option("--scorer", flags.scorer, kEncodeByHelp)
      ->check(
          CLI::IsMember(std::vector<std::string>(std::begin(kScorerNames), std::end(kScorerNames))))
      ->capture_default_str();
  app.add_option("--batch", flags.batch, "Items encoded at once")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app.add_option("--feature-form", flags.form,
                 "float32, bfloat16 or int8 (default: the old gallery's)")
      ->check(CLI::IsMember({"float32", "bfloat16", "int8"}));
  app.add_flag("--captions-only", flags.captions_only,
               "Leave the images out, as must be where raw region features were not kept");
  app.add_flag("--drop-raw", flags.drop_raw, "The new gallery keeps no raw region features");
}

// What of the gallery can be encoded again, and what that took to keep.
absl::Status CheckSource(const Flags& flags, const StoreGallery& gallery, const GalleryView& view,
                         const ModelInfo& model) {
  const LivingManifest& manifest = gallery.manifest();
  const int64_t images = view.size(Modality::kImage);
  if (manifest.raw_feature_dim == 0) {
    if (images == 0 || flags.captions_only) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(
        "gallery ", flags.gallery, " kept no raw region features, so that its ", images,
        " images cannot be encoded for another model. Build it from its source (dime_build_gallery "
        "--living --keep-raw), or take its captions alone (--captions-only)"));
  }
  const int regions = view.shape(Modality::kImage).positions;
  const double bytes = 4.0 * regions * manifest.raw_feature_dim;
  std::cerr << absl::StrFormat(
      "raw region features were kept: %d x %d float32, %.0f bytes an image, %.2f GB for %d "
      "images\n",
      regions, manifest.raw_feature_dim, bytes, bytes * static_cast<double>(images) / 1e9, images);
  if (images > 0 && !flags.captions_only &&
      (regions != model.num_regions || manifest.raw_feature_dim != model.feature_dim)) {
    return absl::FailedPreconditionError(
        absl::StrCat("gallery ", flags.gallery, " kept ", regions, " x ", manifest.raw_feature_dim,
                     " region features an image; model ", model.name, " takes ", model.num_regions,
                     " x ", model.feature_dim, ". Its images must be featurised anew"));
  }
  return absl::OkStatus();
}

absl::Status Rebuild(const Flags& flags) {
  StoreGallery::Options options;
  options.background_merges = false;
  ASSIGN_OR_RETURN(const std::unique_ptr<StoreGallery> gallery,
                   StoreGallery::Open(flags.gallery, options));
  const std::shared_ptr<const GalleryView> view = gallery->Pin();
  std::cerr << "loading model " << flags.model << " ..." << std::endl;
  ASSIGN_OR_RETURN(const std::unique_ptr<DimeModel> model,
                   DimeModel::Load(flags.model, {.device = flags.device, .scorer = flags.scorer}));
  RETURN_IF_ERROR(CheckSource(flags, *gallery, *view, model->info()));

  LivingManifest manifest = LivingManifestOf(model->info());
  manifest.index = gallery->manifest().index;
  manifest.form = flags.form.empty() ? gallery->manifest().form : *ParseFeatureForm(flags.form);
  const bool keeps_raw = gallery->manifest().raw_feature_dim > 0 && !flags.drop_raw;
  if (keeps_raw) manifest.raw_feature_dim = model->info().feature_dim;
  ASSIGN_OR_RETURN(const std::unique_ptr<LivingSink> sink, LivingSink::Create(flags.out, manifest));

  std::vector<int64_t> images;
  if (!flags.captions_only) images = view->ListRows(Modality::kImage);
  ProgressBar image_bar("encoding images", static_cast<int64_t>(images.size()));
  for (size_t first = 0; first < images.size(); first += static_cast<size_t>(flags.batch)) {
    const absl::Span<const int64_t> rows =
        absl::MakeConstSpan(images).subspan(first, static_cast<size_t>(flags.batch));
    ASSIGN_OR_RETURN(const std::vector<float> raw, gallery->ReadRaw(*view, rows));
    ASSIGN_OR_RETURN(const std::vector<ImageRecord> records, view->ReadImages(rows));
    ASSIGN_OR_RETURN(const EncodedItems encoded,
                     model->image_encoder().EncodeImages(static_cast<int64_t>(rows.size()),
                                                         model->info().num_regions, raw));
    RETURN_IF_ERROR(sink->AddImages(
        records, encoded.view(), keeps_raw ? absl::MakeConstSpan(raw) : absl::Span<const float>()));
    image_bar.Advance(static_cast<int64_t>(rows.size()));
  }
  image_bar.Finish();
  const std::vector<int64_t> captions = view->ListRows(Modality::kCaption);
  ProgressBar caption_bar("encoding captions", static_cast<int64_t>(captions.size()));
  for (size_t first = 0; first < captions.size(); first += static_cast<size_t>(flags.batch)) {
    const absl::Span<const int64_t> rows =
        absl::MakeConstSpan(captions).subspan(first, static_cast<size_t>(flags.batch));
    ASSIGN_OR_RETURN(const std::vector<CaptionRecord> records, view->ReadCaptions(rows));
    std::vector<std::string> texts;
    for (const CaptionRecord& record : records) texts.push_back(record.text);
    ASSIGN_OR_RETURN(const EncodedItems encoded, model->caption_encoder().EncodeCaptions(texts));
    RETURN_IF_ERROR(sink->AddCaptions(records, encoded.view()));
    caption_bar.Advance(static_cast<int64_t>(rows.size()));
  }
  caption_bar.Finish();
  RETURN_IF_ERROR(sink->Finish(nullptr));
  std::cout << "gallery " << flags.out << " is ready, with " << images.size() << " images and "
            << captions.size() << " captions: dime_server --model " << flags.model << " --gallery "
            << flags.out << std::endl;
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "Encodes a living gallery for another model: its captions from their texts, its images from "
      "the raw region features, where these were kept (dime_build_gallery --living --keep-raw).",
      kProgram);
  DefineFlags(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? static_cast<int>(ProgramExit::kOk)
                                : static_cast<int>(ProgramExit::kUsage);
  }
  const absl::Status status = Rebuild(flags);
  return status.ok() ? static_cast<int>(ProgramExit::kOk) : ReportError(kProgram, status);
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) { return dime::Main(argc, argv); }
