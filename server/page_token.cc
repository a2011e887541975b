#include "server/page_token.h"

#include <openssl/sha.h>

#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "index/durable_file.h"

namespace dime {
namespace {

// The first byte of a token tells its kind and form.
constexpr char kSearchToken = 's';
constexpr char kListToken = 'l';
constexpr size_t kWindowNameBytes = 32;
constexpr size_t kDigestBytes = 32;

template <typename Integer>
std::string BytesOf(Integer value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

std::string Seal(char kind, absl::string_view content) {
  std::string bytes = absl::StrCat(std::string(1, kind), content);
  absl::StrAppend(&bytes, BytesOf(Crc32(AsBytes(bytes))));
  return absl::WebSafeBase64Escape(bytes);
}

// The content of a token of this kind.
std::optional<std::string> Unseal(char kind, absl::string_view text) {
  constexpr size_t kChecksumBytes = sizeof(uint32_t);
  std::string bytes;
  if (!absl::WebSafeBase64Unescape(text, &bytes) || bytes.size() < 1 + kChecksumBytes ||
      bytes[0] != kind) {
    return std::nullopt;
  }
  const std::string checksum = bytes.substr(bytes.size() - kChecksumBytes);
  bytes.resize(bytes.size() - kChecksumBytes);
  if (checksum != BytesOf(Crc32(AsBytes(bytes)))) return std::nullopt;
  return bytes.substr(1);
}

}  // namespace

std::string SearchPageToken::Encode() const {
  return Seal(kSearchToken, absl::StrCat(BytesOf(offset), window));
}

std::optional<SearchPageToken> SearchPageToken::Decode(absl::string_view text) {
  const std::optional<std::string> content = Unseal(kSearchToken, text);
  SearchPageToken token;
  if (!content.has_value() || content->size() != sizeof token.offset + kWindowNameBytes) {
    return std::nullopt;
  }
  std::memcpy(&token.offset, content->data(), sizeof token.offset);
  if (token.offset < 0) return std::nullopt;
  token.window = content->substr(sizeof token.offset);
  return token;
}

std::string ListPageToken::Encode() const {
  return Seal(kListToken, absl::StrCat(request_digest, after_id));
}

std::optional<ListPageToken> ListPageToken::Decode(absl::string_view text) {
  const std::optional<std::string> content = Unseal(kListToken, text);
  if (!content.has_value() || content->size() < kDigestBytes) return std::nullopt;
  return ListPageToken{.after_id = content->substr(kDigestBytes),
                       .request_digest = content->substr(0, kDigestBytes)};
}

std::string Digest(absl::string_view bytes) {
  std::string digest(kDigestBytes, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

}  // namespace dime
