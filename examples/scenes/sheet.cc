#include "examples/scenes/sheet.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace dime::scenes {
namespace {

constexpr double kMargin = 14;      // pixels around and between tiles
constexpr double kTextWidth = 330;  // pixels, where words stand to the right
constexpr double kTitleSize = 20;   // font sizes and line heights in pixels
constexpr double kHeadingSize = 13;
constexpr double kLineSize = 13;
constexpr double kTitleHeight = 40;
constexpr double kLineHeight = 18;
constexpr double kIndent = 10;  // of a wrapped line's continuation
constexpr const char* kFont = "sans-serif";

void UseFont(cairo_t* cairo, double size, bool bold) {
  cairo_select_font_face(cairo, kFont, CAIRO_FONT_SLANT_NORMAL,
                         bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(cairo, size);
}

double WidthOf(cairo_t* cairo, const std::string& text) {
  cairo_text_extents_t extents;
  cairo_text_extents(cairo, text.c_str(), &extents);
  return extents.x_advance;
}

// Without any font Cairo draws every letter as the same empty box.
bool HasFont(cairo_t* cairo) {
  UseFont(cairo, kLineSize, false);
  return WidthOf(cairo, "iiiiiiii") > 0 && WidthOf(cairo, "iiiiiiii") < WidthOf(cairo, "WWWWWWWW");
}

std::vector<std::string> Wrap(cairo_t* cairo, const std::string& text, double width) {
  std::vector<std::string> lines;
  std::string line;
  for (absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    const std::string longer = line.empty() ? std::string(word) : absl::StrCat(line, " ", word);
    const double room = lines.empty() ? width : width - kIndent;
    if (!line.empty() && WidthOf(cairo, longer) > room) {
      lines.push_back(line);
      line = std::string(word);
    } else {
      line = longer;
    }
  }
  if (!line.empty()) lines.push_back(line);
  return lines;
}

void Show(cairo_t* cairo, double x, double y, const std::string& text) {
  cairo_move_to(cairo, x, y);
  cairo_show_text(cairo, text.c_str());
}

struct Words {
  std::vector<std::vector<std::string>> paragraphs;
  double height = 0;  // pixels, the heading's line included
};

Words Arrange(cairo_t* cairo, const Sheet::Tile& tile, double width) {
  UseFont(cairo, kLineSize, false);
  Words words;
  words.height = kLineHeight;
  for (const std::string& line : tile.lines) {
    words.paragraphs.push_back(Wrap(cairo, line, width));
    words.height += kLineHeight * static_cast<double>(words.paragraphs.back().size());
  }
  return words;
}

void ShowPicture(cairo_t* cairo, const Picture& picture, double x, double y, double scale) {
  const CairoSurface surface = ToSurface(picture);
  cairo_save(cairo);
  cairo_translate(cairo, x, y);
  cairo_scale(cairo, scale, scale);
  cairo_rectangle(cairo, 0, 0, picture.width, picture.height);
  cairo_set_source_surface(cairo, surface.get(), 0, 0);
  cairo_pattern_set_filter(cairo_get_source(cairo), CAIRO_FILTER_BEST);
  cairo_pattern_set_extend(cairo_get_source(cairo), CAIRO_EXTEND_PAD);
  cairo_fill_preserve(cairo);
  cairo_set_source_rgb(cairo, 0.6, 0.6, 0.6);
  cairo_set_line_width(cairo, 1 / scale);
  cairo_stroke(cairo);
  cairo_restore(cairo);
}

}  // namespace

absl::Status WriteSheet(const Sheet& sheet, const std::string& path) {
  if (sheet.tiles.empty() || sheet.columns < 1) {
    return absl::InvalidArgumentError("a sheet needs at least one picture and one column");
  }
  double picture_width = 0;
  double picture_height = 0;
  for (const Sheet::Tile& tile : sheet.tiles) {
    picture_width = std::max(picture_width, tile.picture.width * sheet.scale);
    picture_height = std::max(picture_height, tile.picture.height * sheet.scale);
  }
  const double text_width = sheet.beneath ? picture_width : kTextWidth;

  // A surface of one pixel serves to measure the words.
  const CairoSurface scratch(cairo_image_surface_create(CAIRO_FORMAT_RGB24, 1, 1));
  const Cairo measuring(cairo_create(scratch.get()));
  if (!HasFont(measuring.get())) {
    return absl::FailedPreconditionError(
        "no font was found to draw text with; install one, such as the package fonts-dejavu-core");
  }
  std::vector<Words> words;
  double words_height = 0;
  for (const Sheet::Tile& tile : sheet.tiles) {
    words.push_back(Arrange(measuring.get(), tile, text_width));
    words_height = std::max(words_height, words.back().height);
  }
  const double tile_width = sheet.beneath ? picture_width : picture_width + kMargin + text_width;
  const double tile_height =
      sheet.beneath ? picture_height + words_height : std::max(picture_height, words_height);
  const int tiles = static_cast<int>(sheet.tiles.size());
  const int columns = std::min(sheet.columns, tiles);
  const int rows = (tiles + columns - 1) / columns;
  const double top = sheet.title.empty() ? kMargin : kTitleHeight;
  UseFont(measuring.get(), kTitleSize, true);
  const double title_width = WidthOf(measuring.get(), sheet.title);
  const double width =
      std::max(kMargin + columns * (tile_width + kMargin), title_width + 2 * kMargin);
  const double height = top + rows * (tile_height + kMargin);

  const CairoSurface surface(cairo_image_surface_create(
      CAIRO_FORMAT_RGB24, static_cast<int>(std::ceil(width)), static_cast<int>(std::ceil(height))));
  if (cairo_surface_status(surface.get()) != CAIRO_STATUS_SUCCESS) {
    return absl::InvalidArgumentError("the sheet is too large to be drawn");
  }
  const Cairo page(cairo_create(surface.get()));
  cairo_t* cairo = page.get();
  cairo_set_source_rgb(cairo, 1, 1, 1);
  cairo_paint(cairo);
  cairo_set_source_rgb(cairo, 0.1, 0.1, 0.1);
  UseFont(cairo, kTitleSize, true);
  Show(cairo, kMargin, kTitleHeight - 14, sheet.title);
  for (int i = 0; i < tiles; ++i) {
    const Sheet::Tile& tile = sheet.tiles[i];
    const double x = kMargin + i % columns * (tile_width + kMargin);
    const double y = top + i / columns * (tile_height + kMargin);
    ShowPicture(cairo, tile.picture, x, y, sheet.scale);
    const double text_x = sheet.beneath ? x : x + picture_width + kMargin;
    double baseline = sheet.beneath ? y + picture_height + kLineHeight - 2 : y + kHeadingSize;
    cairo_set_source_rgb(cairo, 0.1, 0.1, 0.1);
    UseFont(cairo, kHeadingSize, true);
    Show(cairo, text_x, baseline, tile.heading);
    UseFont(cairo, kLineSize, false);
    cairo_set_source_rgb(cairo, 0.25, 0.25, 0.25);
    for (const std::vector<std::string>& paragraph : words[i].paragraphs) {
      for (size_t line = 0; line < paragraph.size(); ++line) {
        baseline += kLineHeight;
        Show(cairo, text_x + (line == 0 ? 0 : kIndent), baseline, paragraph[line]);
      }
    }
  }
  cairo_surface_flush(surface.get());
  return WritePng(FromSurface(surface.get()), path);
}

}  // namespace dime::scenes
