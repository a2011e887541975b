#include "client/picture_file.h"

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "index/durable_file.h"
#include "index/status_macros.h"

namespace dime {
namespace {

constexpr uintmax_t kMaxBytes = 64 << 20;
constexpr int64_t kMaxSide = 1 << 20;

// Big-endian number of `size` bytes at `at`, which must be there.
int64_t Number(absl::string_view bytes, size_t at, int size) {
  int64_t value = 0;
  for (int i = 0; i < size; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

struct Size {
  int64_t width = 0;
  int64_t height = 0;
};

// Nothing but zeros where the header is not whole.
Size SizeOfPng(absl::string_view bytes) {
  if (bytes.size() < 24 || bytes.substr(12, 4) != "IHDR") return {};
  return {Number(bytes, 16, 4), Number(bytes, 20, 4)};
}

Size SizeOfJpeg(absl::string_view bytes) {
  size_t at = 2;
  while (at + 4 <= bytes.size() && bytes[at] == '\xff') {
    const auto marker = static_cast<uint8_t>(bytes[at + 1]);
    if (marker == 0xff) {  // padding
      ++at;
      continue;
    }
    // Frame headers, which are C0 to CF without the tables among them.
    const bool frame =
        marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
    if (frame) {
      if (at + 9 > bytes.size()) return {};
      return {Number(bytes, at + 7, 2), Number(bytes, at + 5, 2)};
    }
    if (marker == 0xda) return {};  // the pixels begin
    at += 2 + static_cast<size_t>(Number(bytes, at + 2, 2));
  }
  return {};
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

absl::StatusOr<PictureFile> ReadPicture(const std::string& path) {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error) return FileError(error.value(), "cannot read", path);
  if (size > kMaxBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has ", size, " bytes; a picture may have ", kMaxBytes));
  }
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  PictureFile picture;
  picture.bytes.resize(size);
  if (!file || !file.read(picture.bytes.data(), static_cast<std::streamsize>(size))) {
    return FileError(errno != 0 ? errno : EIO, "cannot read", path);
  }
  Size found;
  if (absl::StartsWith(picture.bytes, "\x89PNG\r\n\x1a\n")) {
    picture.media_type = "image/png";
    found = SizeOfPng(picture.bytes);
  } else if (absl::StartsWith(picture.bytes, "\xff\xd8\xff")) {
    picture.media_type = "image/jpeg";
    found = SizeOfJpeg(picture.bytes);
  } else {
    return absl::InvalidArgumentError(absl::StrCat(path, " is neither a PNG nor a JPEG picture"));
  }
  if (found.width < 1 || found.height < 1 || found.width > kMaxSide || found.height > kMaxSide) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": its header does not tell a picture's size; it is damaged"));
  }
  picture.width = static_cast<int>(found.width);
  picture.height = static_cast<int>(found.height);
  return picture;
}

absl::StatusOr<std::string> LocalPath(absl::string_view uri) {
  const size_t colon = uri.find(':');
  const bool has_scheme = colon != absl::string_view::npos && colon < uri.find('/');
  absl::string_view rest = uri;
  if (has_scheme) {
    if (!absl::ConsumePrefix(&rest, "file:")) {
      return absl::InvalidArgumentError(absl::StrCat(uri, " is no file of this machine"));
    }
    if (absl::ConsumePrefix(&rest, "//")) {
      absl::ConsumePrefix(&rest, "localhost");
      if (!absl::StartsWith(rest, "/")) {
        return absl::InvalidArgumentError(absl::StrCat(uri, " is a file of another machine"));
      }
    }
  }
  std::string path;
  for (size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] == '%' && i + 2 < rest.size() && HexDigit(rest[i + 1]) >= 0 &&
        HexDigit(rest[i + 2]) >= 0) {
      path += static_cast<char>(HexDigit(rest[i + 1]) * 16 + HexDigit(rest[i + 2]));
      i += 2;
    } else {
      path += rest[i];
    }
  }
  if (path.empty() || path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat("'", uri, "' names no file"));
  }
  return path;
}

}  // namespace dime
