// The gallery's service over real gRPC, by the fakes: what is written is found, and every kind of
// error.
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "dime/v1/gallery.grpc.pb.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/json_util.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "tests/fakes/error_details.h"
#include "tests/fakes/fake_mutable_gallery.h"
#include "tests/server/server_fixture.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using ImageStream = grpc::ClientReaderWriter<v1::UpsertImagesRequest, v1::UpsertResponse>;
using CaptionStream = grpc::ClientReaderWriter<v1::UpsertCaptionsRequest, v1::UpsertResponse>;

class GalleryServiceTest : public ServerFixture {
 protected:
  void StartLiving() {
    auto gallery = std::make_unique<FakeMutableGallery>();
    gallery_ = gallery.get();
    gallery_->on_write = [this](int64_t) {
      if (hold_writes_) write_gate_.Pass();
      return write_error_;
    };
    owned_gallery_ = std::move(gallery);
    Start();
    items_ = v1::GalleryService::NewStub(channel_);
  }
  // Of a gallery that is only read.
  void StartReadOnly() {
    Start();
    items_ = v1::GalleryService::NewStub(channel_);
  }
  ~GalleryServiceTest() override { write_gate_.Open(); }

  static v1::UpsertImagesRequest ImageRequest(const std::string& id, int seed) {
    v1::UpsertImagesRequest request;
    request.mutable_image()->set_id(id);
    v1::RegionFeatures& features = *request.mutable_features();
    features.set_num_regions(kFakeNumRegions);
    features.set_feature_dim(kFakeFeatureDim);
    for (const float value : FakeRegionFeatures(seed)) features.add_values(value);
    return request;
  }
  static v1::UpsertCaptionsRequest CaptionRequest(const std::string& id, const std::string& text,
                                                  const std::string& payload = "") {
    v1::UpsertCaptionsRequest request;
    request.mutable_caption()->set_id(id);
    request.mutable_caption()->set_text(text);
    if (!payload.empty()) SetPayload(payload, *request.mutable_caption());
    return request;
  }
  template <typename Item>
  static void SetPayload(const std::string& json, Item& item) {
    ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(json, item.mutable_payload()).ok());
  }

  // What a reload is given.
  ServingRevision::Source SourceOver(std::unique_ptr<Gallery> gallery) const {
    return {.model = std::make_unique<FakeModel>(),
            .gallery = std::move(gallery),
            .limits = options_.limits};
  }

  // Sends all and gives the outcomes in the requests' order; the stream's start and end are
  // checked.
  std::vector<v1::Outcome> Upsert(const std::vector<v1::UpsertImagesRequest>& requests) {
    grpc::ClientContext context;
    return Exchange<ImageStream>(items_->UpsertImages(&context), requests);
  }
  std::vector<v1::Outcome> Upsert(const std::vector<v1::UpsertCaptionsRequest>& requests) {
    grpc::ClientContext context;
    return Exchange<CaptionStream>(items_->UpsertCaptions(&context), requests);
  }
  template <typename Stream, typename Request>
  std::vector<v1::Outcome> Exchange(std::unique_ptr<Stream> stream,
                                    const std::vector<Request>& requests) {
    v1::UpsertResponse response;
    EXPECT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.start().max_outstanding_items(), options_.limits.max_outstanding_items);
    for (const Request& request : requests) EXPECT_TRUE(stream->Write(request));
    EXPECT_TRUE(stream->WritesDone());
    std::vector<v1::Outcome> outcomes(requests.size());
    size_t results = 0;
    while (stream->Read(&response)) {
      EXPECT_TRUE(response.has_result());
      if (response.result().sequence() >= static_cast<int64_t>(requests.size())) break;
      outcomes[response.result().sequence()] = response.result().outcome();
      ++results;
    }
    EXPECT_EQ(results, requests.size());
    const grpc::Status status = stream->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return outcomes;
  }

  grpc::Status Get(v1::Modality modality, const std::string& id, v1::Item* item) {
    v1::GetItemRequest request;
    request.set_modality(modality);
    request.set_id(id);
    grpc::ClientContext context;
    return items_->GetItem(&context, request, item);
  }
  grpc::Status List(const v1::ListItemsRequest& request, v1::ListItemsResponse* response) {
    grpc::ClientContext context;
    return items_->ListItems(&context, request, response);
  }
  grpc::Status Delete(const std::vector<std::string>& ids, v1::DeleteItemsResponse* response) {
    v1::DeleteItemsRequest request;
    request.set_modality(v1::MODALITY_CAPTION);
    request.mutable_ids()->Add(ids.begin(), ids.end());
    grpc::ClientContext context;
    return items_->DeleteItems(&context, request, response);
  }
  grpc::Status Snapshot(const std::string& name, v1::CreateSnapshotResponse* response) {
    v1::CreateSnapshotRequest request;
    request.set_name(name);
    grpc::ClientContext context;
    return items_->CreateSnapshot(&context, request, response);
  }

  std::atomic<bool> hold_writes_{false};
  Gate write_gate_;
  absl::Status write_error_;
  FakeMutableGallery* gallery_ = nullptr;
  std::unique_ptr<v1::GalleryService::Stub> items_;
};

TEST_F(GalleryServiceTest, WhatIsAcknowledgedIsFound) {
  StartLiving();
  v1::SearchImagesResponse found;
  grpc::ClientContext before;
  const grpc::Status empty = stub_->SearchImages(&before, TextRequest("red"), &found);
  EXPECT_EQ(ParseErrorDetails(empty).reason, "GALLERY_EMPTY");

  std::vector<v1::UpsertImagesRequest> images;
  for (int i = 0; i < 12; ++i) images.push_back(ImageRequest(absl::StrCat("new-", i), i));
  for (const v1::Outcome& outcome : Upsert(images)) EXPECT_EQ(outcome.code(), 0);
  grpc::ClientContext after;
  ASSERT_TRUE(stub_->SearchImages(&after, TextRequest("red"), &found).ok());
  EXPECT_EQ(found.hits_size(), 10);

  v1::GetInfoResponse info;
  grpc::ClientContext info_context;
  ASSERT_TRUE(stub_->GetInfo(&info_context, {}, &info).ok());
  EXPECT_TRUE(info.gallery().writable());
  EXPECT_EQ(info.gallery().image_count(), 12);
}

TEST_F(GalleryServiceTest, ItemsKeepWhatTheyCarry) {
  StartLiving();
  v1::UpsertImagesRequest request = ImageRequest("a", 1);
  v1::Image& image = *request.mutable_image();
  image.set_uri("https://pictures.example/a.png");
  image.set_width(640);
  image.set_height(480);
  for (int r = 0; r < kFakeNumRegions; ++r) {
    v1::Box& box = *image.add_boxes();
    box.set_left(r);
    box.set_top(r + 1);
    box.set_right(r + 2);
    box.set_bottom(r + 3.5f);
  }
  SetPayload(R"({"color": "red", "n": 1.5, "deep": {"list": [1, "x", null, true]}})", image);
  ASSERT_EQ(Upsert(std::vector{request})[0].code(), 0);

  v1::Item item;
  ASSERT_TRUE(Get(v1::MODALITY_IMAGE, "a", &item).ok());
  EXPECT_EQ(item.image().create_time().seconds(), 1);
  EXPECT_EQ(item.image().update_time().seconds(), 1);
  v1::Image written = item.image();
  written.clear_create_time();
  written.clear_update_time();
  EXPECT_EQ(written.DebugString(), image.DebugString());

  // The same again replaces it.
  image.set_width(1);
  ASSERT_EQ(Upsert(std::vector{request})[0].code(), 0);
  ASSERT_TRUE(Get(v1::MODALITY_IMAGE, "a", &item).ok());
  EXPECT_EQ(item.image().width(), 1);
  EXPECT_EQ(item.image().create_time().seconds(), 1);
  EXPECT_EQ(item.image().update_time().seconds(), 2);
  EXPECT_EQ(gallery_->Pin()->size(Modality::kImage), 1);

  v1::UpsertCaptionsRequest caption = CaptionRequest("a", "two red star", R"({"k": "v"})");
  caption.mutable_caption()->set_image_id("elsewhere");
  caption.mutable_caption()->set_uri("file:///captions.txt");
  ASSERT_EQ(Upsert(std::vector{caption})[0].code(), 0);
  ASSERT_TRUE(Get(v1::MODALITY_CAPTION, "a", &item).ok());
  EXPECT_EQ(item.caption().text(), "two red star");
  EXPECT_EQ(item.caption().image_id(), "elsewhere");
  EXPECT_EQ(item.caption().uri(), "file:///captions.txt");
  EXPECT_EQ(item.caption().payload().fields().at("k").string_value(), "v");
}

TEST_F(GalleryServiceTest, FeaturesComeInThreeForms) {
  StartLiving();
  // Numbers that binary16 holds exactly.
  const float numbers[] = {0.5f, -2.0f, 0.0f, 1024.0f, 0.125f};
  const uint16_t halves[] = {0x3800, 0xc000, 0x0000, 0x6400, 0x3000};
  v1::UpsertImagesRequest values = ImageRequest("values", 0), float32 = ImageRequest("float32", 0),
                          float16 = ImageRequest("float16", 0);
  values.mutable_features()->clear_values();
  float32.mutable_features()->clear_values();
  float16.mutable_features()->clear_values();
  for (int i = 0; i < kFakeNumRegions * kFakeFeatureDim; ++i) {
    values.mutable_features()->add_values(numbers[i % 5]);
    float32.mutable_features()->mutable_float32()->append(
        reinterpret_cast<const char*>(&numbers[i % 5]), sizeof(float));
    float16.mutable_features()->mutable_float16()->append(
        reinterpret_cast<const char*>(&halves[i % 5]), sizeof(uint16_t));
  }
  for (const v1::Outcome& outcome : Upsert({values, float32, float16})) {
    EXPECT_EQ(outcome.code(), 0) << outcome.message();
  }
  const auto view = gallery_->Pin();
  const auto features = [&view](const std::string& id) {
    const int64_t row = *view->FindRow(Modality::kImage, id);
    return view->ReadFeatures(Modality::kImage, absl::MakeConstSpan(&row, 1))->coarse;
  };
  EXPECT_EQ(features("float32"), features("values"));
  EXPECT_EQ(features("float16"), features("values"));
}

TEST_F(GalleryServiceTest, AFaultyItemCostsItselfAlone) {
  StartLiving();
  v1::UpsertImagesRequest no_id = ImageRequest("", 1), bad_id = ImageRequest("a\nb", 1),
                          short_features = ImageRequest("c", 1), huge = ImageRequest("d", 1),
                          two_forms = ImageRequest("e", 1), boxes = ImageRequest("f", 1),
                          odd = ImageRequest("g", 1);
  short_features.mutable_features()->mutable_values()->RemoveLast();
  for (float& value : *huge.mutable_features()->mutable_values()) value = 3e38f;
  two_forms.mutable_features()->set_float16("xx");
  boxes.mutable_image()->add_boxes();
  odd.mutable_features()->clear_values();
  odd.mutable_features()->set_float32(std::string(4 * kFakeNumRegions * kFakeFeatureDim + 1, '\0'));
  const std::vector<v1::Outcome> outcomes =
      Upsert({no_id, ImageRequest("good", 1), bad_id, short_features, huge, two_forms, boxes,
              ImageRequest("refused", 1), ImageRequest("good-too", 2), odd});
  const v1::ErrorReason reasons[] = {v1::ERROR_REASON_ITEM_ID_INVALID,
                                     v1::ERROR_REASON_UNSPECIFIED,
                                     v1::ERROR_REASON_ITEM_ID_INVALID,
                                     v1::ERROR_REASON_FEATURE_SHAPE_MISMATCH,
                                     v1::ERROR_REASON_VALUE_OUT_OF_RANGE,
                                     v1::ERROR_REASON_FIELDS_CONFLICT,
                                     v1::ERROR_REASON_FEATURE_SHAPE_MISMATCH,
                                     v1::ERROR_REASON_VALUE_OUT_OF_RANGE,
                                     v1::ERROR_REASON_UNSPECIFIED,
                                     v1::ERROR_REASON_FEATURE_SHAPE_MISMATCH};
  for (size_t i = 0; i < outcomes.size(); ++i) {
    EXPECT_EQ(outcomes[i].reason(), reasons[i]) << i << ": " << outcomes[i].message();
    EXPECT_EQ(outcomes[i].code(), reasons[i] == 0 ? 0 : 3) << i;
    EXPECT_FALSE(outcomes[i].has_retry_delay());
  }
  EXPECT_THAT(outcomes[3].message(), HasSubstr("features.values: must hold 3 x 5 = 15 values"));
  EXPECT_THAT(outcomes[7].message(), HasSubstr("one that the gallery refuses"));
  EXPECT_EQ(gallery_->Pin()->size(Modality::kImage), 2);

  std::string deep = "1";
  for (int i = 0; i < 20; ++i) deep = absl::StrCat("[", deep, "]");
  const std::vector<v1::Outcome> captions =
      Upsert({CaptionRequest("a", "  "), CaptionRequest("b", std::string(5000, 'x')),
              CaptionRequest("c", "fine"), CaptionRequest("d", "deep", "{\"x\":" + deep + "}")});
  EXPECT_EQ(captions[0].reason(), v1::ERROR_REASON_TEXT_EMPTY);
  EXPECT_EQ(captions[1].reason(), v1::ERROR_REASON_TEXT_TOO_LONG);
  EXPECT_EQ(captions[2].code(), 0);
  EXPECT_EQ(captions[3].reason(), v1::ERROR_REASON_PAYLOAD_INVALID);
}

TEST_F(GalleryServiceTest, ResultsNameTheirItems) {
  StartLiving();
  grpc::ClientContext context;
  auto stream = items_->UpsertCaptions(&context);
  ASSERT_TRUE(stream->Write(CaptionRequest("first", "red star")));
  ASSERT_TRUE(stream->Write(CaptionRequest("second", " ")));
  stream->WritesDone();
  std::map<int64_t, std::string> ids;
  v1::UpsertResponse response;
  while (stream->Read(&response)) {
    if (response.has_result()) ids[response.result().sequence()] = response.result().id();
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_THAT(ids, ElementsAre(testing::Pair(0, "first"), testing::Pair(1, "second")));
}

TEST_F(GalleryServiceTest, TheLaterWriteOfAnIdWins) {
  StartLiving();
  std::vector<v1::UpsertCaptionsRequest> requests;
  for (int i = 0; i < 200; ++i) {
    requests.push_back(CaptionRequest(absl::StrCat("id-", i % 7), absl::StrCat("word", i)));
  }
  for (const v1::Outcome& outcome : Upsert(requests)) EXPECT_EQ(outcome.code(), 0);
  for (int i = 193; i < 200; ++i) {
    v1::Item item;
    ASSERT_TRUE(Get(v1::MODALITY_CAPTION, absl::StrCat("id-", i % 7), &item).ok());
    EXPECT_EQ(item.caption().text(), absl::StrCat("word", i));
  }
}

TEST_F(GalleryServiceTest, ACallerWhoSendsTooMuchIsHeldUp) {
  options_.limits.max_outstanding_items = 3;
  options_.metrics_address = "127.0.0.1:0";
  hold_writes_ = true;
  StartLiving();
  grpc::ClientContext context;
  auto stream = items_->UpsertCaptions(&context);
  constexpr int kItems = 50;
  // Small messages fit into gRPC's own buffers, so that writing does not block.
  for (int i = 0; i < kItems; ++i) {
    ASSERT_TRUE(stream->Write(CaptionRequest(absl::StrCat(i), "red star")));
  }
  stream->WritesDone();
  write_gate_.AwaitArrivals(1);
  AwaitMetric("dime_ingest_queue_items 3\n");
  hold_writes_ = false;
  write_gate_.Open();
  v1::UpsertResponse response;
  int results = 0;
  while (stream->Read(&response)) results += response.has_result();
  EXPECT_EQ(results, kItems);
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_THAT(Scrape(),
              HasSubstr("dime_ingest_items_total{modality=\"caption\",outcome=\"written\"} 50"));
}

TEST_F(GalleryServiceTest, AFullQueueSaysWhenToComeBack) {
  options_.ingest.max_queued_bytes = 1;
  hold_writes_ = true;
  StartLiving();
  grpc::ClientContext context;
  auto stream = items_->UpsertCaptions(&context);
  v1::UpsertResponse response;
  ASSERT_TRUE(stream->Read(&response));
  ASSERT_TRUE(stream->Write(CaptionRequest("taken", "red star")));
  write_gate_.AwaitArrivals(1);
  ASSERT_TRUE(stream->Write(CaptionRequest("refused-now", "red star")));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.result().sequence(), 1);
  EXPECT_EQ(response.result().outcome().code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(response.result().outcome().reason(), v1::ERROR_REASON_QUEUE_FULL);
  EXPECT_EQ(response.result().outcome().retry_delay().nanos(), 120000000);
  write_gate_.Open();
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.result().sequence(), 0);
  EXPECT_EQ(response.result().outcome().code(), 0);
  stream->WritesDone();
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(GalleryServiceTest, AClosingServerFinishesWhatItTook) {
  hold_writes_ = true;
  StartLiving();
  grpc::ClientContext context;
  auto stream = items_->UpsertCaptions(&context);
  v1::UpsertResponse response;
  ASSERT_TRUE(stream->Read(&response));
  ASSERT_TRUE(stream->Write(CaptionRequest("taken", "red star")));
  write_gate_.AwaitArrivals(1);
  std::thread closing([this] { server_->Shutdown(absl::Seconds(60)); });
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_TRUE(response.has_draining());
  // What comes now is not taken.
  ASSERT_TRUE(stream->Write(CaptionRequest("late", "red star")));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.result().sequence(), 1);
  EXPECT_EQ(response.result().outcome().code(), grpc::StatusCode::UNAVAILABLE);
  write_gate_.Open();
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.result().id(), "taken");
  EXPECT_EQ(response.result().outcome().code(), 0);
  EXPECT_FALSE(stream->Read(&response));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ParseErrorDetails(status).reason, "UNAVAILABLE");
  closing.join();
}

TEST_F(GalleryServiceTest, AStreamGoesOnIntoTheGalleryThatServes) {
  StartLiving();
  grpc::ClientContext context;
  auto stream = items_->UpsertCaptions(&context);
  v1::UpsertResponse response;
  ASSERT_TRUE(stream->Read(&response));
  const auto outcome_of = [&](const std::string& id) {
    EXPECT_TRUE(stream->Write(CaptionRequest(id, "red star")));
    EXPECT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.result().id(), id);
    return response.result().outcome();
  };
  EXPECT_EQ(outcome_of("a").code(), 0);

  // The stream, which lasts, holds up no reload.
  ASSERT_TRUE(server_->Reload(SourceOver(std::make_unique<FakeMutableGallery>())).ok());
  EXPECT_EQ(outcome_of("b").code(), 0);
  v1::Item item;
  EXPECT_EQ(Get(v1::MODALITY_CAPTION, "a", &item).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_TRUE(Get(v1::MODALITY_CAPTION, "b", &item).ok());

  ASSERT_TRUE(server_->Reload(SourceOver(std::make_unique<FakeGallery>(contents_))).ok());
  EXPECT_EQ(outcome_of("c").reason(), v1::ERROR_REASON_READ_ONLY);
  stream->WritesDone();
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

// What was acknowledged is found: here it would not be.
TEST_F(GalleryServiceTest, AWriteIntoAGalleryThatWasReplacedIsToBeSentAgain) {
  hold_writes_ = true;
  StartLiving();
  grpc::ClientContext context;
  auto stream = items_->UpsertCaptions(&context);
  v1::UpsertResponse response;
  ASSERT_TRUE(stream->Read(&response));
  ASSERT_TRUE(stream->Write(CaptionRequest("a", "red star")));
  write_gate_.AwaitArrivals(1);
  absl::Status reloaded;
  std::thread reload(
      [&] { reloaded = server_->Reload(SourceOver(std::make_unique<FakeMutableGallery>())); });
  while (server_->revision()->mutable_gallery() == gallery_) std::this_thread::yield();
  write_gate_.Open();
  EXPECT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.result().outcome().code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(response.result().outcome().has_retry_delay());
  EXPECT_THAT(response.result().outcome().message(), HasSubstr("send it again"));
  reload.join();
  EXPECT_TRUE(reloaded.ok()) << reloaded;
  ASSERT_TRUE(stream->Write(CaptionRequest("a", "red star")));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.result().outcome().code(), 0);
  v1::Item item;
  EXPECT_TRUE(Get(v1::MODALITY_CAPTION, "a", &item).ok());
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(GalleryServiceTest, ACallerWhoLeavesLosesNothingThatWasTaken) {
  options_.metrics_address = "127.0.0.1:0";
  hold_writes_ = true;
  StartLiving();
  {
    grpc::ClientContext context;
    auto stream = items_->UpsertCaptions(&context);
    ASSERT_TRUE(stream->Write(CaptionRequest("a", "red star")));
    write_gate_.AwaitArrivals(1);
    context.TryCancel();
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  write_gate_.Open();
  // The server may hear of it before or after the item's result is written.
  AwaitMetric("dime_requests_inflight{method=\"UpsertCaptions\"} 0\n");
  EXPECT_EQ(gallery_->Pin()->size(Modality::kCaption), 1);
}

TEST_F(GalleryServiceTest, AStoreThatCannotWriteSaysSo) {
  write_error_ = absl::ResourceExhaustedError("no space left on device");
  StartLiving();
  const std::vector<v1::Outcome> outcomes = Upsert({CaptionRequest("a", "red star")});
  EXPECT_EQ(outcomes[0].code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(outcomes[0].reason(), v1::ERROR_REASON_STORE_UNWRITABLE);
  EXPECT_THAT(outcomes[0].message(), HasSubstr("no space left on device"));
  v1::DeleteItemsResponse response;
  const grpc::Status status = Delete({"a"}, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ParseErrorDetails(status).reason, "STORE_UNWRITABLE");
}

TEST_F(GalleryServiceTest, MessagesThatAreNoneGetResults) {
  StartLiving();
  grpc::ClientContext context;
  // The same bytes as a caption whose text is no UTF-8 would have.
  v1::UpsertCaptionsRequest request = CaptionRequest("a", "red");
  request.mutable_caption()->set_text("\xff\xfe");
  auto stream = items_->UpsertCaptions(&context);
  ASSERT_TRUE(stream->Write(request));
  stream->WritesDone();
  v1::UpsertResponse response;
  ASSERT_TRUE(stream->Read(&response));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.result().outcome().reason(), v1::ERROR_REASON_TEXT_NOT_UTF8);
  EXPECT_THAT(response.result().outcome().message(), HasSubstr("caption.text"));
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(GalleryServiceTest, AGalleryThatWasBuiltOnceIsOnlyRead) {
  StartReadOnly();
  grpc::ClientContext context;
  auto stream = items_->UpsertImages(&context);
  v1::UpsertResponse response;
  EXPECT_FALSE(stream->Read(&response));
  const grpc::Status upserted = stream->Finish();
  v1::DeleteItemsResponse deleted;
  v1::CreateSnapshotResponse snapshot;
  for (const grpc::Status& status : {upserted, Delete({"a"}, &deleted), Snapshot("a", &snapshot)}) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_EQ(ParseErrorDetails(status).reason, "READ_ONLY");
  }
  v1::Item item;
  ASSERT_TRUE(Get(v1::MODALITY_IMAGE, "image-3", &item).ok());
  EXPECT_EQ(item.image().uri(), "file:///pictures/3.png");
  EXPECT_FALSE(item.image().has_create_time());
  v1::ListItemsRequest list;
  list.set_modality(v1::MODALITY_CAPTION);
  v1::ListItemsResponse listed;
  ASSERT_TRUE(List(list, &listed).ok());
  EXPECT_EQ(listed.items_size(), kServedCaptions);
  EXPECT_THAT(listed.next_page_token(), IsEmpty());
  grpc::ClientContext stats_context;
  v1::GetStatsResponse stats;
  ASSERT_TRUE(items_->GetStats(&stats_context, {}, &stats).ok());
  EXPECT_EQ(stats.modalities(0).item_count(), kServedImages);
  EXPECT_EQ(stats.modalities(1).item_count(), kServedCaptions);
}

TEST_F(GalleryServiceTest, DeletedItemsAreGone) {
  StartLiving();
  Upsert({CaptionRequest("a", "red star"), CaptionRequest("b", "blue ring")});
  v1::DeleteItemsResponse response;
  ASSERT_TRUE(Delete({"b", "c", "b"}, &response).ok());
  ASSERT_EQ(response.outcomes_size(), 3);
  EXPECT_EQ(response.outcomes(0).code(), 0);
  EXPECT_EQ(response.outcomes(1).reason(), v1::ERROR_REASON_ITEM_NOT_FOUND);
  EXPECT_EQ(response.outcomes(2).code(), grpc::StatusCode::NOT_FOUND);
  v1::Item item;
  EXPECT_TRUE(Get(v1::MODALITY_CAPTION, "a", &item).ok());
  const grpc::Status gone = Get(v1::MODALITY_CAPTION, "b", &item);
  EXPECT_EQ(gone.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ParseErrorDetails(gone).resource_name, "\"b\"");

  const grpc::Status none = Delete({}, &response);
  EXPECT_EQ(ParseErrorDetails(none).reason, "WRONG_COUNT");
  const grpc::Status many = Delete(std::vector<std::string>(1001, "a"), &response);
  EXPECT_THAT(many.error_message(), HasSubstr("ids: must hold 1 to 1000, got 1001"));
}

TEST_F(GalleryServiceTest, ListsPageByPage) {
  options_.limits.max_list_page_size = 20;
  StartLiving();
  std::vector<v1::UpsertCaptionsRequest> requests;
  for (int i = 0; i < 45; ++i) {
    requests.push_back(CaptionRequest(absl::StrCat("c", 10 + i), "red star",
                                      i % 3 == 0 ? R"({"third": true})" : R"({"third": false})"));
  }
  Upsert(requests);
  v1::ListItemsRequest request;
  request.set_modality(v1::MODALITY_CAPTION);
  request.set_page_size(1000);  // counts as 20
  std::vector<std::string> ids;
  std::vector<int> pages;
  v1::ListItemsResponse response;
  do {
    ASSERT_TRUE(List(request, &response).ok());
    pages.push_back(response.items_size());
    for (const v1::Item& item : response.items()) ids.push_back(item.caption().id());
    request.set_page_token(response.next_page_token());
    // Written and deleted between pages, beside those that stay.
    Upsert({CaptionRequest(absl::StrCat("a", pages.size()), "blue")});
  } while (!response.next_page_token().empty());
  EXPECT_THAT(pages, ElementsAre(20, 20, 5));
  ASSERT_EQ(ids.size(), 45u);
  for (int i = 0; i < 45; ++i) EXPECT_EQ(ids[i], absl::StrCat("c", 10 + i));

  request.clear_page_token();
  request.set_filter("third = true");
  request.set_page_size(10);
  ASSERT_TRUE(List(request, &response).ok());
  EXPECT_EQ(response.items_size(), 10);
  EXPECT_EQ(response.items(9).caption().id(), "c37");
  const std::string token = response.next_page_token();
  request.set_page_token(token);
  request.set_filter(" (third=true) ");  // the same filter
  ASSERT_TRUE(List(request, &response).ok());
  EXPECT_EQ(response.items_size(), 5);
  EXPECT_THAT(response.next_page_token(), IsEmpty());
  // A page that is just full is not followed by an empty one.
  request.clear_page_token();
  request.set_page_size(15);
  ASSERT_TRUE(List(request, &response).ok());
  EXPECT_EQ(response.items_size(), 15);
}

TEST_F(GalleryServiceTest, ListRequestsAreChecked) {
  StartLiving();
  Upsert({CaptionRequest("a", "red"), CaptionRequest("b", "red")});
  v1::ListItemsRequest request;
  v1::ListItemsResponse response;
  request.set_page_size(-1);
  request.set_filter("a =");
  ErrorDetails details = ParseErrorDetails(List(request, &response));
  EXPECT_THAT(details.Fields(), ElementsAre("modality", "page_size", "filter"));

  request.Clear();
  request.set_modality(v1::MODALITY_CAPTION);
  request.set_page_size(1);
  ASSERT_TRUE(List(request, &response).ok());
  request.set_page_token(response.next_page_token());
  request.set_filter("text = red");
  details = ParseErrorDetails(List(request, &response));
  EXPECT_EQ(details.reason, "PAGE_TOKEN_INVALID");
  request.set_page_token("nonsense");
  details = ParseErrorDetails(List(request, &response));
  EXPECT_EQ(details.reason, "PAGE_TOKEN_INVALID");
  EXPECT_THAT(details.Fields(), ElementsAre("page_token"));
}

TEST_F(GalleryServiceTest, StatsTellWhatIsThere) {
  StartLiving();
  Upsert({CaptionRequest("a", "red"), CaptionRequest("b", "red")});
  Upsert({ImageRequest("i", 1)});
  grpc::ClientContext context;
  v1::GetStatsResponse stats;
  ASSERT_TRUE(items_->GetStats(&context, {}, &stats).ok());
  ASSERT_EQ(stats.modalities_size(), 2);
  EXPECT_EQ(stats.modalities(0).modality(), v1::MODALITY_IMAGE);
  EXPECT_EQ(stats.modalities(0).item_count(), 1);
  EXPECT_EQ(stats.modalities(1).item_count(), 2);
  EXPECT_EQ(stats.sequence(), 3);
  EXPECT_EQ(stats.disk_bytes(), 4096);
  EXPECT_EQ(stats.gallery_version(), "v3");
  EXPECT_FALSE(stats.has_last_merge_time());
}

TEST_F(GalleryServiceTest, SnapshotsStayInTheirDirectory) {
  const std::filesystem::path directory =
      std::filesystem::path(testing::TempDir()) / absl::StrCat("snapshots-", getpid());
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory);
  options_.snapshot_directory = directory.string();
  StartLiving();
  v1::CreateSnapshotResponse response;
  ASSERT_TRUE(Snapshot("monday", &response).ok());
  EXPECT_EQ(response.path(), (directory / "monday").string());
  EXPECT_EQ(response.gallery_version(), "v0");
  EXPECT_TRUE(std::filesystem::exists(directory / "monday"));
  const grpc::Status again = Snapshot("monday", &response);
  EXPECT_EQ(again.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(ParseErrorDetails(again).reason, "SNAPSHOT_EXISTS");
  ASSERT_TRUE(Snapshot("", &response).ok());
  EXPECT_THAT(response.name(), testing::MatchesRegex("[0-9]+T[0-9]+.[0-9]+Z"));
  for (const std::string& name :
       {std::string("../escape"), std::string("/tmp/x"), std::string("a/b"), std::string(".."),
        std::string(".hidden"), std::string(64, 'x'), std::string("a\nb")}) {
    const grpc::Status status = Snapshot(name, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << name;
  }
  std::filesystem::remove_all(directory);
}

// Such as one that is tried again while the first is still being written.
TEST_F(GalleryServiceTest, OneSnapshotOfANameIsMadeAtATime) {
  const std::filesystem::path directory =
      std::filesystem::path(testing::TempDir()) / absl::StrCat("snapshots-at-a-time-", getpid());
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory);
  options_.snapshot_directory = directory.string();
  StartLiving();
  Gate gate;
  gallery_->on_snapshot = [&gate] { gate.Pass(); };
  grpc::Status first;
  std::thread caller([&] {
    v1::CreateSnapshotResponse response;
    first = Snapshot("monday", &response);
  });
  gate.AwaitArrivals(1);
  v1::CreateSnapshotResponse response;
  const grpc::Status second = Snapshot("monday", &response);
  EXPECT_EQ(second.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(ParseErrorDetails(second).reason, "SNAPSHOT_EXISTS");
  EXPECT_THAT(second.error_message(), HasSubstr("is being made"));
  gate.Open();
  caller.join();
  EXPECT_TRUE(first.ok()) << first.error_message();
  EXPECT_TRUE(Snapshot("tuesday", &response).ok());
  std::filesystem::remove_all(directory);
}

TEST_F(GalleryServiceTest, WithoutADirectoryThereAreNoSnapshots) {
  StartLiving();
  v1::CreateSnapshotResponse response;
  const grpc::Status status = Snapshot("monday", &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(ParseErrorDetails(status).reason, "SNAPSHOTS_DISABLED");
}

TEST_F(GalleryServiceTest, ManyStreamsWhileOthersSearch) {
  StartLiving();
  Upsert({ImageRequest("there", 1)});
  constexpr int kStreams = 4, kItems = 60;
  std::vector<std::thread> threads;
  std::atomic<int> written{0};
  for (int s = 0; s < kStreams; ++s) {
    threads.emplace_back([this, s, &written] {
      std::vector<v1::UpsertImagesRequest> requests;
      for (int i = 0; i < kItems; ++i) {
        requests.push_back(ImageRequest(absl::StrCat(s, "-", i), s * kItems + i));
      }
      for (const v1::Outcome& outcome : Upsert(requests)) written += outcome.code() == 0;
    });
  }
  for (int i = 0; i < 30; ++i) {
    grpc::ClientContext context;
    v1::SearchImagesResponse response;
    const grpc::Status status = stub_->SearchImages(&context, TextRequest("red star"), &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_GE(response.hits_size(), 1);
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(written, kStreams * kItems);
  EXPECT_EQ(gallery_->Pin()->size(Modality::kImage), kStreams * kItems + 1);
}

// Searches of a gallery with payloads.
class LivingSearchTest : public GalleryServiceTest {
 protected:
  static constexpr int kImages = 30;

  void StartFilled() {
    StartLiving();
    std::vector<v1::UpsertImagesRequest> requests;
    for (int i = 0; i < kImages; ++i) {
      requests.push_back(ImageRequest(absl::StrCat("image-", 100 + i), i));
      SetPayload(absl::StrCat("{\"color\": \"", i % 3 == 0 ? "red" : "blue", "\", \"n\": ", i,
                              ", \"shop\": ", i % 5, "}"),
                 *requests.back().mutable_image());
    }
    for (const v1::Outcome& outcome : Upsert(requests)) ASSERT_EQ(outcome.code(), 0);
  }
  grpc::Status Search(const v1::SearchImagesRequest& request, v1::SearchImagesResponse* response) {
    grpc::ClientContext context;
    response->Clear();
    return stub_->SearchImages(&context, request, response);
  }
  static std::vector<std::string> Ids(const v1::SearchImagesResponse& response) {
    std::vector<std::string> ids;
    for (const v1::ImageHit& hit : response.hits()) ids.push_back(hit.id());
    return ids;
  }
};

TEST_F(LivingSearchTest, AFilterIsEvaluatedBeforeRecall) {
  StartFilled();
  v1::SearchImagesRequest request = TextRequest("red star");
  v1::SearchOptions& options = *request.mutable_options();
  options.set_filter("color = red AND n < 20");  // 0, 3, ... 18
  options.set_rerank_depth(10);
  options.set_with_payload(true);
  v1::SearchImagesResponse response;
  ASSERT_TRUE(Search(request, &response).ok());
  EXPECT_EQ(response.hits_size(), 7);
  for (const v1::ImageHit& hit : response.hits()) {
    EXPECT_EQ(hit.payload().fields().at("color").string_value(), "red");
    EXPECT_LT(hit.payload().fields().at("n").number_value(), 20);
    EXPECT_GT(hit.create_time().seconds(), 0);
  }
  options.set_with_payload(false);
  options.set_filter("color = green");
  ASSERT_TRUE(Search(request, &response).ok());
  EXPECT_EQ(response.hits_size(), 0);
  options.set_filter("color = ");
  const grpc::Status status = Search(request, &response);
  EXPECT_EQ(ParseErrorDetails(status).reason, "FILTER_SYNTAX");
  EXPECT_THAT(status.error_message(), HasSubstr("options.filter: at character 9: a value is"));
}

TEST_F(LivingSearchTest, PagesHaveNoGapsAndNoDuplicatesWhileOthersWrite) {
  StartFilled();
  v1::SearchImagesRequest request = TextRequest("red star");
  request.mutable_options()->set_top_k(kImages);
  request.mutable_options()->set_rerank_depth(kImages);
  v1::SearchImagesResponse response;
  ASSERT_TRUE(Search(request, &response).ok());
  EXPECT_THAT(response.next_page_token(), IsEmpty());
  const std::vector<std::string> all = Ids(response);
  ASSERT_EQ(all.size(), static_cast<size_t>(kImages));
  const std::string version = response.gallery_version();

  request.mutable_options()->set_paged(true);
  request.mutable_options()->set_top_k(7);
  request.mutable_options()->set_with_payload(true);
  std::vector<std::string> paged;
  int pages = 0;
  do {
    ASSERT_TRUE(Search(request, &response).ok());
    EXPECT_EQ(response.gallery_version(), version);
    for (const std::string& id : Ids(response)) paged.push_back(id);
    for (const v1::ImageHit& hit : response.hits()) {
      EXPECT_EQ(hit.payload().fields().at("n").number_value(), std::stoi(hit.id().substr(6)) - 100);
    }
    request.mutable_options()->set_page_token(response.next_page_token());
    request.mutable_options()->set_top_k(5);  // a page may have another size
    // Everything is written anew, or deleted.
    std::vector<v1::UpsertImagesRequest> writes;
    for (int i = 0; i < kImages; ++i) {
      writes.push_back(ImageRequest(absl::StrCat(i % 2 == 0 ? "image-" : "other-", 100 + i), 77));
    }
    Upsert(writes);
    const std::string gone[] = {absl::StrCat("image-", 101 + 2 * pages)};
    ASSERT_TRUE(gallery_->Delete(Modality::kImage, gone).ok());
    ++pages;
  } while (!response.next_page_token().empty());
  EXPECT_EQ(paged, all);
  EXPECT_EQ(pages, 6);  // 7 + 4 x 5 + 3

  // The last page can be asked again.
  ASSERT_TRUE(Search(TextRequest("red star"), &response).ok());
  EXPECT_NE(response.gallery_version(), version);
}

TEST_F(LivingSearchTest, APageCanBeAskedAgain) {
  StartFilled();
  v1::SearchImagesRequest request = TextRequest("red star");
  request.mutable_options()->set_paged(true);
  v1::SearchImagesResponse response, again;
  ASSERT_TRUE(Search(request, &response).ok());
  request.mutable_options()->set_page_token(response.next_page_token());
  request.mutable_options()->clear_paged();  // implied
  ASSERT_TRUE(Search(request, &response).ok());
  ASSERT_TRUE(Search(request, &again).ok());
  EXPECT_EQ(Ids(response), Ids(again));
  EXPECT_EQ(response.next_page_token(), again.next_page_token());
}

TEST_F(LivingSearchTest, PageTokensBelongToTheirRequest) {
  StartFilled();
  v1::SearchImagesRequest request = TextRequest("red star");
  request.mutable_options()->set_paged(true);
  v1::SearchImagesResponse response;
  ASSERT_TRUE(Search(request, &response).ok());
  const std::string token = response.next_page_token();
  v1::SearchImagesRequest other = request;
  other.mutable_options()->set_page_token(token);
  other.set_text("blue star");
  ErrorDetails details = ParseErrorDetails(Search(other, &response));
  EXPECT_EQ(details.reason, "PAGE_TOKEN_INVALID");
  EXPECT_THAT(details.Fields(), ElementsAre("options.page_token"));
  other = request;
  other.mutable_options()->set_page_token(token);
  other.mutable_options()->set_filter("n > 3");
  EXPECT_EQ(ParseErrorDetails(Search(other, &response)).reason, "PAGE_TOKEN_INVALID");
  other = request;
  other.mutable_options()->set_page_token("x" + token);
  EXPECT_EQ(ParseErrorDetails(Search(other, &response)).reason, "PAGE_TOKEN_INVALID");
  other.mutable_options()->set_page_token(token);
  other.mutable_options()->set_top_k(-1);
  EXPECT_THAT(ParseErrorDetails(Search(other, &response)).Fields(), ElementsAre("options.top_k"));
}

TEST_F(LivingSearchTest, PageTokensExpire) {
  auto now = std::make_shared<std::atomic<int64_t>>(0);
  options_.windows.now = [now] { return absl::UnixEpoch() + absl::Seconds(now->load()); };
  options_.limits.page_token_ttl = absl::Seconds(60);
  options_.metrics_address = "127.0.0.1:0";
  StartFilled();
  v1::SearchImagesRequest request = TextRequest("red star");
  request.mutable_options()->set_paged(true);
  v1::SearchImagesResponse response;
  ASSERT_TRUE(Search(request, &response).ok());
  request.mutable_options()->set_page_token(response.next_page_token());
  *now = 59;
  ASSERT_TRUE(Search(request, &response).ok());
  *now = 118;  // 59 s since it was last used
  ASSERT_TRUE(Search(request, &response).ok());
  AwaitMetric("dime_page_windows 1\n");
  *now = 178;
  const grpc::Status status = Search(request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(ParseErrorDetails(status).reason, "PAGE_TOKEN_EXPIRED");
  EXPECT_THAT(status.error_message(), AllOf(HasSubstr("1m"), HasSubstr("search again")));
  EXPECT_THAT(Scrape(), AllOf(HasSubstr("dime_page_windows 0"),
                              HasSubstr("dime_search_pages_total{outcome=\"served\"} 2"),
                              HasSubstr("dime_search_pages_total{outcome=\"expired\"} 1")));
}

TEST_F(LivingSearchTest, GroupsKeepTheirBest) {
  StartFilled();
  v1::SearchImagesRequest request = TextRequest("red star");
  v1::SearchOptions& options = *request.mutable_options();
  options.set_top_k(kImages);
  options.set_rerank_depth(kImages);
  options.set_with_payload(true);
  v1::SearchImagesResponse all, grouped;
  ASSERT_TRUE(Search(request, &all).ok());
  for (const int size : {1, 2}) {
    std::map<double, int> seen;
    std::vector<std::string> expected;
    for (const v1::ImageHit& hit : all.hits()) {
      if (++seen[hit.payload().fields().at("shop").number_value()] <= size) {
        expected.push_back(hit.id());
      }
    }
    options.set_group_by("shop");
    options.set_group_size(size);
    ASSERT_TRUE(Search(request, &grouped).ok());
    EXPECT_EQ(Ids(grouped), expected);
  }
  // Without the field nothing is grouped.
  options.set_group_by("payload.nothing");
  ASSERT_TRUE(Search(request, &grouped).ok());
  EXPECT_EQ(grouped.hits_size(), kImages);
  options.set_group_by("a..b");
  EXPECT_THAT(ParseErrorDetails(Search(request, &grouped)).Fields(),
              ElementsAre("options.group_by"));
}

TEST_F(LivingSearchTest, ThresholdsNameTheirStage) {
  StartFilled();
  v1::SearchImagesRequest request = TextRequest("red star");
  v1::SearchOptions& options = *request.mutable_options();
  options.set_top_k(kImages);
  options.set_rerank_depth(kImages);
  options.set_fusion_weight(0.5f);
  options.set_view(v1::RESULT_VIEW_FULL);
  v1::SearchImagesResponse all, some;
  ASSERT_TRUE(Search(request, &all).ok());
  const v1::ImageHit& middle = all.hits(kImages / 2);
  const auto expect = [&](auto passes) {
    std::vector<std::string> expected;
    for (const v1::ImageHit& hit : all.hits()) {
      if (passes(hit)) expected.push_back(hit.id());
    }
    ASSERT_TRUE(Search(request, &some).ok());
    EXPECT_EQ(Ids(some), expected);
    EXPECT_LT(some.hits_size(), kImages);
  };
  options.set_min_final_score(middle.score());
  expect([&](const v1::ImageHit& hit) { return hit.score() >= middle.score(); });
  options.clear_min_final_score();
  options.set_min_rerank_score(middle.details().rerank_score());
  expect([&](const v1::ImageHit& hit) {
    return hit.details().rerank_score() >= middle.details().rerank_score();
  });
  options.clear_min_rerank_score();
  options.set_min_coarse_score(middle.details().coarse_score());
  expect([&](const v1::ImageHit& hit) {
    return hit.details().coarse_score() >= middle.details().coarse_score();
  });
  EXPECT_EQ(some.stats().reranked_count(), some.hits_size());
}

TEST_F(GalleryServiceTest, AnEmptyGallerysServerHasWarmedUpAllTheSame) {
  std::map<Modality, std::set<size_t>> launched;  // by what was scored against, how many at once
  model_->fake_scorer().on_launch = [&launched](absl::Span<const ScoringRequest> requests) {
    for (const ScoringRequest& request : requests) {
      launched[request.bank->modality()].insert(request.rows.size());
    }
    return absl::OkStatus();
  };
  StartLiving();
  const auto depth = [this](Modality target) {
    return std::set<size_t>{static_cast<size_t>(options_.limits.DefaultRerankDepth(target))};
  };
  EXPECT_EQ(launched[Modality::kImage], depth(Modality::kImage));
  EXPECT_EQ(launched[Modality::kCaption], depth(Modality::kCaption));
}

TEST_F(GalleryServiceTest, AKindThatAReadOnlyGalleryLacksIsNotWarmedUp) {
  contents_.captions.clear();
  std::set<Modality> launched;
  model_->fake_scorer().on_launch = [&launched](absl::Span<const ScoringRequest> requests) {
    for (const ScoringRequest& request : requests) launched.insert(request.bank->modality());
    return absl::OkStatus();
  };
  StartReadOnly();
  EXPECT_THAT(launched, ElementsAre(Modality::kImage));
}

TEST_F(GalleryServiceTest, AnEmptyGallerysServerDoesNotStartIfNothingCanBeScored) {
  model_->fake_scorer().on_launch = [](absl::Span<const ScoringRequest>) {
    return absl::InternalError("the device is gone");
  };
  owned_gallery_ = std::make_unique<FakeMutableGallery>();
  EXPECT_THAT(TryStart(options_).status().message(), HasSubstr("the device is gone"));
}

TEST_F(LivingSearchTest, SeveralQueriesInOneCall) {
  StartFilled();
  v1::BatchSearchImagesRequest request;
  *request.add_requests() = TextRequest("red star");
  *request.add_requests() = TextRequest("  ");
  *request.add_requests() = TextRequest("blue ring");
  request.mutable_requests(2)->mutable_options()->set_filter("color = blue");
  grpc::ClientContext context;
  v1::BatchSearchImagesResponse response;
  ASSERT_TRUE(stub_->BatchSearchImages(&context, request, &response).ok());
  ASSERT_EQ(response.results_size(), 3);
  v1::SearchImagesResponse alone;
  for (const int i : {0, 2}) {
    EXPECT_EQ(response.results(i).outcome().code(), 0);
    ASSERT_TRUE(Search(request.requests(i), &alone).ok());
    EXPECT_EQ(Ids(response.results(i).response()), Ids(alone));
  }
  EXPECT_EQ(response.results(1).outcome().code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(response.results(1).outcome().reason(), v1::ERROR_REASON_TEXT_EMPTY);
  EXPECT_FALSE(response.results(1).has_response());

  grpc::ClientContext empty_context;
  const grpc::Status empty = stub_->BatchSearchImages(&empty_context, {}, &response);
  EXPECT_EQ(ParseErrorDetails(empty).reason, "WRONG_COUNT");
  EXPECT_THAT(empty.error_message(), HasSubstr("requests: must hold 1 to 32, got 0"));

  v1::BatchSearchCaptionsRequest captions;
  captions.add_requests()->set_image_id("image-100");
  captions.add_requests()->set_image_id("nowhere");
  Upsert({CaptionRequest("a", "red star")});
  grpc::ClientContext captions_context;
  v1::BatchSearchCaptionsResponse found;
  ASSERT_TRUE(stub_->BatchSearchCaptions(&captions_context, captions, &found).ok());
  EXPECT_EQ(found.results(0).response().hits_size(), 1);
  EXPECT_EQ(found.results(1).outcome().reason(), v1::ERROR_REASON_ITEM_NOT_FOUND);
}

TEST_F(LivingSearchTest, ABatchThatIsNotAdmittedAtAllIsRefusedAsAWhole) {
  options_.max_queue_pairs = 1;
  StartFilled();
  hold_launches_ = true;
  grpc::ClientContext busy_context, context;
  v1::SearchImagesResponse busy_response;
  // Alone it is admitted, whatever its size.
  std::thread busy([&] {
    EXPECT_TRUE(stub_->SearchImages(&busy_context, TextRequest("red"), &busy_response).ok());
  });
  gate_.AwaitArrivals(1);
  v1::BatchSearchImagesRequest request;
  for (int i = 0; i < 3; ++i) *request.add_requests() = TextRequest("red star");
  v1::BatchSearchImagesResponse response;
  const grpc::Status refused = stub_->BatchSearchImages(&context, request, &response);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ParseErrorDetails(refused).reason, "QUEUE_FULL");
  gate_.Open();
  busy.join();
}

TEST_F(LivingSearchTest, ABatchForWhichThereIsNoRoom) {
  options_.workers = {.threads = 1, .max_queued = 1};
  options_.metrics_address = "127.0.0.1:0";
  StartFilled();
  hold_launches_ = true;
  grpc::ClientContext busy_context;
  v1::SearchImagesResponse busy_response;
  std::thread busy([&] {
    EXPECT_TRUE(stub_->SearchImages(&busy_context, TextRequest("red"), &busy_response).ok());
  });
  gate_.AwaitArrivals(1);
  v1::BatchSearchImagesRequest request;
  for (int i = 0; i < 3; ++i) *request.add_requests() = TextRequest("red star");
  std::thread half([&] {
    grpc::ClientContext context;
    v1::BatchSearchImagesResponse response;
    EXPECT_TRUE(stub_->BatchSearchImages(&context, request, &response).ok());
    // One had room to wait.
    int done = 0, full = 0;
    for (const v1::BatchSearchImagesResult& result : response.results()) {
      done += result.outcome().code() == 0;
      full += result.outcome().reason() == v1::ERROR_REASON_QUEUE_FULL &&
              result.outcome().has_retry_delay();
    }
    EXPECT_EQ(done, 1);
    EXPECT_EQ(full, 2);
  });
  // Once one of them waits, there is room for none of another batch.
  AwaitMetric("dime_queue_requests 1\n");
  v1::BatchSearchImagesResponse response;
  grpc::ClientContext context;
  const grpc::Status status = stub_->BatchSearchImages(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ParseErrorDetails(status).reason, "QUEUE_FULL");
  gate_.Open();
  busy.join();
  half.join();
}

}  // namespace
}  // namespace dime
