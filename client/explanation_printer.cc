#include "client/explanation_printer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "client/text_table.h"

namespace dime {
namespace {

constexpr int kColumnGap = 2;
// Lines of heat are no shorter, however narrow the terminal.
constexpr int kLeastHeatWidth = 12;
constexpr int kTickEvery = 10;

// `text` in lines of the terminal's width, or one that reads well.
std::string Lines(absl::string_view text, Style style, const Terminal& terminal) {
  std::string lines;
  for (const std::string& line : WrapText(text, terminal.width > 0 ? terminal.width : 100)) {
    absl::StrAppend(&lines, Styled(line, style, terminal), "\n");
  }
  return lines;
}

std::string Percent(float share) { return absl::StrFormat("%.0f%%", share * 100); }

std::string LinkText(const v1::ExplainPairResponse& response, const PairAttention& attention,
                     const PairAttention::Link& link, const Terminal& terminal) {
  const std::string region = absl::StrCat("r", link.region);
  const std::string& word = response.words(link.word);
  const absl::string_view arrow = terminal.unicode ? "→" : "->";
  return attention.RegionsAttend() ? absl::StrCat(region, arrow, word, " ", Percent(link.share))
                                   : absl::StrCat(word, arrow, region, " ", Percent(link.share));
}

std::string LayerTable(const v1::ExplainPairResponse& response, const PairAttention& attention,
                       int top, std::set<int>* regions, const Terminal& terminal) {
  TextTable table({{"layer"},
                   {"flows on", TextTable::Align::kRight},
                   {attention.RegionsAttend() ? "strongest links: region, the word it looks at"
                                              : "strongest links: word, the region it looks at",
                    TextTable::Align::kLeft, /*wrap=*/true}});
  for (const PairAttention::Layer& layer : attention.layers) {
    std::string text;
    if (layer.weight == 0) {
      text = "its gates are shut: it took no part in the score";
    } else {
      std::vector<std::string> links;
      for (const PairAttention::Link& link : attention.StrongestLinks(layer.attention, top)) {
        links.push_back(LinkText(response, attention, link, terminal));
        regions->insert(link.region);
      }
      text = absl::StrJoin(links, ", ");
    }
    table.AddRow({TextTable::Cell(absl::StrCat(layer.layer)),
                  TextTable::Cell(Percent(layer.weight)), TextTable::Cell(text)});
  }
  return table.Render(terminal);
}

// One character for a share between nothing and the strongest: a block higher the stronger it is.
absl::string_view HeatBlock(float share, float strongest, const Terminal& terminal) {
  static constexpr std::array<absl::string_view, 9> kBlocks = {" ", "▁", "▂", "▃", "▄",
                                                               "▅", "▆", "▇", "█"};
  static constexpr std::array<absl::string_view, 9> kAscii = {" ", ".", ":", "-", "=",
                                                              "+", "*", "#", "@"};
  const float part = strongest > 0 ? share / strongest : 0;
  const int level = std::clamp(static_cast<int>(std::lround(part * 8)), 0, 8);
  return terminal.unicode ? kBlocks[level] : kAscii[level];
}

// "0         10        20", a number over every tenth region's column.
std::string Ticks(int columns, int regions_a_column) {
  std::string line;
  for (int column = 0; column < columns; column += kTickEvery) {
    line.resize(column, ' ');
    absl::StrAppend(&line, column * regions_a_column);
  }
  return line;
}

// A row for each word: its heat over the regions, and the regions that it has most to do with.
std::string HeatTable(const v1::ExplainPairResponse& response, const PairAttention& attention,
                      std::set<int>* regions, const Terminal& terminal) {
  std::vector<std::string> words;
  int word_width = 0;
  for (const std::string& word : response.words()) {
    words.push_back(Printable(word));
    word_width = std::max(word_width, DisplayWidth(words.back()));
  }
  float strongest = 0;
  for (int i = 0; i < attention.num_words * attention.num_regions; ++i) {
    const bool left_out = attention.special[i / attention.num_regions] &&
                          !attention.SpecialTokensLead(attention.overall);
    if (!left_out) strongest = std::max(strongest, attention.overall[i]);
  }
  // Where the lines would not fit, neighbours share a column.
  constexpr int kMostWidth = 18;  // "r10 25%, r11 20%"
  const int room =
      terminal.width > 0
          ? std::max(kLeastHeatWidth, terminal.width - word_width - 2 * kColumnGap - kMostWidth)
          : attention.num_regions;
  const int regions_a_column = (attention.num_regions + room - 1) / room;
  const int columns = (attention.num_regions + regions_a_column - 1) / regions_a_column;

  std::string ticks = Ticks(columns, regions_a_column);
  ticks.resize(std::max<size_t>(ticks.size(), columns), ' ');
  std::string text =
      absl::StrCat(Styled(absl::StrCat(std::string(word_width + kColumnGap, ' '), ticks,
                                       std::string(kColumnGap, ' '),
                                       attention.RegionsAttend() ? "most by" : "most at"),
                          Style::kFaint, terminal),
                   "\n");
  for (int w = 0; w < attention.num_words; ++w) {
    std::string line =
        absl::StrCat(words[w], std::string(word_width - DisplayWidth(words[w]) + kColumnGap, ' '));
    for (int column = 0; column < columns; ++column) {
      float share = 0;
      for (int r = column * regions_a_column;
           r < std::min((column + 1) * regions_a_column, attention.num_regions); ++r) {
        share = std::max(share, attention.overall[w * attention.num_regions + r]);
      }
      absl::StrAppend(&line, HeatBlock(share, strongest, terminal));
    }
    std::vector<std::string> most;
    for (const PairAttention::Link& link :
         attention.LinksOf(attention.overall, w, kRegionsOfAWord)) {
      most.push_back(absl::StrCat("r", link.region, " ", Percent(link.share)));
      if (!attention.special[w]) regions->insert(link.region);
    }
    absl::StrAppend(
        &line, std::string(std::max<size_t>(ticks.size(), columns) - columns + kColumnGap, ' '),
        absl::StrJoin(most, ", "));
    absl::StrAppend(
        &text, Styled(line, attention.special[w] ? Style::kFaint : Style::kPlain, terminal), "\n");
  }
  absl::StrAppend(
      &text, Lines(absl::StrCat(
                       absl::StrFormat("Full height: %.1f%%; an even share would be %.1f%%",
                                       strongest * 100, attention.EvenShare() * 100),
                       regions_a_column > 1 ? absl::StrCat(". Each column is the strongest of its ",
                                                           regions_a_column, " regions")
                                            : ""),
                   Style::kFaint, terminal));
  return text;
}

std::string FormatDirection(const v1::ExplainPairResponse& response, const PairAttention& attention,
                            int top, std::set<int>* regions, const Terminal& terminal) {
  std::string text =
      absl::StrCat("\n",
                   Styled(attention.RegionsAttend() ? "i2t: the regions look at the words"
                                                    : "t2i: the words look at the regions",
                          Style::kBold, terminal),
                   absl::StrFormat("   score %.4f\n", attention.score));
  absl::StrAppend(&text, LayerTable(response, attention, top, regions, terminal));
  if (!attention.TookPart()) return text;
  const float special = attention.SpecialShare(attention.overall);
  if (attention.SpecialTokensLead(attention.overall)) {
    absl::StrAppend(&text,
                    Lines(absl::StrCat("[CLS] and [SEP] take ", Percent(special),
                                       " of the attention, most of it: little is said about single "
                                       "words here"),
                          Style::kPlain, terminal));
  } else if (special > 0) {
    absl::StrAppend(&text, Lines(absl::StrCat("[CLS] and [SEP] take ", Percent(special),
                                              " of the attention; links to them are left out"),
                                 Style::kFaint, terminal));
  }
  absl::StrAppend(&text, "\n", HeatTable(response, attention, regions, terminal));
  return text;
}

// "r0:0,0-40,40": where the regions are that were spoken of.
std::string RegionPlaces(const v1::ExplainPairResponse& response, const std::set<int>& regions,
                         const Terminal& terminal) {
  if (response.boxes().empty() || regions.empty()) return "";
  constexpr size_t kMostPlaces = 60;
  std::vector<std::string> places;
  for (int region : regions) {
    if (places.size() == kMostPlaces) break;
    const v1::Box& box = response.boxes(region);
    places.push_back(absl::StrFormat("r%d:%.0f,%.0f-%.0f,%.0f", region, box.left(), box.top(),
                                     box.right(), box.bottom()));
  }
  std::string heading = "Regions (left,top-right,bottom in pixels";
  if (response.image_width() > 0 && response.image_height() > 0) {
    absl::StrAppend(&heading, " of ", response.image_width(), "x", response.image_height());
  }
  const std::string text = absl::StrCat("\n", Lines(heading + ")", Style::kFaint, terminal));
  return text + Lines(absl::StrJoin(places, " "), Style::kPlain, terminal);
}

}  // namespace

std::string CaptionOf(const v1::ExplainPairResponse& response) {
  std::string caption;
  for (int w = 0; w < response.words_size(); ++w) {
    absl::string_view piece = response.words(w);
    if ((w == 0 && piece == "[CLS]") || (w + 1 == response.words_size() && piece == "[SEP]")) {
      continue;
    }
    const bool continues = absl::ConsumePrefix(&piece, "##");
    absl::StrAppend(&caption, caption.empty() || continues ? "" : " ", piece);
  }
  return Printable(caption);
}

std::string FormatExplanation(const v1::ExplainPairResponse& response,
                              const std::vector<PairAttention>& directions, int top,
                              const Terminal& terminal) {
  std::string text = absl::StrCat(Styled(CaptionOf(response), Style::kBold, terminal), "\n");
  if (response.text_truncated()) {
    absl::StrAppend(&text, "the text is longer than the model takes: its end was left out\n");
  }
  absl::StrAppend(&text, absl::StrFormat("score %.4f", response.rerank_score()),
                  directions.size() == 2 ? ", the mean of both directions" : "",
                  absl::StrFormat("; coarse %.4f\n", response.coarse_score()));
  std::set<int> regions;  // that are spoken of
  for (const PairAttention& attention : directions) {
    absl::StrAppend(&text, FormatDirection(response, attention, top, &regions, terminal));
  }
  absl::StrAppend(&text, RegionPlaces(response, regions, terminal));
  absl::StrAppend(
      &text, "\n",
      Lines(
          "Attention is that of the cross-modal cells (CMRC), over the layers by how much of each "
          "flows on. The other cells mix regions, or words, among themselves: it is what these "
          "cells looked at, not all that made the score.",
          Style::kFaint, terminal));
  return text;
}

}  // namespace dime
