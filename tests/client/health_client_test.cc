#include "client/health_client.h"

#include "gtest/gtest.h"
#include "tests/client/fake_retrieval_server.h"

namespace dime {
namespace {

constexpr char kService[] = "dime.v1.RetrievalService";

std::unique_ptr<RetrievalClient> ClientOf(const std::string& address) {
  auto client = RetrievalClient::Create(
      {.address = address, .deadline = absl::Seconds(20), .retry = {.max_attempts = 1}});
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

TEST(HealthClientTest, TellsWhetherAServiceServes) {
  FakeRetrievalServer server;
  const auto client = ClientOf(server.address());
  const HealthClient health(client.get());
  EXPECT_TRUE(*health.IsServing(kService));
  EXPECT_TRUE(*health.IsServing(""));
  server.SetServing(false);
  EXPECT_FALSE(*health.IsServing(kService));
  server.SetServing(true);
  EXPECT_TRUE(*health.IsServing(kService, absl::Seconds(10)));
  EXPECT_EQ(server.calls(), 0) << "no other service was asked";
}

TEST(HealthClientTest, AServiceThatTheServerDoesNotKnowIsAnError) {
  FakeRetrievalServer server;
  const auto client = ClientOf(server.address());
  EXPECT_EQ(HealthClient(client.get()).IsServing("lunch").status().code(),
            absl::StatusCode::kNotFound);
}

TEST(HealthClientTest, SoIsAServerThatIsNotThere) {
  const auto client = ClientOf("127.0.0.1:1");
  EXPECT_EQ(HealthClient(client.get()).IsServing(kService).status().code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace dime
