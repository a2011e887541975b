#include "examples/scenes/world_writer.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "examples/scenes/featuriser.h"
#include "examples/scenes/picture.h"
#include "examples/scenes/split_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "index/precomputed_dataset.h"

namespace dime::scenes {
namespace {

using ::testing::HasSubstr;

namespace fs = std::filesystem;

std::string ContentOf(const fs::path& path) {
  std::ostringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return content.str();
}

class WorldWriterTest : public ::testing::Test {
 protected:
  static constexpr int kScenes = 12;

  ~WorldWriterTest() override { fs::remove_all(root_); }

  // Writes a small world of the seed and returns its directory.
  std::string WriteWorld(const std::string& name, uint64_t seed) {
    const std::string directory = (root_ / name).string();
    World world(seed);
    entries_ = *world.MakeSplit(Split::kTest, kScenes);
    auto writer = WorldWriter::Create(directory);
    EXPECT_TRUE(writer.ok()) << writer.status();
    auto summary = writer->WriteSplit(Split::kTest, entries_, /*with_png=*/true, {});
    EXPECT_TRUE(summary.ok()) << summary.status();
    summary_ = *summary;
    EXPECT_TRUE(writer->WriteSummary(seed, {summary_}).ok());
    return directory;
  }

  std::map<std::string, std::string> AllFiles(const std::string& directory) {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(directory)) {
      if (!entry.is_regular_file()) continue;
      files[fs::relative(entry.path(), directory).string()] = ContentOf(entry.path());
    }
    return files;
  }

  const fs::path root_ =
      fs::path(::testing::TempDir()) /
      (std::string("world_") + ::testing::UnitTest::GetInstance()->current_test_info()->name());
  std::vector<WorldEntry> entries_;
  SplitSummary summary_;
};

TEST_F(WorldWriterTest, ASeedReproducesEveryByte) {
  const auto first = AllFiles(WriteWorld("a", 7));
  EXPECT_EQ(first.size(), 6u + kScenes);
  EXPECT_EQ(first, AllFiles(WriteWorld("b", 7)));
  const auto other = AllFiles(WriteWorld("c", 8));
  EXPECT_NE(first.at("test_ims.npy"), other.at("test_ims.npy"));
}

TEST_F(WorldWriterTest, IsAPrecomputedDataset) {
  const std::string directory = WriteWorld("world", 7);
  const auto dataset = PrecomputedDataset::Open(directory, "test");
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ((*dataset)->num_images(), kScenes);
  EXPECT_EQ((*dataset)->captions_per_image(), kCaptionKinds);
  EXPECT_EQ((*dataset)->num_regions(), Featuriser::kRegions);
  EXPECT_EQ((*dataset)->feature_dim(), Featuriser::kDimension);
  EXPECT_EQ((*dataset)->captions()[8], entries_[1].captions[3].text);
  const auto image = (*dataset)->Image(5);
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->id, "scene-test-00005");
  EXPECT_EQ(image->width, kScenePixels);
  EXPECT_THAT(image->uri, HasSubstr("test_images/scene-test-00005.png"));
  EXPECT_EQ(image->boxes, Featuriser::Boxes());
}

TEST_F(WorldWriterTest, FeaturesAreThoseOfThePng) {
  const std::string directory = WriteWorld("world", 7);
  const auto picture = ReadPng(directory + "/test_images/scene-test-00003.png", 120, 120);
  ASSERT_TRUE(picture.ok()) << picture.status();
  const auto dataset = PrecomputedDataset::Open(directory, "test");
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  std::vector<float> written(size_t{Featuriser::kRegions} * Featuriser::kDimension);
  ASSERT_TRUE((*dataset)->ReadFeatures(3, 1, absl::MakeSpan(written)).ok());
  EXPECT_EQ(*Featuriser().Featurise(*picture), written);
}

TEST_F(WorldWriterTest, SplitReaderReadsItBack) {
  const std::string directory = WriteWorld("world", 7);
  const auto entries = ReadSplitEntries(directory, "test");
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), entries_.size());
  for (size_t i = 0; i < entries_.size(); ++i) {
    EXPECT_EQ((*entries)[i].id, entries_[i].id);
    EXPECT_EQ((*entries)[i].twin_kind, entries_[i].twin_kind);
    EXPECT_EQ(
        std::vector<bool>((*entries)[i].true_of_twin.begin(), (*entries)[i].true_of_twin.end()),
        entries_[i].true_of_twin);
    EXPECT_EQ((*entries)[i].scene.Signature(), entries_[i].scene.Signature());
  }
  const auto truth = ReadTruth(directory, "test", kScenes);
  ASSERT_TRUE(truth.ok()) << truth.status();
  double total = 0;
  for (size_t c = 0; c < truth->size(); ++c) {
    EXPECT_THAT((*truth)[c], ::testing::Contains(static_cast<int>(c) / kCaptionKinds));
    total += double((*truth)[c].size());
  }
  EXPECT_DOUBLE_EQ(total / double(truth->size()), summary_.mean_true_scenes);
}

TEST_F(WorldWriterTest, WorldJsonTellsSeedAndCeilings) {
  const auto json = nlohmann::json::parse(ContentOf(WriteWorld("world", 9) + "/world.json"));
  EXPECT_EQ(json["seed"], 9);
  EXPECT_EQ(json["splits"]["test"]["scenes"], kScenes);
  EXPECT_DOUBLE_EQ(json["splits"]["test"]["ambiguity_ceiling_percent"]["text_to_image"]["r1"],
                   summary_.ceiling.text_to_image[0]);
  EXPECT_EQ(json["featuriser"]["means"].size(), size_t{Featuriser::kStandardised});
}

TEST_F(WorldWriterTest, SplitReaderRefusesDamagedFiles) {
  const std::string directory = WriteWorld("world", 7);
  const std::string meta = directory + "/test_meta.json";
  const std::string good = ContentOf(meta);
  const auto message_with = [&](const std::string& content) {
    std::ofstream(meta, std::ios::binary | std::ios::trunc) << content;
    const auto entries = ReadSplitEntries(directory, "test");
    EXPECT_EQ(entries.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(entries.status().message());
  };
  EXPECT_THAT(message_with(good.substr(0, good.size() / 2)), HasSubstr(meta));
  EXPECT_THAT(message_with("[]"), HasSubstr("pairs"));
  auto changed = nlohmann::json::parse(good);
  changed[3]["twin_kind"] = "cousins";
  EXPECT_THAT(message_with(changed.dump()), HasSubstr("entry 3"));
  changed = nlohmann::json::parse(good);
  changed[4]["captions"].erase(0);
  EXPECT_THAT(message_with(changed.dump()), HasSubstr("entry 4"));
  EXPECT_THAT(message_with(R"([1, 2])"), HasSubstr("entry 0"));
  EXPECT_EQ(ReadSplitEntries(directory, "train").status().code(), absl::StatusCode::kNotFound);

  const std::string truth = directory + "/test_truth.json";
  auto rows = nlohmann::json::parse(ContentOf(truth));
  rows[2] = {kScenes};
  std::ofstream(truth, std::ios::trunc) << rows.dump();
  EXPECT_THAT(std::string(ReadTruth(directory, "test", kScenes).status().message()),
              HasSubstr("entry 2"));
  EXPECT_FALSE(ReadTruth(directory, "test", kScenes - 2).ok());
}

TEST_F(WorldWriterTest, AnUnwritableDirectoryIsNamed) {
  std::ofstream(root_.string()) << "a file is in the way";
  const auto writer = WorldWriter::Create((root_ / "world").string());
  EXPECT_FALSE(writer.ok());
  EXPECT_THAT(std::string(writer.status().message()), HasSubstr(root_.string()));
}

}  // namespace
}  // namespace dime::scenes
