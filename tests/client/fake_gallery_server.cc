#include "tests/client/fake_gallery_server.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace dime {
namespace {

const std::string& IdOf(const v1::UpsertImagesRequest& request) { return request.image().id(); }
const std::string& IdOf(const v1::UpsertCaptionsRequest& request) { return request.caption().id(); }

}  // namespace

class FakeGalleryServer::Items : public v1::GalleryService::Service {
 public:
  explicit Items(FakeGalleryServer* server) : server_(*server) {}

  grpc::Status UpsertImages(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::UpsertResponse, v1::UpsertImagesRequest>* stream) override {
    return Serve(*stream, server_.images_);
  }
  grpc::Status UpsertCaptions(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::UpsertResponse, v1::UpsertCaptionsRequest>* stream) override {
    return Serve(*stream, server_.captions_);
  }
  grpc::Status DeleteItems(grpc::ServerContext*, const v1::DeleteItemsRequest* request,
                           v1::DeleteItemsResponse* response) override {
    std::lock_guard<std::mutex> lock(server_.mutex_);
    server_.deletions_.push_back(*request);
    for (const std::string& id : request->ids()) {
      v1::Outcome& outcome = *response->add_outcomes();
      if (server_.images_.erase(id) == 1) continue;
      outcome.set_code(grpc::StatusCode::NOT_FOUND);
      outcome.set_reason(v1::ERROR_REASON_ITEM_NOT_FOUND);
      outcome.set_message("no image has the id " + id);
    }
    return grpc::Status::OK;
  }
  grpc::Status GetItem(grpc::ServerContext*, const v1::GetItemRequest* request,
                       v1::Item* item) override {
    std::lock_guard<std::mutex> lock(server_.mutex_);
    const auto found = server_.images_.find(request->id());
    if (found == server_.images_.end()) return {grpc::StatusCode::NOT_FOUND, "no such image"};
    *item->mutable_image() = found->second.image();
    item->mutable_image()->mutable_create_time()->set_seconds(1'700'000'000);
    return grpc::Status::OK;
  }
  grpc::Status ListItems(grpc::ServerContext*, const v1::ListItemsRequest* request,
                         v1::ListItemsResponse* response) override {
    std::lock_guard<std::mutex> lock(server_.mutex_);
    server_.list_ = *request;
    // Two a page; the token is the last id.
    for (auto next = server_.images_.upper_bound(request->page_token());
         next != server_.images_.end(); ++next) {
      if (response->items_size() == 2) {
        response->set_next_page_token(response->items(1).image().id());
        break;
      }
      *response->add_items()->mutable_image() = next->second.image();
    }
    return grpc::Status::OK;
  }
  grpc::Status GetStats(grpc::ServerContext*, const v1::GetStatsRequest*,
                        v1::GetStatsResponse* response) override {
    std::lock_guard<std::mutex> lock(server_.mutex_);
    v1::ModalityStats& images = *response->add_modalities();
    images.set_modality(v1::MODALITY_IMAGE);
    images.set_item_count(static_cast<int64_t>(server_.images_.size()));
    images.set_tail_count(2);
    response->set_gallery_version("v7");
    response->set_sequence(7);
    return grpc::Status::OK;
  }
  grpc::Status CreateSnapshot(grpc::ServerContext*, const v1::CreateSnapshotRequest* request,
                              v1::CreateSnapshotResponse* response) override {
    response->set_name(request->name());
    response->set_path("/snapshots/" + request->name());
    return grpc::Status::OK;
  }

 private:
  template <typename Request>
  grpc::Status Serve(grpc::ServerReaderWriter<v1::UpsertResponse, Request>& stream,
                     std::map<std::string, Request>& items) {
    v1::UpsertResponse response;
    response.mutable_start()->set_max_outstanding_items(server_.window);
    stream.Write(response);
    {
      std::lock_guard<std::mutex> lock(server_.mutex_);
      ++server_.streams_;
    }
    Request request;
    bool draining = false;
    for (int64_t sequence = 0; stream.Read(&request); ++sequence) {
      response.Clear();
      v1::UpsertResult& result = *response.mutable_result();
      {
        std::lock_guard<std::mutex> lock(server_.mutex_);
        const int before = server_.received_++;
        if (before == server_.break_after_) return server_.break_status_;
        draining = draining || before == server_.drain_after_;
        if (draining) {
          result.mutable_outcome()->set_code(grpc::StatusCode::UNAVAILABLE);
        } else if (server_.outcome) {
          *result.mutable_outcome() = server_.outcome(IdOf(request), before);
        }
        if (result.outcome().code() == 0) items[IdOf(request)] = request;
      }
      if (draining) {
        v1::UpsertResponse notice;
        notice.mutable_draining();
        stream.Write(notice);
        server_.hold_when_draining();
      }
      result.set_sequence(sequence);
      result.set_id(IdOf(request));
      stream.Write(response);
      if (draining) return {grpc::StatusCode::UNAVAILABLE, "the server is shutting down"};
    }
    return grpc::Status::OK;
  }

  FakeGalleryServer& server_;
};

class FakeGalleryServer::Info : public v1::RetrievalService::Service {
 public:
  explicit Info(FakeGalleryServer* server) : server_(*server) {}

  grpc::Status GetInfo(grpc::ServerContext*, const v1::GetInfoRequest*,
                       v1::GetInfoResponse* response) override {
    response->mutable_gallery()->set_lineage(server_.lineage);
    response->mutable_gallery()->set_writable(true);
    response->mutable_limits()->set_max_request_bytes(100'000);
    response->mutable_limits()->set_max_delete_ids(server_.max_delete_ids);
    return grpc::Status::OK;
  }

 private:
  FakeGalleryServer& server_;
};

FakeGalleryServer::FakeGalleryServer(int port)
    : items_(std::make_unique<Items>(this)), info_(std::make_unique<Info>(this)) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort(absl::StrCat("127.0.0.1:", port), grpc::InsecureServerCredentials(),
                           &port_);
  builder.RegisterService(items_.get());
  builder.RegisterService(info_.get());
  server_ = builder.BuildAndStart();
}

FakeGalleryServer::~FakeGalleryServer() {
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
}

std::string FakeGalleryServer::address() const { return absl::StrCat("127.0.0.1:", port_); }

std::map<std::string, v1::UpsertImagesRequest> FakeGalleryServer::images() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return images_;
}

std::map<std::string, v1::UpsertCaptionsRequest> FakeGalleryServer::captions() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return captions_;
}

int FakeGalleryServer::received() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return received_;
}

int FakeGalleryServer::streams() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return streams_;
}

std::vector<v1::DeleteItemsRequest> FakeGalleryServer::deletions() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return deletions_;
}

v1::ListItemsRequest FakeGalleryServer::last_list() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return list_;
}

void FakeGalleryServer::BreakAfter(int received, const grpc::Status& status) {
  std::lock_guard<std::mutex> lock(mutex_);
  break_after_ = received;
  break_status_ = status;
}

void FakeGalleryServer::DrainAfter(int received) {
  std::lock_guard<std::mutex> lock(mutex_);
  drain_after_ = received;
}

}  // namespace dime
