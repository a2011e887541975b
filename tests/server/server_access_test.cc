// Who may call a server, over the network: TLS, client certificates, tokens.

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/client_error.h"
#include "client/connection_security.h"
#include "client/gallery_client.h"
#include "client/retrieval_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/test_certificates.h"
#include "tests/fakes/test_tokens.h"
#include "tests/server/server_fixture.h"

namespace dime {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kHost[] = "dime.test";
// Each handshake that fails, as many here should, would write a line.
const bool kQuiet = setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0) == 0;

class ServerAccessTest : public ServerFixture {
 protected:
  ServerAccessTest() {
    EXPECT_TRUE(kQuiet);
    std::filesystem::create_directories(folder_);
    options_.metrics_address = "127.0.0.1:0";
  }
  ~ServerAccessTest() override { std::filesystem::remove_all(folder_); }

  std::string File(const std::string& name, const std::string& content) {
    const std::string path = folder_ + "/" + name;
    ReplaceFile(path, content);
    return path;
  }
  void UseCertificate(const TestCertificate& issued) {
    options_.tls.key = File("server.key", issued.key);
    options_.tls.certificate = File("server.pem", issued.certificate);
  }
  void UseTokens() {
    options_.access_tokens =
        File("tokens", absl::StrCat("read ", HashOfToken("reading"), " reader\n", "write ",
                                    HashOfToken("writing"), " writer\n"));
  }
  std::unique_ptr<RetrievalClient> Client(const ClientTlsFiles& files,
                                          const std::string& token = "") {
    RetrievalClient::Options options;
    options.address = server_->address();
    options.retry.max_attempts = 1;
    options.credentials = MakeChannelCredentials(files).value();
    options.tls_server_name = options.credentials == nullptr ? "" : kHost;
    options.token = token;
    return RetrievalClient::Create(options).value();
  }

  const std::string folder_ =
      testing::TempDir() + "/" + testing::UnitTest::GetInstance()->current_test_info()->name();
  TestAuthority authority_{"an authority"};
};

TEST_F(ServerAccessTest, ServesByTlsToThoseWhoTrustItsAuthority) {
  UseCertificate(authority_.Issue(kHost));
  Start();
  const ClientTlsFiles trusting = {.ca = File("ca.pem", authority_.certificate())};
  EXPECT_TRUE(Client(trusting)->GetInfo().ok());
  TestAuthority other("another authority");
  EXPECT_EQ(Client({.ca = File("other.pem", other.certificate())})->GetInfo().status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(Client({})->GetInfo().status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ServerAccessTest, AsksForClientCertificatesOfItsAuthority) {
  UseCertificate(authority_.Issue(kHost));
  TestAuthority of_clients("an authority of clients");
  options_.tls.client_ca = File("clients.pem", of_clients.certificate());
  Start();
  const std::string ca = File("ca.pem", authority_.certificate());
  const auto files = [&](const std::string& name, const TestCertificate& issued) {
    return ClientTlsFiles{.ca = ca,
                          .certificate = File(name + ".pem", issued.certificate),
                          .key = File(name + ".key", issued.key)};
  };
  EXPECT_TRUE(Client(files("known", of_clients.Issue("client")))->GetInfo().ok());
  EXPECT_EQ(Client(files("stranger", authority_.Issue("client")))->GetInfo().status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(Client({.ca = ca})->GetInfo().status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ServerAccessTest, ARenewedCertificateServesNewConnections) {
  UseCertificate(authority_.Issue(kHost));
  Start();
  TestAuthority next("the next authority");
  const ClientTlsFiles trusting = {.ca = File("next.pem", next.certificate())};
  EXPECT_FALSE(Client(trusting)->GetInfo().ok());
  UseCertificate(next.Issue(kHost));
  const absl::Time give_up = absl::Now() + absl::Seconds(60);
  // Each client makes a connection of its own.
  while (!Client(trusting)->GetInfo().ok()) {
    ASSERT_LT(absl::Now(), give_up) << "the new certificate was never served";
    std::this_thread::yield();
  }
}

TEST_F(ServerAccessTest, WrongTlsFilesAreNamed) {
  const TestCertificate issued = authority_.Issue(kHost);
  UseCertificate(issued);
  const TlsFiles good = options_.tls;
  EXPECT_TRUE(Server::CheckFiles(options_).ok());
  const auto message = [this](const TlsFiles& files) {
    Server::Options options = options_;
    options.tls = files;
    const absl::Status status = Server::CheckFiles(options);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  TlsFiles wrong = good;
  wrong.key = File("other.key", authority_.Issue(kHost).key);
  EXPECT_THAT(message(wrong), HasSubstr(wrong.key));
  wrong.key = File("empty.key", "");
  EXPECT_THAT(message(wrong), HasSubstr(wrong.key));
  wrong.key = folder_ + "/none.key";
  EXPECT_THAT(message(wrong), HasSubstr(wrong.key));
  wrong = good;
  wrong.certificate = good.key;
  EXPECT_THAT(message(wrong), HasSubstr(wrong.certificate));
  wrong = good;
  wrong.client_ca = folder_ + "/none.pem";
  EXPECT_THAT(message(wrong), HasSubstr(wrong.client_ca));
  EXPECT_THAT(message({.certificate = good.certificate}), HasSubstr("--tls-key"));
  EXPECT_THAT(message({.client_ca = good.certificate}), HasSubstr("--tls-certificate"));
}

TEST_F(ServerAccessTest, CallsNeedATokenOfTheRightRole) {
  UseTokens();
  Start();
  EXPECT_TRUE(Client({}, "reading")->GetInfo().ok());
  const absl::Status unknown = Client({}, "guessed")->GetInfo().status();
  EXPECT_EQ(unknown.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(ClientError::FromStatus(unknown).reason, "CREDENTIALS_INVALID");
  EXPECT_EQ(Client({})->GetInfo().status().message(), unknown.message());

  v1::DeleteItemsRequest request;
  request.set_modality(v1::MODALITY_IMAGE);
  request.add_ids("x");
  const auto reader = Client({}, "reading");
  const absl::Status denied = GalleryClient(reader.get()).DeleteItems(request).status();
  EXPECT_EQ(denied.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(ClientError::FromStatus(denied).reason, "ROLE_INSUFFICIENT");
  // The gallery is only read: the writer comes as far as to be told.
  const auto writer = Client({}, "writing");
  EXPECT_EQ(GalleryClient(writer.get()).DeleteItems(request).status().code(),
            absl::StatusCode::kFailedPrecondition);
  v1::CreateSnapshotRequest snapshot;
  snapshot.set_name("s");
  EXPECT_EQ(GalleryClient(writer.get()).CreateSnapshot(snapshot).status().code(),
            absl::StatusCode::kPermissionDenied);

  const std::string metrics = Scrape();
  EXPECT_THAT(metrics, HasSubstr("dime_auth_rejected_total{reason=\"unauthenticated\"} 2"));
  EXPECT_THAT(metrics, HasSubstr("dime_auth_rejected_total{reason=\"permission_denied\"} 2"));
  for (const char* secret : {"reading", "writing", "guessed"}) {
    EXPECT_THAT(metrics, Not(HasSubstr(secret)));
  }
}

TEST_F(ServerAccessTest, TokensOfAnIdentityProviderAreTakenBesideTheFiles) {
  UseTokens();
  const TestTokenKey key("ES256", "k");
  JwtVerifier::Options jwt;
  jwt.keys_path = File("keys.jwks", KeySet({&key}));
  jwt.issuer = "https://issuer.example";
  jwt.audience = "dime";
  options_.jwt = jwt;
  Start();
  const auto token = [&key](const std::string& roles) {
    return key.Sign({{"iss", "https://issuer.example"},
                     {"aud", "dime"},
                     {"sub", "robot"},
                     {"exp", absl::ToUnixSeconds(absl::Now()) + 300},
                     {"roles", roles}});
  };
  EXPECT_TRUE(Client({}, token("read"))->GetInfo().ok());
  EXPECT_TRUE(Client({}, "reading")->GetInfo().ok());
  EXPECT_EQ(Client({}, token("nothing"))->GetInfo().status().code(),
            absl::StatusCode::kPermissionDenied);
  std::string forged = token("admin");
  forged[forged.size() / 2] ^= 1;
  const absl::Status refused = Client({}, forged)->GetInfo().status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(refused.message(), Client({}, "guessed")->GetInfo().status().message());
}

TEST_F(ServerAccessTest, MetricsCanAskForATokenToo) {
  options_.access_tokens =
      File("tokens", absl::StrCat("metrics ", HashOfToken("scraping"), " prometheus\n"));
  options_.metrics_need_token = true;
  Start();
  const auto scrape = [this](const std::string& header) {
    return Exchange(server_->metrics_address(),
                    absl::StrCat("GET /metrics HTTP/1.0\r\n", header, "\r\n"),
                    [](const std::string&) { return false; });
  };
  EXPECT_THAT(scrape(""), HasSubstr(" 401 "));
  EXPECT_THAT(scrape("Authorization: Bearer guessed\r\n"), HasSubstr(" 401 "));
  EXPECT_THAT(scrape("Authorization: Bearer scraping\r\n"), HasSubstr("dime_build_info"));
  EXPECT_EQ(Client({}, "scraping")->GetInfo().status().code(), absl::StatusCode::kPermissionDenied);
  options_.access_tokens = "";
  EXPECT_THAT(std::string(Server::CheckFiles(options_).message()),
              HasSubstr("--metrics-need-token needs tokens"));
}

TEST_F(ServerAccessTest, AClientsCallsASecondAreBounded) {
  UseTokens();
  options_.max_calls_per_second = 3;
  Start();
  const auto reader = Client({}, "reading");
  absl::Status refused;
  for (int i = 0; i < 4; ++i) refused = reader->GetInfo().status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  const ClientError error = ClientError::FromStatus(refused);
  EXPECT_EQ(error.reason, "QUOTA_EXCEEDED");
  EXPECT_GT(error.retry_delay.value_or(absl::ZeroDuration()), absl::ZeroDuration());
  EXPECT_TRUE(Client({}, "writing")->GetInfo().ok()) << "another client";
  v1::BatchSearchImagesRequest batch;
  for (int i = 0; i < 3; ++i) *batch.add_requests() = TextRequest("red");
  const auto writer = Client({}, "writing");
  EXPECT_TRUE(writer->BatchSearchImages(batch).ok());
  EXPECT_EQ(writer->GetInfo().status().code(), absl::StatusCode::kResourceExhausted)
      << "a batch's queries count one by one";
}

TEST_F(ServerAccessTest, TokensComeBeforeTheRequest) {
  UseTokens();
  Start();
  // What is no message at all, on every method, streams among them.
  const std::string garbage = "\xff\xff\xff";
  for (const char* method :
       {"RetrievalService/SearchImages", "RetrievalService/SearchCaptions",
        "RetrievalService/BatchSearchImages", "RetrievalService/BatchSearchCaptions",
        "RetrievalService/ExplainPair", "RetrievalService/GetInfo", "GalleryService/UpsertImages",
        "GalleryService/UpsertCaptions", "GalleryService/DeleteItems", "GalleryService/GetItem",
        "GalleryService/ListItems", "GalleryService/GetStats", "GalleryService/CreateSnapshot",
        "DiagnosticsService/ListSlowRequests"}) {
    EXPECT_EQ(RawCall(absl::StrCat("/dime.v1.", method), garbage).error_code(),
              grpc::StatusCode::UNAUTHENTICATED)
        << method;
  }
  EXPECT_EQ(Health(""), 1);
  EXPECT_EQ(
      RawCall("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "").error_code(),
      grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(ServerAccessTest, TokensDoNotCrossTheNetworkInPlainText) {
  UseTokens();
  options_.address = "0.0.0.0:0";
  const absl::Status refused = TryStart(options_).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("--allow-plaintext-tokens"));
  options_.allow_plaintext_tokens = true;
  EXPECT_TRUE(Server::CheckFiles(options_).ok());
  EXPECT_EQ(Server::AccessWarnings(options_).size(), 1u);
  options_.access_tokens = "";
  EXPECT_EQ(Server::AccessWarnings(options_).size(), 2u);
  options_.address = "127.0.0.1:0";
  EXPECT_TRUE(Server::AccessWarnings(options_).empty());

  RetrievalClient::Options client;
  client.address = "gallery.example:8980";
  client.token = "secret";
  const absl::Status status = RetrievalClient::Create(client).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("secret")));
}

TEST_F(ServerAccessTest, CallsBeyondAConnectionsStreamsWait) {
  options_.max_concurrent_streams = 1;
  Start();
  const auto info = [this](absl::Duration deadline) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + deadline));
    v1::GetInfoResponse response;
    return stub_->GetInfo(&context, {}, &response).error_code();
  };
  hold_launches_ = true;
  std::thread held([this] {
    grpc::ClientContext context;
    v1::SearchImagesResponse response;
    EXPECT_TRUE(stub_->SearchImages(&context, TextRequest("held"), &response).ok());
  });
  gate_.AwaitArrivals(1);
  EXPECT_EQ(info(absl::Milliseconds(100)), grpc::StatusCode::DEADLINE_EXCEEDED);
  gate_.Open();
  held.join();
  EXPECT_EQ(info(absl::Seconds(60)), grpc::StatusCode::OK);
}

}  // namespace
}  // namespace dime
