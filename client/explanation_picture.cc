#include "client/explanation_picture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "client/display_text.h"
#include "client/explanation_printer.h"
#include "index/status_macros.h"

namespace dime {
namespace {

// Lengths are in the SVG's own pixels.
constexpr double kMargin = 24;
constexpr double kSideGap = 36;      // between the two sides
constexpr double kPanelWidth = 440;  // of a side; its picture is as wide unless it is very tall
constexpr double kMaxPictureHeight = 600;
constexpr double kLineHeight = 18;
constexpr double kTagHeight = 18;
constexpr double kChipHeight = 24;
constexpr double kChipGap = 6;
// Of a character of the monospaced fonts asked for, as a part of the font's size.
constexpr double kCharacterWidth = 0.602;
constexpr double kTagFont = 12;
constexpr double kChipFont = 14;
// The same of the proportional ones, on the whole.
constexpr double kSansWidth = 0.55;
constexpr char kMonospaced[] = "DejaVu Sans Mono, Menlo, Consolas, monospace";
constexpr char kSans[] = "DejaVu Sans, Helvetica, Arial, sans-serif";

constexpr int kMostWords = 6;
// A word's further regions are drawn while they have this part of its strongest one's attention.
constexpr float kWorthDrawing = 0.5f;
// A word's colour, dark enough for white letters, and the words that would mislead in any other.
struct Colour {
  absl::string_view code;
  std::array<absl::string_view, 2> names;
};
// Twice as many as words of one side.
constexpr std::array<Colour, 12> kColours = {{{"#7b3fa8", {"purple", "violet"}},
                                              {"#007f8f", {"cyan", "turquoise"}},
                                              {"#c2187a", {"pink", "magenta"}},
                                              {"#7a4a21", {"brown", ""}},
                                              {"#1f5fbf", {"blue", ""}},
                                              {"#2a8a2a", {"green", ""}},
                                              {"#d62728", {"red", ""}},
                                              {"#c85a00", {"orange", ""}},
                                              {"#4b4ba0", {}},
                                              {"#8f7300", {"yellow", "gold"}},
                                              {"#8a2f4a", {}},
                                              {"#4d5a63", {"grey", "gray"}}}};

// Text for an XML document, in attributes too: marked up and of characters that XML knows.
std::string XmlText(absl::string_view text) {
  return absl::StrReplaceAll(Printable(text), {{"&", "&amp;"},
                                               {"<", "&lt;"},
                                               {">", "&gt;"},
                                               {"\"", "&quot;"},
                                               {"'", "&#39;"},
                                               {"\uFFFE", "\uFFFD"},
                                               {"\uFFFF", "\uFFFD"}});
}

std::string Number(double value) { return absl::StrFormat("%.1f", value); }

std::string TextElement(double x, double y, double size, absl::string_view font,
                        absl::string_view attributes, absl::string_view text) {
  return absl::StrCat("<text x=\"", Number(x), "\" y=\"", Number(y), "\" font-size=\"",
                      Number(size), "\" font-family=\"", font, "\" ", attributes, ">",
                      XmlText(text), "</text>\n");
}

struct Rect {
  double x = 0, y = 0, width = 0, height = 0;
  bool Overlaps(const Rect& other) const {
    return x < other.x + other.width && other.x < x + width && y < other.y + other.height &&
           other.y < y + height;
  }
};

std::string RectElement(const Rect& rect, absl::string_view attributes) {
  return absl::StrCat("<rect x=\"", Number(rect.x), "\" y=\"", Number(rect.y), "\" width=\"",
                      Number(rect.width), "\" height=\"", Number(rect.height), "\" ", attributes,
                      "/>\n");
}

double TextWidth(absl::string_view text, double font_size) {
  return DisplayWidth(text) * font_size * kCharacterWidth;
}

// Pixels of the image that the boxes are of.
struct ImageSize {
  double width = 0;
  double height = 0;
};

ImageSize SizeOf(const v1::ExplainPairResponse& response,
                 const std::optional<PictureFile>& picture) {
  if (response.image_width() > 0 && response.image_height() > 0) {
    return {double(response.image_width()), double(response.image_height())};
  }
  if (picture.has_value()) return {double(picture->width), double(picture->height)};
  ImageSize size = {1, 1};
  for (const v1::Box& box : response.boxes()) {
    if (std::isfinite(box.right())) size.width = std::max(size.width, double(box.right()));
    if (std::isfinite(box.bottom())) size.height = std::max(size.height, double(box.bottom()));
  }
  return size;
}

// A word with the regions that are drawn for it, strongest first.
struct DrawnWord {
  int word = 0;
  std::vector<PairAttention::Link> links;
};

// The words whose strongest links are the strongest of all, and their regions.
std::vector<DrawnWord> ChooseWords(const PairAttention& attention, int count) {
  std::vector<DrawnWord> words;
  if (!attention.TookPart()) return words;
  const int all = attention.num_words * attention.num_regions;
  for (const PairAttention::Link& link : attention.StrongestLinks(attention.overall, all)) {
    if (static_cast<int>(words.size()) == count || link.share <= 0) break;
    const bool known = std::any_of(words.begin(), words.end(), [&link](const DrawnWord& drawn) {
      return drawn.word == link.word;
    });
    if (known) continue;
    DrawnWord drawn{.word = link.word};
    for (const PairAttention::Link& of_word :
         attention.LinksOf(attention.overall, link.word, kRegionsOfAWord)) {
      if (of_word.share >= kWorthDrawing * link.share) drawn.links.push_back(of_word);
    }
    words.push_back(std::move(drawn));
  }
  return words;
}

// Fills in the colours of the words: its own for a word that names one, then what is left for the
// others, in the caption's order.
void ChooseColours(const v1::ExplainPairResponse& response,
                   std::map<int, absl::string_view>& colours) {
  std::set<absl::string_view> taken;
  for (const bool named : {true, false}) {
    for (auto& [word, colour] : colours) {
      if (!colour.empty()) continue;
      for (const Colour& candidate : kColours) {
        const absl::string_view text = response.words(word);
        const bool fits = !named || text == candidate.names[0] || text == candidate.names[1];
        if (!fits || !taken.insert(candidate.code).second) continue;
        colour = candidate.code;
        break;
      }
    }
  }
}

// Draws one side. `colours`: by word.
class Panel {
 public:
  Panel(const v1::ExplainPairResponse& response, const PairAttention& attention,
        const ImageSize& image, const std::map<int, absl::string_view>& colours, double x, double y)
      : response_(response), attention_(attention), colours_(colours) {
    scale_ = std::min(kPanelWidth / image.width, kMaxPictureHeight / image.height);
    picture_ = {x, y + 2.6 * kLineHeight, image.width * scale_, image.height * scale_};
  }

  std::string Draw(const std::vector<DrawnWord>& words) {
    std::string svg = Heading();
    absl::StrAppend(&svg, "<use xlink:href=\"#picture\" x=\"", Number(picture_.x), "\" y=\"",
                    Number(picture_.y), "\"/>\n");
    float strongest = 0;
    for (const DrawnWord& word : words) {
      strongest = std::max(strongest, word.links[0].share);
      drawn_.insert(word.word);
    }
    // What everything gets of an even attention is nothing to show.
    const float even = attention_.EvenShare();
    const float base = strongest > 2 * even ? even : 0;
    // The strongest last, so that it lies on top.
    for (auto word = words.rbegin(); word != words.rend(); ++word) {
      for (auto link = word->links.rbegin(); link != word->links.rend(); ++link) {
        absl::StrAppend(&svg,
                        Box(*link, std::max(0.0f, (link->share - base) / (strongest - base))));
      }
    }
    for (const DrawnWord& word : words) absl::StrAppend(&svg, Tag(word.links[0]));
    absl::StrAppend(&svg, Words());
    return svg;
  }
  // Where it ends; after Draw().
  double bottom() const { return bottom_; }
  double picture_width() const { return picture_.width; }
  double picture_height() const { return picture_.height; }

 private:
  std::string Heading() const {
    const bool regions = attention_.RegionsAttend();
    const std::string detail =
        !attention_.TookPart() ? "the cross-modal cells' gates are shut: none took part"
        : attention_.SpecialTokensLead(attention_.overall)
            ? absl::StrFormat("[CLS] and [SEP] take %.0f%% of the attention",
                              100 * attention_.SpecialShare(attention_.overall))
        : regions ? "percent: of the region's attention, on the word"
                  : "percent: of the word's attention, on the region";
    return absl::StrCat(TextElement(picture_.x, picture_.y - 1.7 * kLineHeight, 15, kSans,
                                    "font-weight=\"bold\" fill=\"#222222\"",
                                    absl::StrFormat("%s, score %.4f",
                                                    regions ? "i2t: regions look at words"
                                                            : "t2i: words look at regions",
                                                    attention_.score)),
                        TextElement(picture_.x, picture_.y - 0.6 * kLineHeight, 12, kSans,
                                    "fill=\"#666666\"", detail));
  }

  absl::string_view ColourOf(int word) const { return colours_.find(word)->second; }

  // Where a region is on the drawing, within the picture; nothing if it is nowhere.
  std::optional<Rect> Place(int region) const {
    const v1::Box& box = response_.boxes(region);
    if (!std::isfinite(box.left()) || !std::isfinite(box.top()) || !std::isfinite(box.right()) ||
        !std::isfinite(box.bottom())) {
      return std::nullopt;
    }
    const auto within = [this](double value, double size) {
      return std::clamp(value * scale_, 0.0, size);
    };
    const double left = within(box.left(), picture_.width);
    const double right = within(box.right(), picture_.width);
    const double top = within(box.top(), picture_.height);
    const double bottom = within(box.bottom(), picture_.height);
    if (right <= left || bottom <= top) return std::nullopt;
    return Rect{picture_.x + left, picture_.y + top, right - left, bottom - top};
  }

  // `strength`: 0 to 1, of the strongest link.
  std::string Box(const PairAttention::Link& link, float strength) {
    const std::optional<Rect> place = Place(link.region);
    if (!place.has_value()) return "";
    // Words that share a region lie in one another.
    const double inset = 3.0 * boxes_of_region_[link.region]++;
    Rect rect = *place;
    if (rect.width > 4 * inset && rect.height > 4 * inset) {
      rect = {rect.x + inset, rect.y + inset, rect.width - 2 * inset, rect.height - 2 * inset};
    }
    const std::string opacity = absl::StrFormat("%.2f", 0.3 + 0.7 * strength);
    return absl::StrCat(
        RectElement(rect, absl::StrCat("fill=\"none\" stroke=\"#ffffff\" stroke-width=\"5\" "
                                       "stroke-opacity=\"",
                                       absl::StrFormat("%.2f", 0.6 * strength), "\"")),
        RectElement(rect, absl::StrCat("fill=\"", ColourOf(link.word), "\" fill-opacity=\"",
                                       absl::StrFormat("%.2f", 0.1 * strength), "\" stroke=\"",
                                       ColourOf(link.word),
                                       "\" stroke-width=\"2.5\" "
                                       "stroke-opacity=\"",
                                       opacity, "\"")));
  }

  // The word's label at its strongest region, put where no other label is.
  std::string Tag(const PairAttention::Link& link) {
    const std::optional<Rect> place = Place(link.region);
    if (!place.has_value()) return "";
    const std::string text = absl::StrCat(Printable(response_.words(link.word)),
                                          absl::StrFormat(" %.0f%%", link.share * 100));
    Rect tag = {place->x, place->y - kTagHeight, TextWidth(text, kTagFont) + 8, kTagHeight};
    tag.x = std::max(picture_.x, std::min(tag.x, picture_.x + picture_.width - tag.width));
    tag.y = std::max(tag.y, picture_.y);
    const auto taken = [this](const Rect& rect) {
      return std::any_of(tags_.begin(), tags_.end(),
                         [&rect](const Rect& other) { return other.Overlaps(rect); });
    };
    const double lowest = picture_.y + picture_.height - kTagHeight;
    while (taken(tag) && tag.y + kTagHeight + 1 <= lowest) tag.y += kTagHeight + 1;
    tags_.push_back(tag);
    return absl::StrCat(
        RectElement(tag, absl::StrCat("rx=\"3\" fill=\"", ColourOf(link.word), "\"")),
        TextElement(tag.x + 4, tag.y + 13, kTagFont, kMonospaced,
                    "font-weight=\"bold\" fill=\"#ffffff\"", text));
  }

  // The caption beneath, a chip for each word.
  std::string Words() {
    std::string svg;
    double x = picture_.x, y = picture_.y + picture_.height + 14;
    for (int w = 0; w < response_.words_size(); ++w) {
      const std::string word = Printable(response_.words(w));
      const double width = TextWidth(word, kChipFont) + 12;
      if (x > picture_.x && x + width > picture_.x + kPanelWidth) {
        x = picture_.x;
        y += kChipHeight + kChipGap;
      }
      const bool drawn = drawn_.count(w) > 0;
      absl::StrAppend(
          &svg,
          RectElement({x, y, width, kChipHeight},
                      absl::StrCat("rx=\"4\" fill=\"", drawn ? ColourOf(w) : "#eeeeee", "\"")),
          TextElement(x + 6, y + 17, kChipFont, kMonospaced,
                      drawn                   ? "font-weight=\"bold\" fill=\"#ffffff\""
                      : attention_.special[w] ? "fill=\"#aaaaaa\""
                                              : "fill=\"#555555\"",
                      word));
      x += width + kChipGap;
    }
    bottom_ = y + kChipHeight;
    return svg;
  }

  const v1::ExplainPairResponse& response_;
  const PairAttention& attention_;
  const std::map<int, absl::string_view>& colours_;
  Rect picture_;
  double scale_ = 1;  // from the image's pixels
  std::map<int, int> boxes_of_region_;
  std::vector<Rect> tags_;
  std::set<int> drawn_;  // words
  double bottom_ = 0;
};

// The picture, or a plain frame in its place, once for all sides.
std::string PictureDefinition(const std::optional<PictureFile>& picture, double width,
                              double height) {
  const Rect whole = {0, 0, width, height};
  std::string svg = "<defs><g id=\"picture\">\n";
  if (picture.has_value()) {
    absl::StrAppend(&svg, "<image width=\"", Number(width), "\" height=\"", Number(height),
                    "\" preserveAspectRatio=\"none\" xlink:href=\"data:", picture->media_type,
                    ";base64,", absl::Base64Escape(picture->bytes), "\"/>\n",
                    // Paler, so that boxes and labels stand out.
                    RectElement(whole, "fill=\"#ffffff\" fill-opacity=\"0.25\""));
  } else {
    absl::StrAppend(&svg, RectElement(whole, "fill=\"#fafafa\""));
  }
  return absl::StrCat(svg, RectElement(whole, "fill=\"none\" stroke=\"#999999\""), "</g></defs>\n");
}

absl::Status CheckProportions(const PictureFile& picture, const ImageSize& image) {
  constexpr double kTolerance = 0.03;  // of scaling to whole pixels
  const double ratio = picture.width * image.height / (picture.height * image.width);
  if (std::abs(ratio - 1) <= kTolerance) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("the picture is %dx%d pixels, the image of the gallery %.0fx%.0f: it shows "
                      "something else, or a part of it",
                      picture.width, picture.height, image.width, image.height));
}

}  // namespace

absl::StatusOr<std::string> DrawExplanation(const v1::ExplainPairResponse& response,
                                            const std::vector<PairAttention>& directions,
                                            const std::optional<PictureFile>& picture, int top) {
  if (response.boxes().empty()) {
    return absl::FailedPreconditionError(
        "the gallery does not know where this image's regions are, so there is nothing to draw: it "
        "was built without boxes (SPLIT_boxes.npy), or the image is not of the gallery");
  }
  const ImageSize image = SizeOf(response, picture);
  if (picture.has_value()) RETURN_IF_ERROR(CheckProportions(*picture, image));

  // Colours go to the words that are drawn on either side: never more than there are.
  std::vector<std::vector<DrawnWord>> words;
  std::map<int, absl::string_view> colours;
  for (const PairAttention& attention : directions) {
    words.push_back(ChooseWords(attention, std::min(top, kMostWords)));
    for (const DrawnWord& word : words.back()) colours[word.word] = "";
  }
  ChooseColours(response, colours);

  const double panels = std::max<double>(1, static_cast<double>(directions.size()));
  const double width = 2 * kMargin + panels * kPanelWidth + (panels - 1) * kSideGap;
  const double text_width = width - 2 * kMargin;
  double y = kMargin;
  std::string body;
  const auto add_lines = [&](absl::string_view text, double size, absl::string_view attributes) {
    const int columns = static_cast<int>(text_width / (size * kSansWidth));
    for (const std::string& line : WrapText(text, columns)) {
      y += size + 4;
      absl::StrAppend(&body, TextElement(kMargin, y, size, kSans, attributes, line));
    }
  };
  add_lines(CaptionOf(response), 18, "font-weight=\"bold\" fill=\"#222222\"");
  add_lines(absl::StrFormat("score %.4f%s; coarse %.4f", response.rerank_score(),
                            directions.size() == 2 ? ", the mean of both directions" : "",
                            response.coarse_score()),
            13, "fill=\"#666666\"");
  y += 20;

  double bottom = y;
  double picture_width = 0, picture_height = 0;
  for (size_t d = 0; d < directions.size(); ++d) {
    Panel panel(response, directions[d], image, colours,
                kMargin + static_cast<double>(d) * (kPanelWidth + kSideGap), y);
    absl::StrAppend(&body, panel.Draw(words[d]));
    bottom = std::max(bottom, panel.bottom());
    picture_width = panel.picture_width();
    picture_height = panel.picture_height();
  }
  y = bottom + 14;
  add_lines(
      "Boxes: for the words with the strongest links, the regions that have most to do with them, "
      "clearer where stronger; the label is at the strongest. Attention is that of the cross-modal "
      "cells, over the layers by how much of each flows on: what these cells looked at, not all "
      "that "
      "made the score.",
      11, "fill=\"#888888\"");
  const double height = y + kMargin;
  return absl::StrCat(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" "
      "width=\"",
      Number(width), "\" height=\"", Number(height), "\" viewBox=\"0 0 ", Number(width), " ",
      Number(height), "\">\n", PictureDefinition(picture, picture_width, picture_height),
      RectElement({0, 0, width, height}, "fill=\"#ffffff\""), body, "</svg>\n");
}

}  // namespace dime
