#include "server/upsert_stream.h"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "dime/v1/gallery.grpc.pb.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "server/request_parser.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"
#include "tests/fakes/gate.h"

namespace dime {
namespace {

// The stream over real gRPC; what takes the items is the test's.
class UpsertStreamTest : public ::testing::Test {
 protected:
  using Base =
      v1::GalleryService::WithRawCallbackMethod_UpsertCaptions<v1::GalleryService::Service>;
  class Service : public Base {
   public:
    explicit Service(UpsertStreamTest* test) : test_(*test) {}
    grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* UpsertCaptions(
        grpc::CallbackServerContext* context) override {
      auto record =
          std::make_unique<CallRecord>(CallRecord::Parts{&test_.metrics_, &test_.observer_},
                                       RpcMethod::kUpsertCaptions, context, grpc::ByteBuffer());
      return UpsertStream::Start(
          &test_.ledger_, std::move(record), absl::OkStatus(),
          [this](const grpc::ByteBuffer& message, std::string& id, UpsertStream::Settle settle) {
            return test_.Take(message, id, std::move(settle));
          },
          {});
    }

   private:
    UpsertStreamTest& test_;
  };

  void SetUp() override {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    const auto channel =
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials());
    stream_ = v1::GalleryService::NewStub(channel)->UpsertCaptions(&context_);
    v1::UpsertResponse start;
    ASSERT_TRUE(stream_->Read(&start));
    EXPECT_TRUE(start.has_start());
  }
  ~UpsertStreamTest() override {
    held_.Open();
    context_.TryCancel();
  }

  void Send(const std::string& id) {
    v1::UpsertCaptionsRequest request;
    request.mutable_caption()->set_id(id);
    request.mutable_caption()->set_text("red star");
    ASSERT_TRUE(stream_->Write(request));
  }
  std::string ReadResult() {
    v1::UpsertResponse response;
    return stream_->Read(&response) ? response.result().id() : "no result";
  }
  void Settle(size_t item) {
    UpsertStream::Settle settle;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [&] { return settles_.size() > item; });
      settle = settles_[item];
    }
    settle(absl::OkStatus());
  }
  std::vector<std::string> taken() {
    std::lock_guard<std::mutex> lock(mutex_);
    return taken_;
  }

  // Of items with this id the taking lasts until the gate is opened.
  static constexpr char kHeld[] = "held";
  Gate held_;

 private:
  absl::Status Take(const grpc::ByteBuffer& message, std::string& id, UpsertStream::Settle settle) {
    const auto request = ParseRequest<v1::UpsertCaptionsRequest>(message, 1 << 20);
    if (!request.ok()) return request.status();
    id = request->caption().id();
    if (id == kHeld) held_.Pass();
    std::lock_guard<std::mutex> lock(mutex_);
    taken_.push_back(id);
    settles_.push_back(std::move(settle));
    changed_.notify_all();
    return absl::OkStatus();
  }

  const FakeModel model_;
  const FakeGallery gallery_{{.num_images = 1, .captions = FakeCaptions(1)}};
  Metrics metrics_{"1.2.3", model_.info(), gallery_};
  CallObserver observer_{{.metrics = &metrics_}, {}};
  CallLedger ledger_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> taken_;
  std::vector<UpsertStream::Settle> settles_;
  Service service_{this};
  std::unique_ptr<grpc::Server> server_;

 protected:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::UpsertCaptionsRequest, v1::UpsertResponse>> stream_;
};

// An item was once overtaken by the next one of its stream when its thread lost the processor
// between reading and taking it, and an older text of an id won.
TEST_F(UpsertStreamTest, AnItemIsNotOvertakenWhileItIsTaken) {
  constexpr size_t kBefore = 20;
  for (size_t i = 0; i < kBefore; ++i) Send(absl::StrCat(i));
  Send(kHeld);
  Send("next");
  held_.AwaitArrivals(1);
  // Each item that settles, and each result that is written, is an occasion to read on.
  for (size_t i = 0; i < kBefore; ++i) {
    Settle(i);
    EXPECT_EQ(ReadResult(), absl::StrCat(i));
  }
  EXPECT_EQ(taken().size(), kBefore);
  held_.Open();
  Settle(kBefore);
  EXPECT_EQ(ReadResult(), kHeld);
  Settle(kBefore + 1);
  EXPECT_EQ(ReadResult(), "next");
  EXPECT_TRUE(stream_->WritesDone());
  EXPECT_TRUE(stream_->Finish().ok());
  EXPECT_EQ(taken()[kBefore], kHeld);
}

}  // namespace
}  // namespace dime
