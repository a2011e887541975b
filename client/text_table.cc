#include "client/text_table.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/strings/str_cat.h"

namespace dime {
namespace {

constexpr int kGap = 2;
// A wrapped column is no narrower, however narrow the terminal: shreds of words help nobody.
constexpr int kLeastWrapWidth = 20;

}  // namespace

TextTable::Cell::Cell(absl::string_view text, Style style) : text(Printable(text)), style(style) {}

TextTable::TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}

void TextTable::AddRow(std::vector<Cell> cells) {
  assert(cells.size() <= columns_.size());
  cells.resize(columns_.size(), Cell(""));
  rows_.push_back(std::move(cells));
}

std::string TextTable::Render(const Terminal& terminal) const {
  std::vector<std::vector<Cell>> rows;
  rows.emplace_back();
  for (const Column& column : columns_) rows[0].emplace_back(column.header, Style::kFaint);
  rows.insert(rows.end(), rows_.begin(), rows_.end());

  const size_t last = columns_.size() - 1;
  std::vector<int> widths(columns_.size(), 0);
  for (const std::vector<Cell>& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], DisplayWidth(row[i].text));
    }
  }
  int before_last = 0;
  for (size_t i = 0; i < last; ++i) before_last += widths[i] + kGap;
  int wrap_width = 0;
  if (columns_[last].wrap && terminal.width > 0) {
    wrap_width = std::max(kLeastWrapWidth, terminal.width - before_last);
    widths[last] = std::min(widths[last], wrap_width);
  }

  std::string result;
  for (const std::vector<Cell>& row : rows) {
    const std::vector<std::string> last_lines = WrapText(row[last].text, wrap_width);
    for (size_t n = 0; n < last_lines.size(); ++n) {
      int owed = 0;  // blanks before the next text; those at the end of a line stay unwritten
      for (size_t i = 0; i < row.size(); ++i) {
        absl::string_view text;  // empty beside the further lines of a wrapped cell
        if (i == last) {
          text = last_lines[n];
        } else if (n == 0) {
          text = row[i].text;
        }
        const int blanks = widths[i] - DisplayWidth(text);
        if (columns_[i].align == Align::kRight) owed += blanks;
        if (!text.empty()) {
          result.append(owed, ' ');
          absl::StrAppend(&result, Styled(text, row[i].style, terminal));
          owed = 0;
        }
        if (columns_[i].align == Align::kLeft) owed += blanks;
        owed += kGap;
      }
      result += '\n';
    }
  }
  return result;
}

}  // namespace dime
