#include "server/pipeline/group_stage.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"
#include "tests/fakes/fake_mutable_gallery.h"

namespace dime {
namespace {

using ::testing::ElementsAre;
using Group = std::optional<std::string>;

class GroupStageTest : public testing::Test {
 protected:
  // Candidates of captions with these payloads, in this order.
  std::vector<Candidate> Captions(const std::vector<Payload>& payloads) {
    std::vector<Candidate> candidates;
    for (size_t i = 0; i < payloads.size(); ++i) {
      CaptionRecord record;
      record.id = std::to_string(i);
      record.text = "red star";
      record.image_id = i % 2 == 0 ? "even" : "";
      record.payload = payloads[i];
      const EncodedItems features = *FakeCaptionEncoder().EncodeCaptions({record.text});
      EXPECT_TRUE(gallery_.UpsertCaptions({record}, features.view()).ok());
      candidates.push_back({.row = *gallery_.Pin()->FindRow(Modality::kCaption, record.id)});
    }
    return candidates;
  }
  std::vector<Group> Groups(const std::vector<Candidate>& candidates, const GroupBy& group_by) {
    return *GroupStage().Run(*gallery_.Pin(), Modality::kCaption, candidates, group_by);
  }

  FakeMutableGallery gallery_;
};

TEST_F(GroupStageTest, EqualScalarsAreOneGroup) {
  const std::vector<Group> groups = Groups(Captions({{{"k", "a"}},
                                                     {{"k", "a"}},
                                                     {{"k", "b"}},
                                                     {{"k", 1.0}},
                                                     {{"k", 1.0}},
                                                     {{"k", "1.0"}},
                                                     {{"k", true}},
                                                     {{"k", "true"}}}),
                                           {.path = {"k"}});
  EXPECT_EQ(groups[0], groups[1]);
  EXPECT_EQ(groups[3], groups[4]);
  const std::set<Group> different(groups.begin(), groups.end());
  EXPECT_EQ(different.size(), 6u);
  EXPECT_EQ(different.count(std::nullopt), 0u);
}

TEST_F(GroupStageTest, PathsLeadIntoObjects) {
  const std::vector<Group> groups =
      Groups(Captions({{{"a", {{"b", "x"}}}}, {{"a", {{"b", "x"}, {"c", 1}}}}, {{"a", "x"}}}),
             {.path = {"a", "b"}});
  EXPECT_TRUE(groups[0].has_value());
  EXPECT_EQ(groups[0], groups[1]);
  EXPECT_EQ(groups[2], std::nullopt);
}

TEST_F(GroupStageTest, WithoutAScalarThereIsNoGroup) {
  EXPECT_THAT(
      Groups(Captions(
                 {nullptr, {{"other", 1}}, {{"k", nullptr}}, {{"k", {1, 2}}}, {{"k", {{"x", 1}}}}}),
             {.path = {"k"}}),
      ElementsAre(std::nullopt, std::nullopt, std::nullopt, std::nullopt, std::nullopt));
}

TEST_F(GroupStageTest, ByTheRecordsOwnFields) {
  const std::vector<Group> groups =
      Groups(Captions({nullptr, nullptr, nullptr}), {.path = {"image_id"}, .in_payload = false});
  EXPECT_TRUE(groups[0].has_value());
  EXPECT_EQ(groups[1], std::nullopt);
  EXPECT_EQ(groups[0], groups[2]);
}

}  // namespace
}  // namespace dime
