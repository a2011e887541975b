#include "benchmarks/search_load.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "dime/v1/gallery.grpc.pb.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "index/status_macros.h"

namespace dime {
namespace {

constexpr absl::Duration kListDeadline = absl::Seconds(60);

absl::Duration FromProto(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

absl::Status ToAbsl(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

StageTimes ToStages(const v1::SearchStats& stats) {
  return {.total = FromProto(stats.total_time()),
          .queue = FromProto(stats.queue_time()),
          .encode = FromProto(stats.encode_time()),
          .recall = FromProto(stats.recall_time()),
          .rerank = FromProto(stats.rerank_time()),
          .select = FromProto(stats.select_time())};
}

template <typename Response>
CallOutcome ToRecord(const grpc::Status& status, const Response& response) {
  CallOutcome record;
  record.code = static_cast<absl::StatusCode>(status.error_code());
  if (!status.ok()) return record;
  record.degraded = response.has_degradation();
  record.has_stages = response.has_stats();
  if (record.has_stages) record.stages = ToStages(response.stats());
  return record;
}

// A call on its way, which owns itself until it is answered.
template <typename Request, typename Response>
struct Flight {
  grpc::ClientContext context;
  Request request;
  Response response;
  LoadDriver::Done done;

  std::function<void(grpc::Status)> Landing() {
    return [this](const grpc::Status& status) {
      const CallOutcome record = ToRecord(status, response);
      const LoadDriver::Done then = std::move(done);
      delete this;
      then(record);
    };
  }
};

template <typename Request, typename Response>
auto MakeFlight(const v1::SearchOptions& options, absl::Time deadline, LoadDriver::Done done) {
  auto flight = std::make_unique<Flight<Request, Response>>();
  flight->context.set_deadline(absl::ToChronoTime(deadline));
  *flight->request.mutable_options() = options;
  flight->done = std::move(done);
  return flight;
}

template <typename Add>
absl::Status ForEachItem(const std::shared_ptr<grpc::Channel>& channel, v1::Modality modality,
                         int count, Add add) {
  const auto stub = v1::GalleryService::NewStub(channel);
  v1::ListItemsRequest request;
  request.set_modality(modality);
  request.set_page_size(std::min(count, 1000));
  for (int listed = 0; listed < count;) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + kListDeadline));
    context.set_wait_for_ready(true);
    v1::ListItemsResponse response;
    RETURN_IF_ERROR(ToAbsl(stub->ListItems(&context, request, &response)));
    for (const v1::Item& item : response.items()) {
      if (listed++ < count) add(item);
    }
    if (response.next_page_token().empty()) break;
    request.set_page_token(response.next_page_token());
  }
  return absl::OkStatus();
}

}  // namespace

std::shared_ptr<grpc::Channel> MakeLoadChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

SearchLoad::SearchLoad(std::shared_ptr<grpc::Channel> channel, SearchQueries queries,
                       const v1::SearchOptions& options)
    : queries_(std::move(queries)),
      options_(options),
      stub_(v1::RetrievalService::NewStub(std::move(channel))) {}

void SearchLoad::Call(int64_t number, absl::Time deadline, LoadDriver::Done done) const {
  const auto pick = [number](const auto& list) -> const auto& {
    return list[static_cast<size_t>(number) % list.size()];
  };
  if (!queries_.texts.empty()) {
    auto flight = MakeFlight<v1::SearchImagesRequest, v1::SearchImagesResponse>(options_, deadline,
                                                                                std::move(done));
    flight->request.set_text(pick(queries_.texts));
    auto* const sent = flight.release();
    stub_->async()->SearchImages(&sent->context, &sent->request, &sent->response, sent->Landing());
    return;
  }
  auto flight = MakeFlight<v1::SearchCaptionsRequest, v1::SearchCaptionsResponse>(
      options_, deadline, std::move(done));
  if (!queries_.image_ids.empty()) {
    flight->request.set_image_id(pick(queries_.image_ids));
  } else {
    *flight->request.mutable_features() = pick(queries_.features);
  }
  auto* const sent = flight.release();
  stub_->async()->SearchCaptions(&sent->context, &sent->request, &sent->response, sent->Landing());
}

absl::StatusOr<SearchQueries> ListTexts(const std::shared_ptr<grpc::Channel>& channel, int count) {
  SearchQueries queries;
  RETURN_IF_ERROR(ForEachItem(channel, v1::MODALITY_CAPTION, count, [&](const v1::Item& item) {
    queries.texts.push_back(item.caption().text());
  }));
  if (queries.empty()) {
    return absl::FailedPreconditionError(
        "the gallery has no captions to search with; give a file of texts by --texts");
  }
  return queries;
}

absl::StatusOr<SearchQueries> ReadTexts(const std::string& path, int count) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read the texts in ", path));
  SearchQueries queries;
  for (std::string line;
       static_cast<int>(queries.texts.size()) < count && std::getline(file, line);) {
    if (!line.empty()) queries.texts.push_back(line);
  }
  if (queries.empty()) return absl::InvalidArgumentError(absl::StrCat(path, " has no texts"));
  return queries;
}

absl::StatusOr<SearchQueries> ListImageIds(const std::shared_ptr<grpc::Channel>& channel,
                                           int count) {
  SearchQueries queries;
  RETURN_IF_ERROR(ForEachItem(channel, v1::MODALITY_IMAGE, count, [&](const v1::Item& item) {
    queries.image_ids.push_back(item.image().id());
  }));
  if (queries.empty()) {
    return absl::FailedPreconditionError("the gallery has no images to search with");
  }
  return queries;
}

absl::StatusOr<SearchQueries> MakeFeatures(const std::shared_ptr<grpc::Channel>& channel,
                                           int count) {
  const auto stub = v1::RetrievalService::NewStub(channel);
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kListDeadline));
  context.set_wait_for_ready(true);
  v1::GetInfoResponse info;
  RETURN_IF_ERROR(ToAbsl(stub->GetInfo(&context, v1::GetInfoRequest(), &info)));
  SearchQueries queries;
  for (int i = 0; i < count; ++i) {
    v1::RegionFeatures features;
    features.set_num_regions(info.model().num_regions());
    features.set_feature_dim(info.model().feature_dim());
    const auto numbers =
        static_cast<size_t>(features.num_regions()) * static_cast<size_t>(features.feature_dim());
    std::string bytes;
    for (size_t k = 0; k < numbers; ++k) {
      // Half floats of either sign between a quarter and two.
      const uint64_t hash = (k + 1) * 0x9E3779B97F4A7C15u * static_cast<uint64_t>(2 * i + 1);
      const auto half =
          static_cast<uint16_t>((hash >> 63) << 15 | (0x3400 + (hash >> 40) % 0x0C00));
      bytes.push_back(static_cast<char>(half & 0xFF));
      bytes.push_back(static_cast<char>(half >> 8));
    }
    features.set_float16(std::move(bytes));
    queries.features.push_back(std::move(features));
  }
  return queries;
}

}  // namespace dime
