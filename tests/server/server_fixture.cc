#include "tests/server/server_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/slice.h"

namespace dime {

ServerFixture::ServerFixture()
    : owned_model_(std::make_unique<FakeModel>()), model_(owned_model_.get()) {
  options_.address = "127.0.0.1:0";
  options_.metrics_address = "";  // not served, but for the tests that want it
  options_.version = "1.2.3";
  options_.workers.threads = 4;
  options_.retry_delay = absl::Milliseconds(120);
  model_->fake_scorer().on_launch = [this](absl::Span<const ScoringRequest>) {
    if (hold_launches_) gate_.Pass();
    return absl::OkStatus();
  };
}

ServerFixture::~ServerFixture() { gate_.Open(); }

absl::StatusOr<std::unique_ptr<Server>> ServerFixture::TryStart(const Server::Options& options) {
  auto model = owned_model_ != nullptr ? std::move(owned_model_) : std::make_unique<FakeModel>();
  std::unique_ptr<Gallery> gallery = std::move(owned_gallery_);
  if (gallery == nullptr) gallery = std::make_unique<FakeGallery>(contents_);
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Create(
      options,
      {.model = std::move(model), .gallery = std::move(gallery), .limits = options.limits});
  if (!server.ok()) return server.status();
  if (absl::Status started = (*server)->Start(); !started.ok()) return started;
  return server;
}

void ServerFixture::Start() {
  absl::StatusOr<std::unique_ptr<Server>> server = TryStart(options_);
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  grpc::ChannelArguments arguments;
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);  // tests want to see each answer
  channel_ =
      grpc::CreateCustomChannel(server_->address(), grpc::InsecureChannelCredentials(), arguments);
  stub_ = v1::RetrievalService::NewStub(channel_);
}

grpc::Status ServerFixture::RawCall(const std::string& method, const std::string& request,
                                    std::string* response) {
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub(channel_);
  const grpc::Slice slice(request);
  grpc::ByteBuffer request_bytes(&slice, 1), response_bytes;
  grpc::ClientContext context;
  std::mutex mutex;
  std::condition_variable answered;
  bool done = false;
  grpc::Status status;
  stub.UnaryCall(&context, method, grpc::StubOptions(), &request_bytes, &response_bytes,
                 [&](grpc::Status answer) {
                   std::lock_guard<std::mutex> lock(mutex);
                   status = std::move(answer);
                   done = true;
                   answered.notify_one();
                 });
  std::unique_lock<std::mutex> lock(mutex);
  answered.wait(lock, [&done] { return done; });
  grpc::Slice whole;
  if (response != nullptr && status.ok() && response_bytes.DumpToSingleSlice(&whole).ok()) {
    response->assign(reinterpret_cast<const char*>(whole.begin()), whole.size());
  }
  return status;
}

int ServerFixture::Health(const std::string& service) {
  // HealthCheckRequest { string service = 1; }, HealthCheckResponse { enum status = 1; }
  const std::string request =
      service.empty() ? "" : absl::StrCat("\x0a", std::string(1, char(service.size())), service);
  std::string response;
  const grpc::Status status = RawCall("/grpc.health.v1.Health/Check", request, &response);
  if (!status.ok() || response.size() != 2 || response[0] != 8) return -1;
  return response[1];
}

std::string ServerFixture::Scrape() const {
  return HttpGet(server_->metrics_address(), "/metrics");
}

void ServerFixture::AwaitMetric(const std::string& series) const {
  // A bound, so that what never comes fails a test rather than hang it.
  const absl::Time give_up = absl::Now() + absl::Seconds(60);
  while (Scrape().find(series) == std::string::npos) {
    ASSERT_LT(absl::Now(), give_up) << series << " never came";
    std::this_thread::yield();
  }
}

v1::SearchImagesRequest ServerFixture::TextRequest(const std::string& text) {
  v1::SearchImagesRequest request;
  request.set_text(text);
  return request;
}

std::string Exchange(const std::string& address, const std::string& sent,
                     const std::function<bool(const std::string&)>& enough) {
  const std::vector<std::string> parts = absl::StrSplit(address, ':');
  sockaddr_in server{};
  server.sin_family = AF_INET;
  server.sin_port = htons(static_cast<uint16_t>(std::stoi(parts.at(1))));
  inet_pton(AF_INET, parts.at(0).c_str(), &server.sin_addr);
  const int connection = socket(AF_INET, SOCK_STREAM, 0);
  std::string answer;
  if (connect(connection, reinterpret_cast<const sockaddr*>(&server), sizeof server) == 0 &&
      write(connection, sent.data(), sent.size()) == static_cast<ssize_t>(sent.size())) {
    char buffer[4096];
    while (!enough(answer)) {
      const ssize_t n = read(connection, buffer, sizeof buffer);
      if (n <= 0) break;
      answer.append(buffer, n);
    }
  }
  close(connection);
  return answer;
}

std::string HttpGet(const std::string& address, const std::string& path) {
  const std::string answer =
      Exchange(address, absl::StrCat("GET ", path, " HTTP/1.0\r\nHost: test\r\n\r\n"),
               [](const std::string&) { return false; });
  const size_t body = answer.find("\r\n\r\n");
  return body == std::string::npos ? "" : answer.substr(body + 4);
}

}  // namespace dime
