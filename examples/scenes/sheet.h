#ifndef DIME_EXAMPLES_SCENES_SHEET_H_
#define DIME_EXAMPLES_SCENES_SHEET_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "examples/scenes/picture.h"

namespace dime::scenes {

// A page of pictures with words beside or beneath them, for people to look at.
struct Sheet {
  struct Tile {
    Picture picture;
    std::string heading;
    std::vector<std::string> lines;  // wrapped where they are too long
  };

  std::string title;     // may be empty
  int columns = 5;       // tiles in a row, at least one
  double scale = 1.5;    // sheet pixels to one of a picture's
  bool beneath = false;  // words beneath the picture, not to its right
  std::vector<Tile> tiles;
};

// Draws the sheet as a PNG, in a sans-serif font by way of fontconfig. INVALID_ARGUMENT for a sheet
// without tiles, FAILED_PRECONDITION if the machine has no font to draw text with.
absl::Status WriteSheet(const Sheet& sheet, const std::string& path);

}  // namespace dime::scenes

#endif  // DIME_EXAMPLES_SCENES_SHEET_H_
