#ifndef DIME_TESTS_CLIENT_FAKE_GALLERY_SERVER_H_
#define DIME_TESTS_CLIENT_FAKE_GALLERY_SERVER_H_

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "dime/v1/gallery.grpc.pb.h"
#include "dime/v1/retrieval.grpc.pb.h"
#include "grpcpp/grpcpp.h"

namespace dime {

// A gallery in this process, on a port of its own choosing: it keeps what is written to it in maps
// by id, and fails as it is told. Thread-safe.
class FakeGalleryServer {
 public:
  // `port`: 0 picks one.
  explicit FakeGalleryServer(int port = 0);
  ~FakeGalleryServer();

  std::string address() const;
  int port() const { return port_; }

  std::map<std::string, v1::UpsertImagesRequest> images() const;
  std::map<std::string, v1::UpsertCaptionsRequest> captions() const;
  // How many items came, over how many streams.
  int received() const;
  int streams() const;
  std::vector<v1::DeleteItemsRequest> deletions() const;
  v1::ListItemsRequest last_list() const;

  // The outcome of an item: called with its id and how many came before it; code 0 writes it. To be
  // set before any call.
  std::function<v1::Outcome(const std::string& id, int received)> outcome;
  // Breaks a stream with this status once so many items came, on all streams together.
  void BreakAfter(int received, const grpc::Status& status);
  // Says that it closes instead, and then answers UNAVAILABLE.
  void DrainAfter(int received);
  // Called when it has said that it closes, before it answers.
  std::function<void()> hold_when_draining = [] {};
  int window = 8;
  int max_delete_ids = 3;
  std::string lineage = "lineage-1";

 private:
  class Items;
  class Info;

  mutable std::mutex mutex_;
  std::map<std::string, v1::UpsertImagesRequest> images_;
  std::map<std::string, v1::UpsertCaptionsRequest> captions_;
  std::vector<v1::DeleteItemsRequest> deletions_;
  v1::ListItemsRequest list_;
  int received_ = 0;
  int streams_ = 0;
  int break_after_ = -1;
  int drain_after_ = -1;
  grpc::Status break_status_;

  const std::unique_ptr<Items> items_;
  const std::unique_ptr<Info> info_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace dime

#endif  // DIME_TESTS_CLIENT_FAKE_GALLERY_SERVER_H_
