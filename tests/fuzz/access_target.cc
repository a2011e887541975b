#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "server/jwt_verifier.h"
#include "server/trace_context.h"
#include "tests/fakes/test_tokens.h"
#include "tests/fuzz/fuzz_target.h"

namespace dime {
namespace {

const TestTokenKey& Key() {
  static const auto& key = *new TestTokenKey("ES256", "k");
  return key;
}

std::string Token() {
  return Key().Sign({{"iss", "issuer"},
                     {"aud", "dime"},
                     {"sub", "robot"},
                     {"exp", absl::ToUnixSeconds(absl::Now()) + 1'000'000},
                     {"roles", "write"}});
}

JwtVerifier::Options Options(const std::string& path) {
  JwtVerifier::Options options;
  options.keys_path = path;
  options.issuer = "issuer";
  options.audience = "dime";
  return options;
}

void Run(absl::string_view bytes) {
  static JwtVerifier& verifier =
      *JwtVerifier::Create(Options(FuzzFile("jwks", KeySet({&Key()})))).value().release();
  if (const auto holder = verifier.Verify(bytes); holder.has_value()) {
    FuzzRequire(holder->name == "jwt:robot" && holder->role == Role::kWrite,
                "a token is what was signed");
  }
  if (const auto other = JwtVerifier::Create(Options(FuzzFile("hostile-jwks", bytes)));
      other.ok()) {
    (*other)->Verify(Token());
  }
  if (const auto context = ParseTraceParent(bytes); context.has_value()) {
    FuzzRequire(ParseTraceParent(FormatTraceParent(*context))->trace_id == context->trace_id,
                "a trace context survives");
  }
}

}  // namespace

FuzzTarget AccessTarget() {
  return {.name = "access",
          .seeds = {Token(), KeySet({&Key()}),
                    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
          .run = Run};
}

}  // namespace dime
