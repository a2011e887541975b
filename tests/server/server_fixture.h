#ifndef DIME_TESTS_SERVER_SERVER_FIXTURE_H_
#define DIME_TESTS_SERVER_SERVER_FIXTURE_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "dime/v1/retrieval.grpc.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/support/status.h"
#include "gtest/gtest.h"
#include "server/server.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"
#include "tests/fakes/gate.h"

namespace dime {

inline constexpr int kServedImages = 40;
inline constexpr int kServedCaptions = 60;

// A whole server over the fakes, on ports of its own, and a client's stub for it.
class ServerFixture : public ::testing::Test {
 protected:
  ServerFixture();
  ~ServerFixture() override;

  // Starts the server with `options_`, `contents_` and whatever was done to `model_`.
  void Start();
  // The same, without expecting that it works.
  absl::StatusOr<std::unique_ptr<Server>> TryStart(const Server::Options& options);

  // A call by bytes rather than messages.
  grpc::Status RawCall(const std::string& method, const std::string& request,
                       std::string* response = nullptr);
  // The answer of the health service: 1 SERVING, 2 NOT_SERVING; -1 if there is none.
  int Health(const std::string& service);
  // What Prometheus would see.
  std::string Scrape() const;
  // Scrapes until the text holds `series`.
  void AwaitMetric(const std::string& series) const;

  static v1::SearchImagesRequest TextRequest(const std::string& text);

  Server::Options options_;
  FakeGallery::Contents contents_ = {.num_images = kServedImages,
                                     .captions = FakeCaptions(kServedCaptions)};
  // Launches stop at the gate while this is set.
  std::atomic<bool> hold_launches_{false};
  Gate gate_;
  std::unique_ptr<FakeModel> owned_model_;  // until the server takes it
  std::unique_ptr<Gallery> owned_gallery_;  // the same; null: one of `contents_` is made
  FakeModel* const model_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::RetrievalService::Stub> stub_;
};

// What a peer answers to such bytes, until it closes the connection or `enough(answer so far)`;
// empty if nobody answers. `address`: "127.0.0.1:port".
std::string Exchange(const std::string& address, const std::string& sent,
                     const std::function<bool(const std::string&)>& enough);

// The body of an HTTP answer; empty if nobody answers. `address`: "127.0.0.1:port".
std::string HttpGet(const std::string& address, const std::string& path);

}  // namespace dime

#endif  // DIME_TESTS_SERVER_SERVER_FIXTURE_H_
