#ifndef DIME_MODEL_LINE_PLOT_H_
#define DIME_MODEL_LINE_PLOT_H_

#include <string>
#include <utility>
#include <vector>

namespace dime {

// Line charts side by side with one legend below, drawn as an SVG document. The x axes are
// logarithmic, the y axes linear over the values that occur, each panel's its own. A value.
struct LinePlot {
  // What distinguishes one line from another; shown in the legend.
  struct Style {
    std::string label;
    std::string colour;  // as in SVG, such as "#1f77b4"
    std::string dashes;  // as in SVG, such as "6 4"; empty = solid
    bool markers = false;
    double width = 2;  // pixels
  };
  struct Line {
    size_t style = 0;                               // into styles
    std::vector<std::pair<double, double>> points;  // x > 0, ascending; all finite
  };
  struct Panel {
    std::string title, x_label, y_label;
    std::vector<Line> lines;  // later ones are drawn over earlier ones
  };

  std::string title;
  std::vector<Style> styles;
  std::vector<Panel> panels;

  std::string ToSvg() const;
};

}  // namespace dime

#endif  // DIME_MODEL_LINE_PLOT_H_
