#ifndef DIME_INDEX_LIVING_MANIFEST_H_
#define DIME_INDEX_LIVING_MANIFEST_H_

#include <array>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "index/features.h"
#include "index/item_codec.h"

namespace dime {

inline constexpr char kLivingManifestName[] = "living_gallery.json";

// What living_gallery.json says: the facts about a living gallery that no write changes. A value;
// not thread-safe.
struct LivingManifest {
  std::string lineage;                       // names the gallery whatever is written to it
  std::string model_fingerprint;             // of the model whose features it holds
  std::array<EncodedItemsView, 2> shapes;    // by Modality; views of no items
  std::string index = "auto";                // FAISS factory string of the coarse indexes
  FeatureForm form = FeatureForm::kFloat32;  // of the local features
  int raw_feature_dim = 0;                   // D of the raw region features kept; 0 = they are not

  // NOT_FOUND if there is none; INVALID_ARGUMENT, naming the path, for what is no such manifest, is
  // of another format version, or was altered (it keeps its checksum).
  static absl::StatusOr<LivingManifest> Read(const std::string& directory);
  absl::Status Write(const std::string& directory) const;
};

}  // namespace dime

#endif  // DIME_INDEX_LIVING_MANIFEST_H_
