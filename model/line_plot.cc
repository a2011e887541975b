#include "model/line_plot.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace dime {
namespace {

// Pixels. A panel is its axes' box with room for the numbers and labels around it.
constexpr double kPanelWidth = 460, kPanelHeight = 330;
constexpr double kLeft = 62, kRight = 18, kTop = 34, kBottom = 52;
constexpr double kTitleHeight = 40, kLegendRow = 22, kLegendColumn = 220, kMargin = 12;
constexpr char kGrid[] = "#dddddd", kInk[] = "#222222";

std::string Escape(const std::string& text) {
  return absl::StrReplaceAll(
      text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
}

// A number for a tick: no more digits than it needs.
std::string TickLabel(double value) { return absl::StrFormat("%g", value); }

std::string Text(double x, double y, const std::string& text, const char* anchor, int size,
                 const std::string& more = "") {
  return absl::StrFormat(
      "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%d\"%s>%s</text>\n", x, y, anchor,
      size, more, Escape(text));
}

std::string Segment(double x0, double y0, double x1, double y1, const char* colour) {
  return absl::StrFormat("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n",
                         x0, y0, x1, y1, colour);
}

std::string Marker(double x, double y, const LinePlot::Style& style) {
  return absl::StrFormat("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.2\" fill=\"%s\"/>\n", x, y,
                         Escape(style.colour));
}

std::string Stroke(const LinePlot::Style& style) {
  std::string stroke =
      absl::StrFormat("stroke=\"%s\" stroke-width=\"%.1f\"", Escape(style.colour), style.width);
  if (!style.dashes.empty()) {
    absl::StrAppend(&stroke, " stroke-dasharray=\"", Escape(style.dashes), "\"");
  }
  return stroke;
}

// A tick distance of 1, 2 or 5 times a power of ten, for about `ticks` of them over `range`.
double TickStep(double range, int ticks) {
  const double rough = range / ticks;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough) return factor * power;
  }
  return 10 * power;
}

// 1, 2 and 5 times the powers of ten within [low, high]; the powers alone where that is many.
std::vector<double> LogTicks(double low, double high) {
  std::vector<double> ticks;
  const bool powers_only = std::log10(high / low) > 4;
  for (double power = std::pow(10, std::floor(std::log10(low))); power <= high; power *= 10) {
    for (double factor : {1.0, 2.0, 5.0}) {
      if (powers_only && factor > 1) continue;
      const double tick = factor * power;
      if (tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9)) ticks.push_back(tick);
    }
  }
  return ticks;
}

// Where a panel's values lie on the page.
class Axes {
 public:
  Axes(const LinePlot::Panel& panel, double left, double top)
      : left_(left), right_(left + kPanelWidth), top_(top), bottom_(top + kPanelHeight) {
    bool any = false;
    for (const LinePlot::Line& line : panel.lines) {
      for (const auto& [x, y] : line.points) {
        x_low_ = any ? std::min(x_low_, x) : x;
        x_high_ = any ? std::max(x_high_, x) : x;
        y_low_ = any ? std::min(y_low_, y) : y;
        y_high_ = any ? std::max(y_high_, y) : y;
        any = true;
      }
    }
    if (x_high_ <= x_low_) {
      x_low_ /= 2;
      x_high_ = x_low_ * 4;
    }
    // Lines keep off the frame, and a level one lies in the middle.
    const double space = y_high_ > y_low_ ? (y_high_ - y_low_) * 0.06 : 1;
    y_low_ -= space;
    y_high_ += space;
  }

  double X(double x) const {
    return left_ + kPanelWidth * std::log(x / x_low_) / std::log(x_high_ / x_low_);
  }
  double Y(double y) const { return bottom_ - kPanelHeight * (y - y_low_) / (y_high_ - y_low_); }

  std::string Draw(const LinePlot::Panel& panel) const {
    std::string svg;
    const double step = TickStep(y_high_ - y_low_, 6);
    for (double tick = std::ceil(y_low_ / step) * step; tick <= y_high_; tick += step) {
      // What is left of adding up steps is not a number to print.
      const double value = std::round(tick / step) * step;
      absl::StrAppend(&svg, Segment(left_, Y(value), right_, Y(value), kGrid),
                      Text(left_ - 7, Y(value) + 4, TickLabel(value), "end", 12));
    }
    for (double tick : LogTicks(x_low_, x_high_)) {
      absl::StrAppend(&svg, Segment(X(tick), top_, X(tick), bottom_, kGrid),
                      Text(X(tick), bottom_ + 17, TickLabel(tick), "middle", 12));
    }
    absl::StrAppendFormat(&svg,
                          "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
                          "fill=\"none\" stroke=\"%s\"/>\n",
                          left_, top_, kPanelWidth, kPanelHeight, kInk);
    const double middle_x = (left_ + right_) / 2, middle_y = (top_ + bottom_) / 2;
    absl::StrAppend(&svg, Text(middle_x, top_ - 11, panel.title, "middle", 14),
                    Text(middle_x, bottom_ + 39, panel.x_label, "middle", 13));
    const double label_x = left_ - 44;
    absl::StrAppend(
        &svg, Text(label_x, middle_y, panel.y_label, "middle", 13,
                   absl::StrFormat(" transform=\"rotate(-90 %.1f %.1f)\"", label_x, middle_y)));
    return svg;
  }

 private:
  const double left_, right_, top_, bottom_;
  double x_low_ = 1, x_high_ = 10, y_low_ = 0, y_high_ = 0;
};

}  // namespace

std::string LinePlot::ToSvg() const {
  const double cell_width = kLeft + kPanelWidth + kRight;
  const double width =
      2 * kMargin + cell_width * static_cast<double>(std::max<size_t>(panels.size(), 1));
  const auto columns =
      std::max<size_t>(1, static_cast<size_t>((width - 2 * kMargin - kLeft) / kLegendColumn));
  const size_t legend_rows = (styles.size() + columns - 1) / columns;
  const double legend_top = kTitleHeight + kTop + kPanelHeight + kBottom;
  const double height = legend_top + kLegendRow * static_cast<double>(legend_rows) + kMargin;

  std::string svg = absl::StrFormat(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
      "viewBox=\"0 0 %.0f %.0f\" font-family=\"sans-serif\" fill=\"%s\">\n"
      "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
      width, height, width, height, kInk);
  absl::StrAppend(&svg, Text(width / 2, 26, title, "middle", 16));
  for (size_t p = 0; p < panels.size(); ++p) {
    const Axes axes(panels[p], kMargin + kLeft + cell_width * static_cast<double>(p),
                    kTitleHeight + kTop);
    absl::StrAppend(&svg, axes.Draw(panels[p]));
    for (const Line& line : panels[p].lines) {
      const Style& style = styles[line.style];
      std::string points;
      for (const auto& [x, y] : line.points) {
        absl::StrAppendFormat(&points, "%s%.1f,%.1f", points.empty() ? "" : " ", axes.X(x),
                              axes.Y(y));
      }
      absl::StrAppend(&svg, "<polyline points=\"", points, "\" fill=\"none\" ", Stroke(style),
                      "/>\n");
      if (!style.markers) continue;
      for (const auto& [x, y] : line.points) {
        absl::StrAppend(&svg, Marker(axes.X(x), axes.Y(y), style));
      }
    }
  }
  for (size_t s = 0; s < styles.size(); ++s) {
    const double x = kMargin + kLeft + kLegendColumn * static_cast<double>(s % columns);
    const double y = legend_top + kLegendRow * static_cast<double>(s / columns) + 8;
    absl::StrAppendFormat(&svg, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x,
                          y, x + 34, y, Stroke(styles[s]));
    if (styles[s].markers) absl::StrAppend(&svg, Marker(x + 17, y, styles[s]));
    absl::StrAppend(&svg, Text(x + 42, y + 4, styles[s].label, "start", 13));
  }
  absl::StrAppend(&svg, "</svg>\n");
  return svg;
}

}  // namespace dime
