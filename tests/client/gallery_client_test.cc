#include "client/gallery_client.h"

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_gallery_server.h"

namespace dime {
namespace {

class GalleryClientTest : public testing::Test {
 protected:
  static std::unique_ptr<RetrievalClient> Connect(const std::string& address) {
    RetrievalClient::Options options;
    options.address = address;
    return *RetrievalClient::Create(options);
  }
  void PutImage(const std::string& id) {
    grpc::ClientContext context;
    const auto stream = gallery_.stub().UpsertImages(&context);
    v1::UpsertImagesRequest request;
    request.mutable_image()->set_id(id);
    ASSERT_TRUE(stream->Write(request));
    stream->WritesDone();
    v1::UpsertResponse response;
    while (stream->Read(&response)) {
    }
    ASSERT_TRUE(stream->Finish().ok());
  }

  FakeGalleryServer server_;
  const std::unique_ptr<RetrievalClient> client_ = Connect(server_.address());
  const GalleryClient gallery_{client_.get()};
};

TEST_F(GalleryClientTest, GetsAndListsAndDeletes) {
  for (const char* id : {"a", "b", "c"}) PutImage(id);
  v1::GetItemRequest get;
  get.set_id("b");
  const auto item = gallery_.GetItem(get);
  ASSERT_TRUE(item.ok()) << item.status();
  EXPECT_EQ(item->image().id(), "b");

  v1::ListItemsRequest list;
  list.set_filter("n > 1");
  auto page = gallery_.ListItems(list);
  ASSERT_TRUE(page.ok());
  EXPECT_EQ(page->items_size(), 2);
  EXPECT_EQ(server_.last_list().filter(), "n > 1");
  list.set_page_token(page->next_page_token());
  page = gallery_.ListItems(list);
  ASSERT_TRUE(page.ok());
  ASSERT_EQ(page->items_size(), 1);
  EXPECT_EQ(page->items(0).image().id(), "c");

  v1::DeleteItemsRequest deletion;
  deletion.add_ids("a");
  deletion.add_ids("z");
  const auto deleted = gallery_.DeleteItems(deletion);
  ASSERT_TRUE(deleted.ok());
  EXPECT_EQ(deleted->outcomes(0).code(), 0);
  EXPECT_EQ(deleted->outcomes(1).reason(), v1::ERROR_REASON_ITEM_NOT_FOUND);
  EXPECT_EQ(gallery_.GetStats()->modalities(0).item_count(), 2);
}

TEST_F(GalleryClientTest, TheServersErrorsAreTheCallers) {
  v1::GetItemRequest get;
  get.set_id("nobody");
  const auto item = gallery_.GetItem(get);
  EXPECT_EQ(item.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(item.status().message()), testing::HasSubstr("no such image"));
}

TEST_F(GalleryClientTest, ASnapshotIsAsked) {
  v1::CreateSnapshotRequest request;
  request.set_name("monday");
  const auto snapshot = gallery_.CreateSnapshot(request);
  ASSERT_TRUE(snapshot.ok());
  EXPECT_EQ(snapshot->path(), "/snapshots/monday");
}

TEST(GalleryClientWithoutServerTest, ADeadlineOfTheCallsOwnHolds) {
  // Nobody listens there; the client waits for no longer than it is told.
  RetrievalClient::Options options;
  options.address = "127.0.0.1:1";
  const std::unique_ptr<RetrievalClient> client = *RetrievalClient::Create(options);
  const auto stats = GalleryClient(client.get()).GetStats(absl::Milliseconds(200));
  EXPECT_THAT(stats.status().code(),
              testing::AnyOf(absl::StatusCode::kUnavailable, absl::StatusCode::kDeadlineExceeded));
}

}  // namespace
}  // namespace dime
