#ifndef DIME_CLIENT_TEXT_TABLE_H_
#define DIME_CLIENT_TEXT_TABLE_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "client/display_text.h"

namespace dime {

// A table for people: a header, columns as wide as their widest cell, two spaces between them, no
// lines drawn and no white space at the end of a line, so that it reads well and cuts well.
//
// Cells are made printable on their way in, so no cell can break the table. Where the terminal is
// narrower than the table, the last column is wrapped if it allows that; other columns are never
// cut, because people copy ids from them.
// Not thread-safe.
class TextTable {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string header;
    Align align = Align::kLeft;
    bool wrap = false;  // heeded in the last column only
  };
  struct Cell {
    explicit Cell(absl::string_view text, Style style = Style::kPlain);

    std::string text;  // printable
    Style style;
  };

  explicit TextTable(std::vector<Column> columns);

  // One cell for each column; missing ones are empty, and there may not be more.
  void AddRow(std::vector<Cell> cells);

  // Lines, each ended by a newline.
  std::string Render(const Terminal& terminal) const;

 private:
  const std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace dime

#endif  // DIME_CLIENT_TEXT_TABLE_H_
