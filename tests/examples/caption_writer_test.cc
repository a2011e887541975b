#include "examples/scenes/caption_writer.h"

#include <set>
#include <string>

#include "absl/strings/str_split.h"
#include "examples/scenes/scene_sampler.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime::scenes {
namespace {

// What captions may say; every word is one piece of BERT's vocabulary.
const std::set<std::string>& Vocabulary() {
  static const auto* const words = new std::set<std::string>{
      "a",        "an",     "one",     "two",     "three",     "four",     "five",    "exactly",
      "just",     "single", "small",   "little",  "large",     "big",      "solid",   "filled",
      "outlined", "hollow", "striped", "red",     "orange",    "yellow",   "green",   "blue",
      "purple",   "pink",   "black",   "circle",  "square",    "triangle", "star",    "cross",
      "heart",    "shape",  "circles", "squares", "triangles", "stars",    "crosses", "hearts",
      "shapes",   "left",   "right",   "above",   "over",      "below",    "under",   "to",
      "the",      "of",     "and",     "with",    "together",  "there",    "is",      "are",
      "as",       "well",   "picture", "among",   "them",      "in",       "all",     "both"};
  return *words;
}

class CaptionWriterTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kPairs = 300;

  // Calls check(scene, twin, kind, captions of scene) for both scenes of many twins.
  template <typename Check>
  void ForManyScenes(Check check) {
    const SceneSampler sampler;
    for (uint64_t i = 0; i < kPairs; ++i) {
      RandomStream random({21, i});
      const TwinScenes twins = sampler.SampleTwins(random);
      check(twins.first, twins.second, twins.kind,
            writer_.Write(twins.first, twins.second, kOneOfEachKind, random));
      check(twins.second, twins.first, twins.kind,
            writer_.Write(twins.second, twins.first, kOneOfEachKind, random));
    }
  }

  const CaptionWriter writer_;
};

TEST_F(CaptionWriterTest, OneTrueCaptionOfEachKindNamingTwoObjectsOrMore) {
  ForManyScenes([](const Scene& scene, const Scene&, TwinKind,
                   const std::vector<Caption>& captions) {
    ASSERT_EQ(captions.size(), size_t{kCaptionKinds});
    const SceneFacts facts(scene);
    for (int k = 0; k < kCaptionKinds; ++k) {
      EXPECT_EQ(captions[k].kind, static_cast<CaptionKind>(k));
      EXPECT_TRUE(IsTrue(captions[k], facts)) << captions[k].text;
      EXPECT_TRUE(captions[k].phrases.size() >= 2 || captions[k].total >= 2) << captions[k].text;
    }
  });
}

TEST_F(CaptionWriterTest, TellsTwinsApartWhereItCan) {
  int relation_of_mirrored = 0, mixed = 0, binding_of_attributes = 0, mirrored = 0, attributes = 0;
  int scenes = 0;
  ForManyScenes(
      [&](const Scene&, const Scene& twin, TwinKind kind, const std::vector<Caption>& captions) {
        const SceneFacts facts(twin);
        const auto tells = [&](CaptionKind k) {
          return IsTrue(captions[static_cast<size_t>(k)], facts) ? 0 : 1;
        };
        ++scenes;
        mixed += tells(CaptionKind::kMixed);
        if (kind == TwinKind::kMirrored) {
          ++mirrored;
          relation_of_mirrored += tells(CaptionKind::kRelation);
          EXPECT_EQ(tells(CaptionKind::kBinding), 0) << "a mirror image has the same bindings";
        }
        if (kind == TwinKind::kAttributes) {
          ++attributes;
          binding_of_attributes += tells(CaptionKind::kBinding);
        }
      });
  EXPECT_EQ(relation_of_mirrored, mirrored);
  EXPECT_GE(binding_of_attributes, attributes * 95 / 100);
  EXPECT_GE(mixed, scenes * 95 / 100);
}

TEST_F(CaptionWriterTest, BindingCaptionsAreFalseWithTheirAdjectivesExchanged) {
  ForManyScenes(
      [](const Scene& scene, const Scene&, TwinKind, const std::vector<Caption>& captions) {
        std::set<Shape> shapes;
        for (const SceneObject& object : scene.objects) shapes.insert(object.shape);
        if (shapes.size() == 1) return;  // nothing to exchange adjectives between
        Caption exchanged = captions[static_cast<size_t>(CaptionKind::kBinding)];
        std::swap(exchanged.phrases[0].shape, exchanged.phrases[1].shape);
        EXPECT_FALSE(IsTrue(exchanged, SceneFacts(scene))) << exchanged.text;
      });
}

TEST_F(CaptionWriterTest, WordsAreOfTheVocabularyAndFew) {
  ForManyScenes([](const Scene&, const Scene&, TwinKind, const std::vector<Caption>& captions) {
    for (const Caption& caption : captions) {
      const std::vector<std::string> words =
          absl::StrSplit(caption.text, absl::ByAnyChar(" ,"), absl::SkipEmpty());
      EXPECT_GE(words.size(), 4u) << caption.text;
      EXPECT_LE(words.size(), 22u) << caption.text;
      for (const std::string& word : words) {
        EXPECT_TRUE(Vocabulary().contains(word)) << word << " in: " << caption.text;
      }
    }
  });
}

TEST_F(CaptionWriterTest, CaptionsOfASceneDiffer) {
  ForManyScenes([](const Scene&, const Scene&, TwinKind, const std::vector<Caption>& captions) {
    std::set<std::string> texts;
    for (const Caption& caption : captions) texts.insert(caption.text);
    EXPECT_EQ(texts.size(), captions.size()) << captions[0].text;
  });
}

}  // namespace
}  // namespace dime::scenes
