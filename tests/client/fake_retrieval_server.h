#ifndef DIME_TESTS_CLIENT_FAKE_RETRIEVAL_SERVER_H_
#define DIME_TESTS_CLIENT_FAKE_RETRIEVAL_SERVER_H_

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "dime/v1/diagnostics.grpc.pb.h"
#include "dime/v1/retrieval.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "grpcpp/grpcpp.h"

namespace dime {

// A retrieval service in this process, on a port of its own choosing, that answers as it is told
// and remembers what it was asked. Thread-safe.
class FakeRetrievalServer final : public v1::RetrievalService::Service {
 public:
  FakeRetrievalServer();
  ~FakeRetrievalServer() override;

  std::string address() const;  // "127.0.0.1:PORT"
  int port() const { return port_; }
  // The health service's word about dime.v1.RetrievalService.
  void SetServing(bool serving);

  // What calls answer from now on.
  void AnswerImages(v1::SearchImagesResponse response);
  void AnswerCaptions(v1::SearchCaptionsResponse response);
  void AnswerExplanation(v1::ExplainPairResponse response);
  void AnswerInfo(v1::GetInfoResponse response);
  // The diagnostics service's, of which request_id and max_results are heeded.
  void AnswerSlowRequests(v1::ListSlowRequestsResponse response);
  // Calls are told that they go by this name.
  void NameCalls(std::string request_id);
  // The next `times` calls of any kind fail so; `push_back` is the trailer grpc-retry-pushback-ms.
  void FailNext(const grpc::Status& status, int times = 1,
                std::optional<std::string> push_back = std::nullopt);
  // From now on calls are not answered before this object goes, which is to outlive the client's
  // patience.
  void Hang();

  int calls() const;
  v1::SearchImagesRequest last_images_request() const;
  v1::SearchCaptionsRequest last_captions_request() const;
  v1::ExplainPairRequest last_explain_request() const;
  v1::ListSlowRequestsRequest last_slow_requests_request() const;
  std::string last_user_agent() const;

 private:
  struct Failure {
    grpc::Status status;
    std::optional<std::string> push_back;
  };
  class Diagnostics final : public v1::DiagnosticsService::Service {
   public:
    explicit Diagnostics(FakeRetrievalServer* server) : server_(*server) {}
    grpc::Status ListSlowRequests(grpc::ServerContext* context,
                                  const v1::ListSlowRequestsRequest* request,
                                  v1::ListSlowRequestsResponse* response) override;

   private:
    FakeRetrievalServer& server_;
  };

  grpc::Status SearchImages(grpc::ServerContext* context, const v1::SearchImagesRequest* request,
                            v1::SearchImagesResponse* response) override;
  grpc::Status SearchCaptions(grpc::ServerContext* context,
                              const v1::SearchCaptionsRequest* request,
                              v1::SearchCaptionsResponse* response) override;
  // Each query of a batch is answered as a search of its own.
  grpc::Status BatchSearchImages(grpc::ServerContext* context,
                                 const v1::BatchSearchImagesRequest* request,
                                 v1::BatchSearchImagesResponse* response) override;
  grpc::Status BatchSearchCaptions(grpc::ServerContext* context,
                                   const v1::BatchSearchCaptionsRequest* request,
                                   v1::BatchSearchCaptionsResponse* response) override;
  grpc::Status ExplainPair(grpc::ServerContext* context, const v1::ExplainPairRequest* request,
                           v1::ExplainPairResponse* response) override;
  grpc::Status GetInfo(grpc::ServerContext* context, const v1::GetInfoRequest* request,
                       v1::GetInfoResponse* response) override;
  // Counts the call and fails it if it is to fail.
  grpc::Status Begin(grpc::ServerContext* context);

  // Of the standard library, which ThreadSanitizer sees through; Abseil's, in a library that was
  // not built with it, it does not. Guards all that follows, up to port_.
  mutable std::mutex mutex_;
  std::condition_variable stop_;
  v1::SearchImagesResponse images_response_;
  v1::SearchCaptionsResponse captions_response_;
  v1::ExplainPairResponse explain_response_;
  v1::GetInfoResponse info_response_;
  v1::SearchImagesRequest images_request_;
  v1::SearchCaptionsRequest captions_request_;
  v1::ExplainPairRequest explain_request_;
  v1::ListSlowRequestsResponse slow_response_;
  v1::ListSlowRequestsRequest slow_request_;
  std::string request_id_;
  std::string user_agent_;
  std::deque<Failure> failures_;
  bool hang_ = false;
  bool stopping_ = false;
  int calls_ = 0;

  int port_ = 0;
  Diagnostics diagnostics_{this};
  std::unique_ptr<grpc::Server> server_;
};

// An error as the server makes them: ErrorInfo of domain "dime.v1", and `details`.
grpc::Status DetailedStatus(grpc::StatusCode code, const std::string& message,
                            const std::string& reason,
                            const std::vector<google::protobuf::Any>& details = {});

template <typename Detail>
google::protobuf::Any ToAny(const Detail& detail) {
  google::protobuf::Any any;
  any.PackFrom(detail);
  return any;
}

// An address of this machine at which nothing listens.
std::string DeadAddress();

}  // namespace dime

#endif  // DIME_TESTS_CLIENT_FAKE_RETRIEVAL_SERVER_H_
