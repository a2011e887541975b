#include "examples/scenes/scene_json.h"

#include "examples/scenes/scene_painter.h"
#include "examples/scenes/scene_sampler.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime::scenes {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json SomeScene() {
  RandomStream random({51});
  return json::parse(SceneToJson(SceneSampler().SampleTwins(random).first).dump());
}

TEST(SceneJsonTest, ASceneReadBackIsDrawnAlike) {
  const SceneSampler sampler;
  const ScenePainter painter;
  for (uint64_t i = 0; i < 20; ++i) {
    RandomStream random({52, i});
    const Scene scene = sampler.SampleTwins(random).first;
    const auto read = SceneFromJson(json::parse(SceneToJson(scene).dump()));
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->Signature(), scene.Signature());
    EXPECT_EQ(painter.Paint(*read).pixels, painter.Paint(scene).pixels);
  }
}

TEST(SceneJsonTest, ErrorsNameTheField) {
  const auto message_of = [](const json& changed) {
    const auto scene = SceneFromJson(changed);
    EXPECT_EQ(scene.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(scene.status().message());
  };
  for (const auto& [field, value] : {std::pair<const char*, json>{"shape", "blob"},
                                     {"colour", 3},
                                     {"column", 3},
                                     {"row", 0.5},
                                     {"x", 1e9},
                                     {"radius", -1},
                                     {"rgb", json::array({0, 0, 256})}}) {
    json changed = SomeScene();
    changed["objects"][0][field] = value;
    EXPECT_THAT(message_of(changed), HasSubstr(field));
    changed["objects"][0].erase(field);
    EXPECT_THAT(message_of(changed), HasSubstr(field));
  }
  json many = SomeScene();
  while (many["objects"].size() <= kMaxObjects) many["objects"].push_back(many["objects"][0]);
  EXPECT_THAT(message_of(many), HasSubstr("objects"));
  EXPECT_THAT(message_of(json::array()), HasSubstr("scene"));
  EXPECT_THAT(message_of(json::object()), HasSubstr("background"));
}

}  // namespace
}  // namespace dime::scenes
