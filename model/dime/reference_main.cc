// dime_reference: writes the reference pairs of a model directory, or compares with them.
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "index/status_macros.h"
#include "model/dime/modules_model.h"
#include "model/reference_pairs.h"

namespace dime {
namespace {

// Any will do; of several lengths, one beyond what models take, with what tokenizers stumble over.
const std::vector<std::string>& Captions() {
  static const auto& captions = *new std::vector<std::string>{
      "a dog",
      "two people ride bicycles along the river",
      "A man in a red jacket throws a stick into the sea, and three dogs run after it.",
      "a small blue heart to the left of a large striped circle",
      "Caf\xc3\xa9 tables, na\xc3\xafve paintings & a \"closed\" sign (1987)",
      "the child holds nothing",
      "several oranges, some of them cut in half, lie between an old kettle and a folded newspaper "
      "on a table whose cloth has a pattern of leaves, while in the background somebody whose face "
      "cannot be seen opens a window that looks out upon a garden in the rain",
      "unbelievably photogenic hummingbirds",
  };
  return captions;
}
constexpr int kImages = 8;
constexpr uint64_t kSeed = 2021;

struct Flags {
  std::string model;
  std::string device = "auto";
  std::string scorer = "auto";
  bool write = false;
};

absl::Status Write(const Flags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ModulesModel> model,
                   ModulesModel::Load(flags.model, {.device = "cpu", .scorer = "modules"}));
  ASSIGN_OR_RETURN(const ReferencePairs pairs, ReferencePairs::Make(*model, model->modules_scorer(),
                                                                    kSeed, kImages, Captions()));
  RETURN_IF_ERROR(pairs.Save(flags.model));
  std::cout << absl::StrCat("wrote ", flags.model, "/", kReferencePairsName, ": ", kImages,
                            " images x ", Captions().size(), " captions\n");
  return absl::OkStatus();
}

absl::Status Compare(const Flags& flags) {
  ASSIGN_OR_RETURN(const ReferencePairs pairs, ReferencePairs::Load(flags.model));
  ASSIGN_OR_RETURN(const std::unique_ptr<DimeModel> model,
                   DimeModel::Load(flags.model, {.device = flags.device, .scorer = flags.scorer}));
  ASSIGN_OR_RETURN(const ReferencePairs::Deviation deviation, pairs.Compare(*model));
  std::cout << absl::StrFormat(
      "%s on %s (%s): scores of the reference pairs differ by %.3g on average, %.3g at nine in "
      "ten, "
      "%.3g at most\n",
      model->info().name, model->info().device, model->info().scorer, deviation.mean, deviation.p90,
      deviation.largest);
  return CheckDeviation(deviation, model->info().scorer);
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) {
  dime::Flags flags;
  CLI::App app{
      "Tells whether a model computes on this machine what it did where it was made, by the scores "
      "of reference pairs in its directory; a server does the same before it serves. With --write, "
      "makes these by the modules in float32 on the CPU."};
  app.add_option("--model", flags.model, "Model directory")->required();
  app.add_option("--device", flags.device, "cpu, cuda, cuda:N or auto")->capture_default_str();
  app.add_option("--scorer", flags.scorer, dime::kScorerHelp)->capture_default_str();
  app.add_flag("--write", flags.write, "Write the reference pairs, or write them anew");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = flags.write ? dime::Write(flags) : dime::Compare(flags);
  if (status.ok()) return 0;
  std::cerr << "dime_reference: " << status.message() << std::endl;
  return 1;
}
