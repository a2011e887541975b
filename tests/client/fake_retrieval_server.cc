#include "tests/client/fake_retrieval_server.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/health_check_service_interface.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

constexpr char kServiceName[] = "dime.v1.RetrievalService";

}  // namespace

FakeRetrievalServer::FakeRetrievalServer() {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(this);
  builder.RegisterService(&diagnostics_);
  server_ = builder.BuildAndStart();
  EXPECT_NE(server_, nullptr);
  SetServing(true);
}

FakeRetrievalServer::~FakeRetrievalServer() {
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  server_->Shutdown(absl::ToChronoTime(absl::Now()));
  server_->Wait();
}

std::string FakeRetrievalServer::address() const { return absl::StrCat("127.0.0.1:", port_); }

void FakeRetrievalServer::SetServing(bool serving) {
  server_->GetHealthCheckService()->SetServingStatus(kServiceName, serving);
}

void FakeRetrievalServer::AnswerSlowRequests(v1::ListSlowRequestsResponse response) {
  std::unique_lock lock(mutex_);
  slow_response_ = std::move(response);
}

void FakeRetrievalServer::NameCalls(std::string request_id) {
  std::unique_lock lock(mutex_);
  request_id_ = std::move(request_id);
}

v1::ListSlowRequestsRequest FakeRetrievalServer::last_slow_requests_request() const {
  std::unique_lock lock(mutex_);
  return slow_request_;
}

void FakeRetrievalServer::AnswerImages(v1::SearchImagesResponse response) {
  std::unique_lock lock(mutex_);
  images_response_ = std::move(response);
}

void FakeRetrievalServer::AnswerCaptions(v1::SearchCaptionsResponse response) {
  std::unique_lock lock(mutex_);
  captions_response_ = std::move(response);
}

void FakeRetrievalServer::AnswerExplanation(v1::ExplainPairResponse response) {
  std::unique_lock lock(mutex_);
  explain_response_ = std::move(response);
}

void FakeRetrievalServer::AnswerInfo(v1::GetInfoResponse response) {
  std::unique_lock lock(mutex_);
  info_response_ = std::move(response);
}

void FakeRetrievalServer::FailNext(const grpc::Status& status, int times,
                                   std::optional<std::string> push_back) {
  std::unique_lock lock(mutex_);
  for (int i = 0; i < times; ++i) failures_.push_back({status, push_back});
}

void FakeRetrievalServer::Hang() {
  std::unique_lock lock(mutex_);
  hang_ = true;
}

int FakeRetrievalServer::calls() const {
  std::unique_lock lock(mutex_);
  return calls_;
}

v1::SearchImagesRequest FakeRetrievalServer::last_images_request() const {
  std::unique_lock lock(mutex_);
  return images_request_;
}

v1::SearchCaptionsRequest FakeRetrievalServer::last_captions_request() const {
  std::unique_lock lock(mutex_);
  return captions_request_;
}

v1::ExplainPairRequest FakeRetrievalServer::last_explain_request() const {
  std::unique_lock lock(mutex_);
  return explain_request_;
}

std::string FakeRetrievalServer::last_user_agent() const {
  std::unique_lock lock(mutex_);
  return user_agent_;
}

grpc::Status FakeRetrievalServer::Begin(grpc::ServerContext* context) {
  std::unique_lock lock(mutex_);
  ++calls_;
  const auto agent = context->client_metadata().find("user-agent");
  if (agent != context->client_metadata().end()) {
    user_agent_.assign(agent->second.data(), agent->second.size());
  }
  if (!request_id_.empty()) context->AddTrailingMetadata("x-request-id", request_id_);
  if (hang_) stop_.wait(lock, [this] { return stopping_; });
  if (failures_.empty()) return grpc::Status::OK;
  const Failure failure = std::move(failures_.front());
  failures_.pop_front();
  if (failure.push_back.has_value()) {
    context->AddTrailingMetadata("grpc-retry-pushback-ms", *failure.push_back);
  }
  return failure.status;
}

grpc::Status FakeRetrievalServer::Diagnostics::ListSlowRequests(
    grpc::ServerContext* context, const v1::ListSlowRequestsRequest* request,
    v1::ListSlowRequestsResponse* response) {
  const grpc::Status status = server_.Begin(context);
  std::unique_lock lock(server_.mutex_);
  server_.slow_request_ = *request;
  if (!status.ok()) return status;
  *response = server_.slow_response_;
  response->clear_slow_requests();
  for (const v1::SlowRequest& slow : server_.slow_response_.slow_requests()) {
    if (!request->request_id().empty() && request->request_id() != slow.request_id()) continue;
    *response->add_slow_requests() = slow;
    if (response->slow_requests_size() == request->max_results()) break;
  }
  return status;
}

grpc::Status FakeRetrievalServer::SearchImages(grpc::ServerContext* context,
                                               const v1::SearchImagesRequest* request,
                                               v1::SearchImagesResponse* response) {
  const grpc::Status status = Begin(context);
  std::unique_lock lock(mutex_);
  images_request_ = *request;
  if (status.ok()) *response = images_response_;
  return status;
}

grpc::Status FakeRetrievalServer::SearchCaptions(grpc::ServerContext* context,
                                                 const v1::SearchCaptionsRequest* request,
                                                 v1::SearchCaptionsResponse* response) {
  const grpc::Status status = Begin(context);
  std::unique_lock lock(mutex_);
  captions_request_ = *request;
  if (status.ok()) *response = captions_response_;
  return status;
}

grpc::Status FakeRetrievalServer::BatchSearchImages(grpc::ServerContext* context,
                                                    const v1::BatchSearchImagesRequest* request,
                                                    v1::BatchSearchImagesResponse* response) {
  for (const v1::SearchImagesRequest& query : request->requests()) {
    const grpc::Status status =
        SearchImages(context, &query, response->add_results()->mutable_response());
    if (!status.ok()) return status;
  }
  return grpc::Status::OK;
}

grpc::Status FakeRetrievalServer::BatchSearchCaptions(grpc::ServerContext* context,
                                                      const v1::BatchSearchCaptionsRequest* request,
                                                      v1::BatchSearchCaptionsResponse* response) {
  for (const v1::SearchCaptionsRequest& query : request->requests()) {
    const grpc::Status status =
        SearchCaptions(context, &query, response->add_results()->mutable_response());
    if (!status.ok()) return status;
  }
  return grpc::Status::OK;
}

grpc::Status FakeRetrievalServer::ExplainPair(grpc::ServerContext* context,
                                              const v1::ExplainPairRequest* request,
                                              v1::ExplainPairResponse* response) {
  const grpc::Status status = Begin(context);
  std::unique_lock lock(mutex_);
  explain_request_ = *request;
  if (status.ok()) *response = explain_response_;
  return status;
}

grpc::Status FakeRetrievalServer::GetInfo(grpc::ServerContext* context, const v1::GetInfoRequest*,
                                          v1::GetInfoResponse* response) {
  const grpc::Status status = Begin(context);
  std::unique_lock lock(mutex_);
  if (status.ok()) *response = info_response_;
  return status;
}

grpc::Status DetailedStatus(grpc::StatusCode code, const std::string& message,
                            const std::string& reason,
                            const std::vector<google::protobuf::Any>& details) {
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  google::rpc::ErrorInfo info;
  info.set_domain("dime.v1");
  info.set_reason(reason);
  status.add_details()->PackFrom(info);
  for (const google::protobuf::Any& detail : details) *status.add_details() = detail;
  return grpc::Status(code, message, status.SerializeAsString());
}

std::string DeadAddress() {
  // Bound and never listened at: the kernel gives the port to nobody else while this process lives,
  // and refuses connections to it.
  const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  EXPECT_EQ(bind(descriptor, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size), 0);
  return absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
}

}  // namespace dime
