// The commands that write to a gallery and read it, as the command line runs them.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/client/cli_run.h"
#include "tests/client/fake_gallery_server.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class GalleryCommandsTest : public ::testing::Test {
 protected:
  GalleryCommandsTest() {
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  ~GalleryCommandsTest() override { std::filesystem::remove_all(directory_); }

  CliOutcome Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--address", server_.address()});
    return RunDime(std::move(arguments));
  }
  // Runs an upsert without its progress on standard error.
  CliOutcome Upsert(const std::string& command, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {command, "--quiet"});
    return Run(std::move(arguments));
  }
  std::string Write(const std::string& name, const std::string& content) {
    const std::string path = (directory_ / name).string();
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  bool Exists(const std::string& path) { return std::filesystem::exists(path); }

  const std::filesystem::path directory_ =
      std::filesystem::path(testing::TempDir()) / absl::StrCat("commands-", getpid());
  FakeGalleryServer server_;
};

std::string Base64(const std::vector<float>& values) {
  return absl::Base64Escape(absl::string_view(reinterpret_cast<const char*>(values.data()),
                                              values.size() * sizeof(float)));
}

TEST_F(GalleryCommandsTest, CaptionsFromTsv) {
  const std::string file = Write("c.tsv", "a\tone red star\timg-1\nb\ttwo\n\n");
  const CliOutcome outcome = Upsert("upsert-captions", {file});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("wrote 2 captions in "));
  EXPECT_THAT(outcome.err, IsEmpty());
  const auto captions = server_.captions();
  ASSERT_THAT(captions, SizeIs(2));
  EXPECT_EQ(captions.at("a").caption().text(), "one red star");
  EXPECT_EQ(captions.at("a").caption().image_id(), "img-1");
  EXPECT_THAT(captions.at("b").caption().image_id(), IsEmpty());
  EXPECT_FALSE(Exists(file + ".captions.dime-journal"));
}

TEST_F(GalleryCommandsTest, CaptionsFromJsonLinesWithAPayload) {
  const std::string file =
      Write("c.jsonl", R"({"id": "a", "text": "one", "payload": {"k": 1, "own": true}, "uri": "u"})"
                       "\n"
                       R"({"id": "b", "text": "two", "image_id": "i"})"
                       "\n");
  const CliOutcome outcome =
      Upsert("upsert-captions", {file, "--payload", R"({"k": 2, "set": "x"})"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto captions = server_.captions();
  const auto& fields = captions.at("a").caption().payload().fields();
  EXPECT_EQ(fields.at("k").number_value(), 1);  // its own
  EXPECT_TRUE(fields.at("own").bool_value());
  EXPECT_EQ(fields.at("set").string_value(), "x");
  EXPECT_EQ(captions.at("b").caption().payload().fields().at("k").number_value(), 2);
  EXPECT_EQ(captions.at("b").caption().image_id(), "i");
}

TEST_F(GalleryCommandsTest, ImagesFromTsv) {
  const std::string boxes = Base64({1, 2, 3, 4, 5, 6, 7, 8}), features = Base64({1, 2, 3, 4, 5, 6});
  const std::string file =
      Write("i.tsv", absl::StrCat("7\t640\t480\t2\t", boxes, "\t", features, "\n8\t640\t480\t2\t",
                                  boxes, "\t", features, "\n"));
  const CliOutcome outcome = Upsert("upsert-images", {file});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto images = server_.images();
  ASSERT_THAT(images, SizeIs(2));
  const v1::UpsertImagesRequest& image = images.at("7");
  EXPECT_EQ(image.image().width(), 640);
  ASSERT_EQ(image.image().boxes_size(), 2);
  EXPECT_EQ(image.image().boxes(1).bottom(), 8);
  EXPECT_EQ(image.features().num_regions(), 2);
  EXPECT_EQ(image.features().feature_dim(), 3);
  EXPECT_EQ(image.features().float32().size(), 24u);
}

TEST_F(GalleryCommandsTest, ImagesFromJsonLines) {
  const std::string file = Write(
      "i.jsonl",
      R"({"id": "a", "width": 3, "boxes": [{"left": 1}], "features": {"num_regions": 1, "feature_dim": 2, "values": [1, 2]}})"
      "\n");
  EXPECT_EQ(Upsert("upsert-images", {file}).exit_code, 0);
  EXPECT_EQ(server_.images().at("a").features().values(1), 2);
  EXPECT_EQ(server_.images().at("a").image().boxes(0).left(), 1);

  const std::string wrong = Write("w.jsonl", "{\"id\": \"a\"}\n");
  const CliOutcome outcome = Upsert("upsert-images", {wrong});
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("w.jsonl line 1: it needs either \"features\"")));
  EXPECT_FALSE(Exists(wrong + ".images.dime-journal"));
}

TEST_F(GalleryCommandsTest, Float16HalvesWhatFeaturesTake) {
  const auto line = [](const std::string& id, const std::string& values) {
    return absl::StrCat(R"({"id": ")", id,
                        R"(", "features": {"num_regions": 1, "feature_dim": 2, )", R"("values": [)",
                        values, "]}}\n");
  };
  const std::string file = Write("i.jsonl", line("a", "1, -2.5"));
  EXPECT_EQ(Upsert("upsert-images", {file, "--float16"}).exit_code, 0);
  const v1::RegionFeatures features = server_.images().at("a").features();
  EXPECT_EQ(features.float16().size(), 4u);
  EXPECT_EQ(features.values_size(), 0);

  const std::string wide = Write("w.jsonl", line("b", "1, 70000"));
  const CliOutcome outcome = Upsert("upsert-images", {wide, "--float16"});
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_THAT(outcome.err, HasSubstr("image b: features: value 1 is 70000"));
}

TEST_F(GalleryCommandsTest, ThePrecomputedLayout) {
  const std::string data = absl::StrCat(DIME_SOURCE_DIR, "/tests/golden/tiny/data");
  const std::string journal = (directory_ / "journal").string();
  const CliOutcome images =
      Upsert("upsert-images", {"--data", data, "--split", "test", "--journal", journal});
  EXPECT_EQ(images.exit_code, 0) << images.err;
  const CliOutcome captions =
      Upsert("upsert-captions", {"--data", data, "--split", "test", "--journal", journal});
  EXPECT_EQ(captions.exit_code, 0) << captions.err;
  EXPECT_FALSE(server_.images().empty());
  EXPECT_FALSE(server_.captions().empty());
  for (const auto& [id, caption] : server_.captions()) {
    EXPECT_EQ(server_.images().count(caption.caption().image_id()), 1u) << id;
  }
}

TEST_F(GalleryCommandsTest, AnInterruptedUpsertGoesOnWithoutDoingWorkTwice) {
  std::string lines;
  for (int i = 0; i < 50; ++i) absl::StrAppend(&lines, "id-", i, "\ttext ", i, "\n");
  const std::string file = Write("c.tsv", lines);
  server_.BreakAfter(20, {grpc::StatusCode::INTERNAL, "the server broke"});
  const CliOutcome broken = Upsert("upsert-captions", {file});
  EXPECT_EQ(broken.exit_code, 1);
  EXPECT_THAT(broken.err,
              AllOf(HasSubstr("the server broke"), HasSubstr("written so far: 20 of 50"),
                    HasSubstr("goes on from there")));
  EXPECT_TRUE(Exists(file + ".captions.dime-journal"));
  const int before = server_.received();

  const CliOutcome rest = Upsert("upsert-captions", {file});
  EXPECT_EQ(rest.exit_code, 0) << rest.err;
  EXPECT_THAT(rest.out, AllOf(HasSubstr("wrote 30 captions"), HasSubstr("20 were written before")));
  EXPECT_EQ(server_.received() - before, 30);
  EXPECT_THAT(server_.captions(), SizeIs(50));
  EXPECT_FALSE(Exists(file + ".captions.dime-journal"));
}

TEST_F(GalleryCommandsTest, OnlyWhatFailedIsTriedAgain) {
  const std::string file = Write("c.tsv", "a\tone\nb\ttwo\nc\tthree\n");
  server_.outcome = [](const std::string& id, int received) {
    v1::Outcome outcome;
    if (id == "b" && received < 3) {
      outcome.set_code(grpc::StatusCode::INVALID_ARGUMENT);
      outcome.set_reason(v1::ERROR_REASON_TEXT_TOO_LONG);
      outcome.set_message("caption.text: too long");
    }
    return outcome;
  };
  const CliOutcome first = Upsert("upsert-captions", {file, "--json"});
  EXPECT_EQ(first.exit_code, 3);
  EXPECT_EQ(first.err, "error: b: caption.text: too long [TEXT_TOO_LONG]\n");
  const nlohmann::json json = nlohmann::json::parse(first.out);
  EXPECT_EQ(json["written"], 2);
  EXPECT_EQ(json["failed"], 1);
  const CliOutcome second = Upsert("upsert-captions", {file});
  EXPECT_EQ(second.exit_code, 0);
  EXPECT_THAT(second.out, HasSubstr("wrote 1 captions"));
  EXPECT_EQ(server_.received(), 4);
}

TEST_F(GalleryCommandsTest, AJournalOfAnotherGalleryIsRefused) {
  const std::string file = Write("c.tsv", "a\tone\nb\ttwo\n");
  server_.BreakAfter(1, {grpc::StatusCode::INTERNAL, "broke"});
  EXPECT_EQ(Upsert("upsert-captions", {file}).exit_code, 1);
  server_.lineage = "another";
  const CliOutcome outcome = Upsert("upsert-captions", {file});
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_THAT(outcome.err, HasSubstr("journal of another upsert"));
}

TEST_F(GalleryCommandsTest, UsageOfTheUpserts) {
  EXPECT_EQ(Run({"upsert-images"}).exit_code, 2);
  EXPECT_THAT(Run({"upsert-images"}).err, HasSubstr("one of FILE and --data DIR is needed"));
  EXPECT_EQ(Run({"upsert-images", "a.tsv", "--data", "d"}).exit_code, 2);
  EXPECT_EQ(Run({"upsert-images", "a.tsv", "--patience", "never"}).exit_code, 2);
  EXPECT_EQ(Run({"upsert-images", Write("a.txt", "")}).exit_code, 3);
  EXPECT_EQ(Run({"upsert-images", "not-there.tsv"}).exit_code, 4);
  EXPECT_EQ(Run({"upsert-captions", Write("c.tsv", "a\tb\n"), "--payload", "[1]"}).exit_code, 3);
}

TEST_F(GalleryCommandsTest, DeletesInPartsThatTheServerTakes) {
  Upsert("upsert-images", {Write("i.jsonl", [] {
           std::string lines;
           for (int i = 0; i < 5; ++i) {
             absl::StrAppend(&lines, "{\"id\": \"", i, "\", \"features\": {\"num_regions\": 1}}\n");
           }
           return lines;
         }())});
  ASSERT_THAT(server_.images(), SizeIs(5));
  const std::string file = Write("ids", "2\n3\n9\n");
  const CliOutcome outcome = Run({"delete", "images", "0", "1", "--ids-file", file});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "deleted 4; 1 were not there\n");
  EXPECT_THAT(outcome.err, HasSubstr("error: 9: no image has the id 9 [ITEM_NOT_FOUND]"));
  ASSERT_THAT(server_.deletions(), SizeIs(2));  // three ids a call
  EXPECT_THAT(server_.deletions()[0].ids(), ElementsAre("0", "1", "2"));
  EXPECT_EQ(server_.deletions()[0].modality(), v1::MODALITY_IMAGE);
  EXPECT_THAT(server_.images(), SizeIs(1));
  EXPECT_EQ(Run({"delete", "images"}).exit_code, 2);
  EXPECT_EQ(Run({"delete", "pictures", "1"}).exit_code, 2);
}

TEST_F(GalleryCommandsTest, GetsAndLists) {
  Upsert(
      "upsert-images",
      {Write(
          "i.jsonl",
          R"({"id": "a", "width": 3, "height": 4, "uri": "u", "payload": {"k": 1}, "features": {"num_regions": 1}})"
          "\n"
          R"({"id": "b", "features": {"num_regions": 1}})"
          "\n"
          R"({"id": "c", "features": {"num_regions": 1}})"
          "\n")});
  const CliOutcome got = Run({"get", "image", "a"});
  EXPECT_EQ(got.exit_code, 0) << got.err;
  EXPECT_EQ(got.out,
            "image        a\npixels       3x4\nuri          u\npayload      {\"k\":1}\n"
            "create_time  2023-11-14T22:13:20.000Z\n");
  EXPECT_EQ(Run({"get", "image", "z"}).exit_code, 4);

  const CliOutcome page = Run({"list", "images", "--filter", "k = 1", "--page-size", "2"});
  EXPECT_THAT(page.out, AllOf(HasSubstr("a   u    {\"k\":1}"), HasSubstr("more: --page-token b")));
  EXPECT_EQ(server_.last_list().filter(), "k = 1");
  EXPECT_EQ(server_.last_list().page_size(), 2);
  const CliOutcome all = Run({"list", "images", "--all", "--json"});
  const nlohmann::json json = nlohmann::json::parse(all.out);
  EXPECT_THAT(json["items"], SizeIs(3));
  EXPECT_EQ(json["next_page_token"], "");
  EXPECT_THAT(Run({"list", "images", "--page-token", "c"}).out, HasSubstr("no items"));
}

TEST_F(GalleryCommandsTest, StatsAndSnapshots) {
  EXPECT_THAT(Run({"stats"}).out, AllOf(HasSubstr("images       0 (2 not in the index yet"),
                                        HasSubstr("version      v7")));
  EXPECT_EQ(Run({"snapshot", "monday"}).out, "wrote /snapshots/monday on the server's machine\n");
}

TEST_F(GalleryCommandsTest, RestoresASnapshot) {
  const std::filesystem::path snapshot = directory_ / "snapshot", target = directory_ / "restored";
  std::filesystem::create_directories(snapshot / "store");
  Write("snapshot/living_gallery.json", "{}");
  Write("snapshot/store/000001.sst", "items");
  const CliOutcome outcome = Run({"restore", snapshot.string(), target.string(), "--json"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(nlohmann::json::parse(outcome.out)["bytes"], 7);
  std::ifstream copied(target / "store/000001.sst");
  std::string content;
  copied >> content;
  EXPECT_EQ(content, "items");

  const CliOutcome again = Run({"restore", snapshot.string(), target.string(), "--json"});
  EXPECT_EQ(again.exit_code, 9);
  EXPECT_THAT(again.err, HasSubstr("is there already"));
  EXPECT_EQ(Run({"restore", (directory_ / "none").string(), "x"}).exit_code, 4);
  EXPECT_EQ(Run({"restore", (snapshot / "store").string(), "x"}).exit_code, 3);
}

}  // namespace
}  // namespace dime
