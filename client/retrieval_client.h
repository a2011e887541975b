#ifndef DIME_CLIENT_RETRIEVAL_CLIENT_H_
#define DIME_CLIENT_RETRIEVAL_CLIENT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "dime/v1/retrieval.grpc.pb.h"
#include "grpcpp/grpcpp.h"

namespace dime {

// The client's version, as in its user agent: "0.1.0".
absl::string_view ClientVersion();

// A client of one DIME retrieval service: dime.v1.RetrievalService of retrieval.proto, whose
// messages its methods take and return.
//
// One channel spreads calls in turn over every server that the address resolves to, retries what is
// safe to retry (UNAVAILABLE and RESOURCE_EXHAUSTED, honouring the server's push-back) within the
// call's deadline, and keeps idle connections alive. Every method blocks until the answer, the
// error or the deadline. Errors carry the server's details: see ClientError.
// Thread-safe. Costly to make (it connects): make one and share it.
class RetrievalClient {
 public:
  struct RetryPolicy {
    int max_attempts = 4;  // the first one included; 1 = no retries; gRPC allows 5 at most
    absl::Duration initial_backoff = absl::Milliseconds(50);  // +- 20 % jitter
    absl::Duration max_backoff = absl::Seconds(1);
    double backoff_multiplier = 2.0;
  };

  struct Options {
    // Host and port, the port being 8980 if none is given; or any gRPC target, such as
    // "dns:///dime-headless:8980", "ipv4:10.0.0.1:8980,10.0.0.2:8980" or "unix:/run/dime.sock".
    std::string address = "127.0.0.1:8980";
    // Of each call, its retries included; calls may set their own.
    absl::Duration deadline = absl::Seconds(10);
    RetryPolicy retry;
    // Whether to leave out servers whose health service says NOT_SERVING, such as draining ones.
    // Unset: where the address may name several; one alone has its own say.
    std::optional<bool> check_health;
    // Whether http_proxy and https_proxy of the environment are honoured. Off, because they seldom
    // mean a service on the same machine or in the same cluster.
    bool use_http_proxy = false;
    absl::Duration keepalive_interval = absl::Seconds(60);
    absl::Duration keepalive_timeout = absl::Seconds(10);
    // Largest response; an EXPLAIN view of 1,000 hits is about 1 MB.
    int64_t max_response_bytes = 64 << 20;
    // How to connect; null: without encryption.
    std::shared_ptr<grpc::ChannelCredentials> credentials;
    // The name that the server's certificate must be for; empty: the address's host.
    std::string tls_server_name;
    // Bearer token sent with each call; empty: none. Only with credentials, or to this machine.
    std::string token;
  };

  // Connects in the background. INVALID_ARGUMENT for an option out of its range.
  static absl::StatusOr<std::unique_ptr<RetrievalClient>> Create(Options options);

  // Text to images. `deadline` counts from now; without it, Options::deadline holds.
  // Errors: those of retrieval.proto; also UNAVAILABLE if no server answers. Text that is not UTF-8
  // is INVALID_ARGUMENT without being sent.
  absl::StatusOr<v1::SearchImagesResponse> SearchImages(
      const v1::SearchImagesRequest& request,
      std::optional<absl::Duration> deadline = std::nullopt) const;

  // An image, by its id or by its region features, to captions. Errors as in SearchImages.
  absl::StatusOr<v1::SearchCaptionsResponse> SearchCaptions(
      const v1::SearchCaptionsRequest& request,
      std::optional<absl::Duration> deadline = std::nullopt) const;

  // Several searches in one call, each with an outcome of its own. Errors of the call as in
  // SearchImages.
  absl::StatusOr<v1::BatchSearchImagesResponse> BatchSearchImages(
      const v1::BatchSearchImagesRequest& request,
      std::optional<absl::Duration> deadline = std::nullopt) const;
  absl::StatusOr<v1::BatchSearchCaptionsResponse> BatchSearchCaptions(
      const v1::BatchSearchCaptionsRequest& request,
      std::optional<absl::Duration> deadline = std::nullopt) const;

  // What made the score of a caption, by its text or its id, and an image, by its id or its region
  // features. Errors as in SearchImages.
  absl::StatusOr<v1::ExplainPairResponse> ExplainPair(
      const v1::ExplainPairRequest& request,
      std::optional<absl::Duration> deadline = std::nullopt) const;

  // Limits, and facts about the model and the gallery.
  absl::StatusOr<v1::GetInfoResponse> GetInfo(
      std::optional<absl::Duration> deadline = std::nullopt) const;

  // Waits until a server answers GetInfo, however long it takes to appear and to start.
  // UNAVAILABLE if none did within `timeout`; any other error at once.
  absl::Status WaitReady(absl::Duration timeout) const;

  // The target, with the port that was filled in.
  const std::string& address() const { return options_.address; }

  // For clients of the server's other services: the channel, and a call over it with this client's
  // deadline and errors.
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  // Gives a call over the channel what Call() would: the token.
  void Authorize(grpc::ClientContext& context) const;
  absl::Status Call(std::optional<absl::Duration> deadline, bool wait_for_ready,
                    absl::FunctionRef<grpc::Status(grpc::ClientContext*)> method) const;

 private:
  RetrievalClient(Options options, std::shared_ptr<grpc::Channel> channel);

  const Options options_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::RetrievalService::Stub> stub_;
};

}  // namespace dime

#endif  // DIME_CLIENT_RETRIEVAL_CLIENT_H_
