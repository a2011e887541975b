#include "index/payload.h"
#include "server/payload_message.h"
#include "tests/fuzz/fuzz_target.h"

namespace dime {
namespace {

// Hears nothing.
struct Deaf : PayloadVisitor {
  void Null() override {}
  void Bool(bool) override {}
  void Number(double) override {}
  void Text(absl::string_view) override {}
  void StartObject() override {}
  void Name(absl::string_view) override {}
  void EndObject() override {}
  void StartList() override {}
  void EndList() override {}
};

void CheckSurvives(const Payload& payload) {
  const std::string bytes = SerializePayload(payload);
  FuzzRequire(bytes.size() <= kMaxPayloadBytes, "a payload is bounded");
  const auto again = ParsePayload(bytes);
  FuzzRequire(again.ok() && *again == payload, "a payload survives being stored");
  if (payload.is_null()) return;
  const auto sent = SerializeStoredPayload(bytes);
  FuzzRequire(sent.ok() && *sent == SerializePayloadMessage(payload),
              "what is stored is sent as what was not is");
  google::protobuf::Struct message;
  FuzzRequire(message.ParseFromString(*sent) && FromProtoStruct(message) == payload,
              "a payload survives being sent");
}

void Run(absl::string_view bytes) {
  if (const auto payload = PayloadFromJson(bytes); payload.ok()) CheckSurvives(*payload);
  const auto payload = ParsePayload(bytes);
  Deaf visitor;
  FuzzRequire(bytes.empty() || payload.ok() == VisitStoredPayload(bytes, visitor).ok(),
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
