#ifndef DIME_SERVER_PAGE_TOKEN_H_
#define DIME_SERVER_PAGE_TOKEN_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace dime {

// Page tokens as callers get them: opaque text that is safe in URLs, with a checksum, so that what
// was cut or mistyped is noticed. Nothing secret is in them. Plain values; all functions are pure.

// The rest of a search's window (see WindowCache).
struct SearchPageToken {
  std::string window;  // its name
  int64_t offset = 0;  // of the page's first hit

  std::string Encode() const;
  // Nothing if `text` is no such token.
  static std::optional<SearchPageToken> Decode(absl::string_view text);
};

// The rest of a list of items.
struct ListPageToken {
  std::string after_id;        // the last id of the page before
  std::string request_digest;  // of the fields that the requests for all its pages share

  std::string Encode() const;
  static std::optional<ListPageToken> Decode(absl::string_view text);
};

// SHA-256 of `bytes`, 32 bytes.
std::string Digest(absl::string_view bytes);

}  // namespace dime

#endif  // DIME_SERVER_PAGE_TOKEN_H_
