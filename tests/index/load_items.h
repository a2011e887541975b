#ifndef DIME_TESTS_INDEX_LOAD_ITEMS_H_
#define DIME_TESTS_INDEX_LOAD_ITEMS_H_

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "index/living_manifest.h"
#include "tests/index/gallery_fixtures.h"

namespace dime {

// The items that tests of faults write: all of an item follows from its number and the stamp of the
// write, so that a half item or one of another write shows.

inline std::string LoadId(int number) { return absl::StrCat("item-", number); }
inline ImageRecord LoadRecord(int number, int stamp) {
  return {.id = LoadId(number),
          .width = stamp,
          .uri = absl::StrCat("load:", number, ":", stamp),
          .payload = {{"stamp", static_cast<double>(stamp)}}};
}
// One image's features.
inline EncodedItems LoadFeatures(int number, int stamp) {
  return MakeItems(Modality::kImage, 1, static_cast<uint32_t>(stamp * 64 + number));
}
inline LivingManifest LoadManifest() {
  LivingManifest manifest;
  manifest.model_fingerprint = kTestFingerprint;
  for (const Modality modality : {Modality::kImage, Modality::kCaption}) {
    manifest.shapes[static_cast<size_t>(modality)] = MakeItems(modality, 0, 1).view();
  }
  return manifest;
}

}  // namespace dime

#endif  // DIME_TESTS_INDEX_LOAD_ITEMS_H_
