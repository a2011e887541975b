#include "examples/scenes/sheet.h"

#include <algorithm>

#include "gtest/gtest.h"

#if defined(__SANITIZE_ADDRESS__)
// fontconfig keeps the patterns that Cairo asked for until the process ends, without a pointer that
// LeakSanitizer could find.
extern "C" const char* __lsan_default_suppressions() { return "leak:libfontconfig"; }
#endif

namespace dime::scenes {
namespace {

Sheet::Tile GreyTile() {
  Sheet::Tile tile = {Picture(20, 20), "1  some-id", {"a few words about the picture"}};
  std::fill(tile.picture.pixels.begin(), tile.picture.pixels.end(), uint8_t{120});
  return tile;
}

TEST(SheetTest, DrawsPicturesInRowsUnderATitle) {
  Sheet sheet;
  sheet.title = "a query";
  sheet.columns = 2;
  sheet.scale = 2;
  sheet.beneath = true;
  for (int i = 0; i < 3; ++i) sheet.tiles.push_back(GreyTile());
  const std::string path = ::testing::TempDir() + "/sheet_test.png";
  const absl::Status status = WriteSheet(sheet, path);
  if (absl::IsFailedPrecondition(status)) GTEST_SKIP() << status.message();
  ASSERT_TRUE(status.ok()) << status;
  const auto page = ReadPng(path, 200, 200);
  ASSERT_TRUE(page.ok());
  // Three pictures and some words on white.
  EXPECT_TRUE(std::any_of(page->pixels.begin(), page->pixels.end(), [](int v) { return v < 130; }));
  EXPECT_EQ(page->At(0, 199)[0], 255);
}

TEST(SheetTest, RefusesNothingToDraw) {
  EXPECT_EQ(WriteSheet(Sheet(), ::testing::TempDir() + "/none.png").code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dime::scenes
