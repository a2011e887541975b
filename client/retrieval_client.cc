#include "client/retrieval_client.h"

#include <utf8proc.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/client_error.h"
#include "client/connection_security.h"
#include "index/build_info.h"
#include "index/status_macros.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

constexpr absl::string_view kDefaultPort = "8980";
constexpr absl::string_view kServiceName = "dime.v1.RetrievalService";
constexpr absl::string_view kGalleryServiceName = "dime.v1.GalleryService";
// Deadlines beyond this are none: clocks overflow somewhere past it.
constexpr absl::Duration kLongestDeadline = absl::Hours(24 * 365);

// Whether the address is a target URI of a resolver of gRPC's; "host:port" is none.
bool HasScheme(absl::string_view address) {
  for (absl::string_view scheme :
       {"dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "vsock:", "xds:", "google-c2p:"}) {
    if (absl::StartsWith(address, scheme)) return true;
  }
  return false;
}

// gRPC itself would fill in port 443.
std::string WithPort(absl::string_view address) {
  if (HasScheme(address)) return std::string(address);
  const auto colons = std::count(address.begin(), address.end(), ':');
  const bool bracketed = absl::StartsWith(address, "[");
  if (bracketed ? absl::EndsWith(address, "]") : colons == 0) {
    return absl::StrCat(address, ":", kDefaultPort);
  }
  if (!bracketed && colons > 1) {  // a bare IPv6 address
    return absl::StrCat("[", address, "]:", kDefaultPort);
  }
  return std::string(address);
}

bool MayNameSeveral(absl::string_view address) {
  return absl::StrContains(address, ',') || absl::StartsWith(address, "dns:");
}

// As channel arguments want them.
int ToIntMilliseconds(absl::Duration duration) {
  return static_cast<int>(
      std::clamp<int64_t>(absl::ToInt64Milliseconds(duration), 1, std::numeric_limits<int>::max()));
}

// As the service configuration's JSON wants durations.
std::string ToJsonDuration(absl::Duration duration) {
  return absl::StrFormat("%.9fs", absl::ToDoubleSeconds(duration));
}

std::string ServiceConfig(const RetrievalClient::Options& options) {
  nlohmann::json names = {{{"service", kServiceName}}};
  // Whoever streams takes up again by itself.
  for (const char* method : {"DeleteItems", "GetItem", "ListItems", "GetStats", "CreateSnapshot"}) {
    names.push_back({{"service", kGalleryServiceName}, {"method", method}});
  }
  nlohmann::json method = {{"name", std::move(names)}};
  if (options.retry.max_attempts > 1) {
    method["retryPolicy"] = {
        {"maxAttempts", options.retry.max_attempts},
        {"initialBackoff", ToJsonDuration(options.retry.initial_backoff)},
        {"maxBackoff", ToJsonDuration(options.retry.max_backoff)},
        {"backoffMultiplier", options.retry.backoff_multiplier},
        {"retryableStatusCodes", {"UNAVAILABLE", "RESOURCE_EXHAUSTED"}},
    };
  }
  nlohmann::json config = {
      {"loadBalancingConfig", {{{"round_robin", nlohmann::json::object()}}}},
      {"methodConfig", nlohmann::json::array({method})},
      // When about one call in ten fails, retries stop adding to a crowded server's load.
      {"retryThrottling", {{"maxTokens", 100}, {"tokenRatio", 0.1}}},
  };
  if (options.check_health.value_or(MayNameSeveral(options.address))) {
    config["healthCheckConfig"] = {{"serviceName", kServiceName}};
  }
  return config.dump();
}

absl::Status CheckOptions(const RetrievalClient::Options& options) {
  if (options.address.empty()) return absl::InvalidArgumentError("the address is empty");
  if (options.deadline <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("the deadline must be longer than zero");
  }
  const RetrievalClient::RetryPolicy& retry = options.retry;
  if (retry.max_attempts < 1 || retry.max_attempts > 5) {
    return absl::InvalidArgumentError(
        absl::StrCat("retry.max_attempts must be 1 to 5, not ", retry.max_attempts));
  }
  if (retry.initial_backoff <= absl::ZeroDuration() || retry.max_backoff <= absl::ZeroDuration() ||
      retry.max_backoff == absl::InfiniteDuration() ||
      retry.initial_backoff == absl::InfiniteDuration() || !(retry.backoff_multiplier > 0)) {
    return absl::InvalidArgumentError(
        "retry.initial_backoff, max_backoff and backoff_multiplier must be finite and above zero");
  }
  if (options.max_response_bytes < 1 ||
      options.max_response_bytes > std::numeric_limits<int>::max()) {
    return absl::InvalidArgumentError(absl::StrCat("max_response_bytes must be 1 to ",
                                                   std::numeric_limits<int>::max(), ", not ",
                                                   options.max_response_bytes));
  }
  return absl::OkStatus();
}

// Protobuf sends such text with no more than a complaint in the log, and the server's protobuf then
// refuses the whole message without naming the field.
bool IsUtf8(absl::string_view text) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (size_t i = 0; i < text.size();) {
    utf8proc_int32_t code_point;
    const utf8proc_ssize_t length =
        utf8proc_iterate(bytes + i, static_cast<utf8proc_ssize_t>(text.size() - i), &code_point);
    if (length <= 0) return false;
    i += static_cast<size_t>(length);
  }
  return true;
}

}  // namespace

absl::string_view ClientVersion() { return BuildVersion(); }

absl::StatusOr<std::unique_ptr<RetrievalClient>> RetrievalClient::Create(Options options) {
  RETURN_IF_ERROR(CheckOptions(options));
  options.address = WithPort(options.address);

  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(ServiceConfig(options));
  arguments.SetUserAgentPrefix(absl::StrCat("dime-client/", ClientVersion()));
  arguments.SetMaxReceiveMessageSize(static_cast<int>(options.max_response_bytes));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, ToIntMilliseconds(options.keepalive_interval));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, ToIntMilliseconds(options.keepalive_timeout));
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, options.use_http_proxy ? 1 : 0);
  // A server that has just started, or come back, is noticed soon: gRPC's own first pause is 1 s
  // and grows to 2 minutes.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5000);
  if (!options.tls_server_name.empty()) {
    arguments.SetSslTargetNameOverride(options.tls_server_name);
  }
  if (!options.token.empty() && options.credentials == nullptr &&
      !IsLoopbackTarget(options.address)) {
    return absl::InvalidArgumentError(absl::StrCat("the token would go to ", options.address,
                                                   " in plain text: use TLS (--tls-ca)"));
  }
  std::shared_ptr<grpc::Channel> channel = grpc::CreateCustomChannel(
      options.address,
      options.credentials != nullptr ? options.credentials : grpc::InsecureChannelCredentials(),
      arguments);
  return std::unique_ptr<RetrievalClient>(
      new RetrievalClient(std::move(options), std::move(channel)));
}

RetrievalClient::RetrievalClient(Options options, std::shared_ptr<grpc::Channel> channel)
    : options_(std::move(options)),
      channel_(std::move(channel)),
      stub_(v1::RetrievalService::NewStub(channel_)) {}

void RetrievalClient::Authorize(grpc::ClientContext& context) const {
  if (!options_.token.empty()) {
    context.AddMetadata("authorization", absl::StrCat("Bearer ", options_.token));
  }
}

absl::Status RetrievalClient::Call(
    std::optional<absl::Duration> deadline, bool wait_for_ready,
    absl::FunctionRef<grpc::Status(grpc::ClientContext*)> method) const {
  const absl::Duration limit = deadline.value_or(options_.deadline);
  grpc::ClientContext context;
  Authorize(context);
  context.set_wait_for_ready(wait_for_ready);
  if (limit < kLongestDeadline) context.set_deadline(absl::ToChronoTime(absl::Now() + limit));
  absl::Status status = StatusFromGrpc(method(&context));
  if (!status.ok()) {
    const auto& trailers = context.GetServerTrailingMetadata();
    const auto id = trailers.find("x-request-id");
    if (id != trailers.end()) AttachRequestId({id->second.data(), id->second.size()}, status);
  }
  if (absl::IsDeadlineExceeded(status) && !ClientError::FromStatus(status).has_reason()) {
    // gRPC's own message is "Deadline Exceeded", whether a server was slow or there was none.
    return absl::DeadlineExceededError(
        channel_->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY
            ? absl::StrCat("no answer from ", address(), " within ", absl::FormatDuration(limit))
            : absl::StrCat("no connection to ", address(), " within ",
                           absl::FormatDuration(limit)));
  }
  return status;
}

absl::StatusOr<v1::SearchImagesResponse> RetrievalClient::SearchImages(
    const v1::SearchImagesRequest& request, std::optional<absl::Duration> deadline) const {
  if (!IsUtf8(request.text())) {
    return InvalidFieldError("text", "must be valid UTF-8", v1::ERROR_REASON_TEXT_NOT_UTF8);
  }
  v1::SearchImagesResponse response;
  RETURN_IF_ERROR(Call(deadline, /*wait_for_ready=*/false, [&](grpc::ClientContext* context) {
    return stub_->SearchImages(context, request, &response);
  }));
  return response;
}

absl::StatusOr<v1::SearchCaptionsResponse> RetrievalClient::SearchCaptions(
    const v1::SearchCaptionsRequest& request, std::optional<absl::Duration> deadline) const {
  if (!IsUtf8(request.image_id())) {
    return InvalidFieldError("image_id", "must be valid UTF-8", v1::ERROR_REASON_TEXT_NOT_UTF8);
  }
  v1::SearchCaptionsResponse response;
  RETURN_IF_ERROR(Call(deadline, /*wait_for_ready=*/false, [&](grpc::ClientContext* context) {
    return stub_->SearchCaptions(context, request, &response);
  }));
  return response;
}

absl::StatusOr<v1::BatchSearchImagesResponse> RetrievalClient::BatchSearchImages(
    const v1::BatchSearchImagesRequest& request, std::optional<absl::Duration> deadline) const {
  for (int i = 0; i < request.requests_size(); ++i) {
    if (!IsUtf8(request.requests(i).text())) {
      return InvalidFieldError(absl::StrCat("requests[", i, "].text"), "must be valid UTF-8",
                               v1::ERROR_REASON_TEXT_NOT_UTF8);
    }
  }
  v1::BatchSearchImagesResponse response;
  RETURN_IF_ERROR(Call(deadline, /*wait_for_ready=*/false, [&](grpc::ClientContext* context) {
    return stub_->BatchSearchImages(context, request, &response);
  }));
  return response;
}

absl::StatusOr<v1::BatchSearchCaptionsResponse> RetrievalClient::BatchSearchCaptions(
    const v1::BatchSearchCaptionsRequest& request, std::optional<absl::Duration> deadline) const {
  for (int i = 0; i < request.requests_size(); ++i) {
    if (!IsUtf8(request.requests(i).image_id())) {
      return InvalidFieldError(absl::StrCat("requests[", i, "].image_id"), "must be valid UTF-8",
                               v1::ERROR_REASON_TEXT_NOT_UTF8);
    }
  }
  v1::BatchSearchCaptionsResponse response;
  RETURN_IF_ERROR(Call(deadline, /*wait_for_ready=*/false, [&](grpc::ClientContext* context) {
    return stub_->BatchSearchCaptions(context, request, &response);
  }));
  return response;
}

absl::StatusOr<v1::ExplainPairResponse> RetrievalClient::ExplainPair(
    const v1::ExplainPairRequest& request, std::optional<absl::Duration> deadline) const {
  const std::pair<absl::string_view, const std::string&> fields[] = {
      {"text", request.text()},
      {"caption_id", request.caption_id()},
      {"image_id", request.image_id()}};
  for (const auto& [name, value] : fields) {
    if (!IsUtf8(value)) {
      return InvalidFieldError(name, "must be valid UTF-8", v1::ERROR_REASON_TEXT_NOT_UTF8);
    }
  }
  v1::ExplainPairResponse response;
  RETURN_IF_ERROR(Call(deadline, /*wait_for_ready=*/false, [&](grpc::ClientContext* context) {
    return stub_->ExplainPair(context, request, &response);
  }));
  return response;
}

absl::StatusOr<v1::GetInfoResponse> RetrievalClient::GetInfo(
    std::optional<absl::Duration> deadline) const {
  v1::GetInfoResponse response;
  RETURN_IF_ERROR(Call(deadline, /*wait_for_ready=*/false, [&](grpc::ClientContext* context) {
    return stub_->GetInfo(context, v1::GetInfoRequest(), &response);
  }));
  return response;
}

absl::Status RetrievalClient::WaitReady(absl::Duration timeout) const {
  const absl::Time give_up = absl::Now() + timeout;
  absl::Status last;
  while (true) {
    const absl::Duration remaining = give_up - absl::Now();
    v1::GetInfoResponse response;
    const absl::Status status =
        Call(remaining, /*wait_for_ready=*/true, [&](grpc::ClientContext* context) {
          return stub_->GetInfo(context, v1::GetInfoRequest(), &response);
        });
    if (status.ok()) return status;
    if (absl::IsDeadlineExceeded(status)) break;
    if (!absl::IsUnavailable(status) && !absl::IsResourceExhausted(status)) return status;
    // A server is there but not ready, and retries are used up: pause as it asks.
    last = status;
    const absl::Duration pause =
        ClientError::FromStatus(status).retry_delay.value_or(options_.retry.max_backoff);
    if (absl::Now() + pause >= give_up) break;
    absl::SleepFor(pause);
  }
  if (!last.ok()) return last;
  return absl::UnavailableError(absl::StrCat("failed to connect to ", address(),
                                             ": no answer within ", absl::FormatDuration(timeout)));
}

}  // namespace dime
