#include "model/line_plot.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/svg_elements.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

LinePlot TwoPanels() {
  return {.title = "R&D <plot>",
          .styles = {{.label = "one", .colour = "#123456", .markers = true},
                     {.label = "two", .colour = "#654321", .dashes = "4 4"}},
          .panels = {{.title = "left",
                      .x_label = "depth",
                      .y_label = "percent",
                      .lines = {{0, {{10, 20}, {100, 40}}}, {1, {{10, 60}, {100, 60}}}}},
                     {.title = "right",
                      .x_label = "depth",
                      .y_label = "percent",
                      .lines = {{0, {{10, 1}, {20, 2}, {1000, 3}}}}}}};
}

TEST(LinePlotTest, IsWellFormedWithALineForEachLine) {
  const auto counts = CountElements(TwoPanels().ToSvg());
  ASSERT_TRUE(counts.has_value());
  EXPECT_EQ(counts->at("svg"), 1);
  EXPECT_EQ(counts->at("polyline"), 3);
  EXPECT_EQ(counts->at("circle"), 2 + 3 + 1);  // points with markers, and the legend's
}

TEST(LinePlotTest, EscapesWhatItIsTold) {
  EXPECT_THAT(TwoPanels().ToSvg(),
              AllOf(HasSubstr("R&amp;D &lt;plot&gt;"), Not(HasSubstr("<plot>"))));
}

// Where the marker of a point is, by the first circles of the document.
TEST(LinePlotTest, XIsLogarithmicAndYGrowsUpwards) {
  LinePlot plot = TwoPanels();
  plot.panels.pop_back();
  plot.panels[0].lines = {{0, {{10, 20}, {100, 40}, {1000, 60}}}};
  const std::string svg = plot.ToSvg();
  std::vector<double> xs, ys;
  for (size_t at = svg.find("cx=\""); at != std::string::npos; at = svg.find("cx=\"", at + 1)) {
    xs.push_back(std::stod(svg.substr(at + 4)));
    ys.push_back(std::stod(svg.substr(svg.find("cy=\"", at) + 4)));
  }
  ASSERT_EQ(xs.size(), 4u);  // three points and the legend's
  EXPECT_NEAR(xs[1] - xs[0], xs[2] - xs[1], 0.2);
  EXPECT_GT(xs[1], xs[0] + 100);
  EXPECT_NEAR(ys[0] - ys[1], ys[1] - ys[2], 0.2);
  EXPECT_GT(ys[0], ys[1] + 50);
}

TEST(LinePlotTest, OnePointLevelLinesAndNothingAtAllAreDrawn) {
  LinePlot plot = TwoPanels();
  plot.panels[0].lines = {{0, {{50, 7}}}};
  plot.panels[1].lines.clear();
  const std::string svg = plot.ToSvg();
  EXPECT_TRUE(CountElements(svg).has_value());
  EXPECT_THAT(svg, AllOf(Not(HasSubstr("nan")), Not(HasSubstr("inf"))));
  EXPECT_TRUE(CountElements(LinePlot{}.ToSvg()).has_value());
}

}  // namespace
}  // namespace dime
