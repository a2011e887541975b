#include "index/payload.h"
#include "tests/fuzz/fuzz_target.h"

namespace dime {
namespace {

// Hears nothing.
struct Deaf : PayloadVisitor {
  void Null() override {}
  void Bool(bool) override {}
  void Number(double) override {}
  void Text(std::string) override {}
  void StartObject() override {}
  void Name(std::string) override {}
  void EndObject() override {}
  void StartList() override {}
  void EndList() override {}
};

void CheckSurvives(const Payload& payload) {
  const std::string bytes = SerializePayload(payload);
  FuzzRequire(bytes.size() <= kMaxPayloadBytes, "a payload is bounded");
  const auto again = ParsePayload(bytes);
  FuzzRequire(again.ok() && *again == payload, "a payload survives being stored");
  Deaf visitor;
  FuzzRequire(payload.is_null() || VisitPayload(bytes, visitor).ok(), "what is stored is visited");
}

void Run(absl::string_view bytes) {
  if (const auto payload = PayloadFromJson(bytes); payload.ok()) CheckSurvives(*payload);
  const auto payload = ParsePayload(bytes);
  Deaf visitor;
  FuzzRequire(bytes.empty() || payload.ok() == VisitPayload(bytes, visitor).ok(),
              "what is parsed is visited, and nothing else");
  if (payload.ok()) {
    // What another program wrote may be more than would be taken anew.
    const auto checked = CheckPayload(*payload);
    if (checked.ok()) CheckSurvives(*checked);
  }
}

}  // namespace

FuzzTarget PayloadTarget() {
  constexpr char kJson[] =
      R"({"color": "caf\u00e9", "n": -1.5e300, "list": [true, null, {"deep": [[]]}], "": 1})";
  return {.name = "payload",
          .seeds = {kJson, "null", "{}", R"({"a": {"b": {"c": {"d": [1, 2, 3]}}}})",
                    SerializePayload({{"color", "red"}, {"sizes", {1.0, 2.5}}, {"x", nullptr}})},
          .run = Run};
}

}  // namespace dime
