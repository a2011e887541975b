#include "server/page_token.h"
#include "tests/fuzz/fuzz_target.h"

namespace dime {
namespace {

void Run(absl::string_view bytes) {
  if (const auto token = SearchPageToken::Decode(bytes); token.has_value()) {
    FuzzRequire(token->offset >= 0, "an offset is not negative");
    const auto again = SearchPageToken::Decode(token->Encode());
    FuzzRequire(
        again.has_value() && again->window == token->window && again->offset == token->offset,
        "a search's token survives");
  }
  if (const auto token = ListPageToken::Decode(bytes); token.has_value()) {
    const auto again = ListPageToken::Decode(token->Encode());
    FuzzRequire(again.has_value() && again->after_id == token->after_id &&
                    again->request_digest == token->request_digest,
                "a list's token survives");
  }
}

}  // namespace

FuzzTarget TokenTarget() {
  return {.name = "token",
          .seeds = {SearchPageToken{.window = "0123456789abcdef", .offset = 10}.Encode(),
                    ListPageToken{.after_id = "image-7", .request_digest = Digest("x")}.Encode(),
                    "AAAA"},
          .run = Run};
}

}  // namespace dime
