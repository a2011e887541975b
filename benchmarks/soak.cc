// soak: a server under valid, broken, late and cancelled calls for as long as is asked, and what it
// holds meanwhile. See --help.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "benchmarks/child_server.h"
#include "benchmarks/process_usage.h"
#include "benchmarks/search_load.h"
#include "dime/v1/diagnostics.grpc.pb.h"
#include "dime/v1/gallery.grpc.pb.h"
#include "dime/v1/retrieval.grpc.pb.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "index/status_macros.h"
#include "tests/fuzz/mutator.h"

namespace dime {
namespace {

struct Flags {
  std::string server, model, gallery;
  std::vector<std::string> server_flags;
  double minutes = 10;
  double row_seconds = 60;
  int callers = 8;
  uint32_t seed = 1;
};

// What calls came to, by status code; the first faults are told as they come.
class Outcomes {
 public:
  void Count(const grpc::Status& status) {
    ++counts_[static_cast<size_t>(status.error_code()) % counts_.size()];
    if (IsFault(status.error_code()) && told_.fetch_add(1) < kToldFaults) {
      std::cerr << absl::StrCat("soak: a fault: ", static_cast<int>(status.error_code()), ": ",
                                status.error_message(), "\n");
    }
  }
  int64_t of(grpc::StatusCode code) const { return counts_[static_cast<size_t>(code)]; }
  int64_t faults() const {
    int64_t sum = 0;
    for (const grpc::StatusCode code : kFaults) sum += of(code);
    return sum;
  }

 private:
  static constexpr int kToldFaults = 10;
  static constexpr grpc::StatusCode kFaults[] = {
      grpc::StatusCode::INTERNAL, grpc::StatusCode::UNKNOWN, grpc::StatusCode::UNAVAILABLE,
      grpc::StatusCode::DATA_LOSS};
  static bool IsFault(grpc::StatusCode code) {
    return std::find(std::begin(kFaults), std::end(kFaults), code) != std::end(kFaults);
  }
  std::array<std::atomic<int64_t>, 17> counts_{};
  std::atomic<int> told_{0};
};

// Waits for one call of the callback API.
class Waiter {
 public:
  void Settle(const grpc::Status& status) {
    std::lock_guard<std::mutex> lock(mutex_);
    status_ = status;
    done_ = true;
    settled_.notify_one();
  }
  grpc::Status Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    settled_.wait(lock, [this] { return done_; });
    return status_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable settled_;
  bool done_ = false;
  grpc::Status status_;
};

// One caller: a connection of its own, one call after the other, of all kinds.
class Caller {
 public:
  Caller(const std::string& address, const SearchQueries& texts, const SearchQueries& images,
         uint32_t seed, Outcomes* outcomes)
      : channel_(MakeLoadChannel(address)),
        retrieval_(v1::RetrievalService::NewStub(channel_)),
        gallery_(v1::GalleryService::NewStub(channel_)),
        diagnostics_(v1::DiagnosticsService::NewStub(channel_)),
        texts_(texts.texts),
        images_(images.image_ids),
        random_(seed),
        mutator_(Seeds(), seed),
        outcomes_(*outcomes) {}

  void Run(const std::atomic<bool>& stop) {
    // A connection that fails to come about is tried again within a second, in which calls would
    // fail by the thousand.
    if (!channel_->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(30))) {
      return outcomes_.Count({grpc::StatusCode::UNAVAILABLE, "no connection within 30 s"});
    }
    while (!stop) outcomes_.Count(CallOnce());
  }

 private:
  int Below(int bound) { return static_cast<int>(random_() % static_cast<uint32_t>(bound)); }
  const std::string& Any(const std::vector<std::string>& list) {
    return list[static_cast<size_t>(Below(static_cast<int>(list.size())))];
  }

  v1::SearchImagesRequest ImagesRequest() {
    v1::SearchImagesRequest request;
    request.set_text(Any(texts_));
    FillOptions(*request.mutable_options());
    return request;
  }
  v1::SearchCaptionsRequest CaptionsRequest() {
    v1::SearchCaptionsRequest request;
    request.set_image_id(Any(images_));
    FillOptions(*request.mutable_options());
    return request;
  }
  void FillOptions(v1::SearchOptions& options) {
    options.set_top_k(1 + Below(20));
    options.set_rerank_depth(20 + Below(80));
    if (Below(4) == 0) options.set_view(v1::RESULT_VIEW_EXPLAIN);
    if (Below(4) == 0) options.set_with_payload(true);
    if (Below(8) == 0) options.set_paged(true);
    if (Below(8) == 0) options.set_adaptive_depth(true);
    if (Below(8) == 0) options.set_filter("uri:*");
  }
  // What broken messages are made of.
  std::vector<std::string> Seeds() {
    v1::UpsertImagesRequest upsert;
    upsert.mutable_image()->set_id("x");
    upsert.mutable_features()->set_num_regions(1);
    return {ImagesRequest().SerializeAsString(), CaptionsRequest().SerializeAsString(),
            upsert.SerializeAsString(), std::string(1, '\x0a')};
  }

  grpc::Status CallOnce() {
    const int kind = Below(100);
    if (kind < 45) return Search(absl::Seconds(10));
    if (kind < 55) return Batch();
    if (kind < 60) return Explain();
    if (kind < 65) return Look();
    if (kind < 75) return Broken();
    if (kind < 85) return Cancelled();
    if (kind < 93) return Search(absl::Milliseconds(1 + Below(8)));
    return Upsert();
  }

  grpc::Status Search(absl::Duration deadline) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + deadline));
    if (Below(2) == 0) {
      v1::SearchImagesResponse response;
      return retrieval_->SearchImages(&context, ImagesRequest(), &response);
    }
    v1::SearchCaptionsResponse response;
    return retrieval_->SearchCaptions(&context, CaptionsRequest(), &response);
  }
  grpc::Status Batch() {
    v1::BatchSearchImagesRequest request;
    for (int i = 0; i < 3; ++i) *request.add_requests() = ImagesRequest();
    grpc::ClientContext context;
    v1::BatchSearchImagesResponse response;
    return retrieval_->BatchSearchImages(&context, request, &response);
  }
  grpc::Status Explain() {
    v1::ExplainPairRequest request;
    request.set_text(Any(texts_));
    request.set_image_id(Any(images_));
    grpc::ClientContext context;
    v1::ExplainPairResponse response;
    return retrieval_->ExplainPair(&context, request, &response);
  }
  grpc::Status Look() {
    grpc::ClientContext context;
    switch (Below(3)) {
      case 0: {
        v1::GetInfoResponse response;
        return retrieval_->GetInfo(&context, {}, &response);
      }
      case 1: {
        v1::ListItemsRequest request;
        request.set_modality(v1::MODALITY_IMAGE);
        request.set_page_size(20);
        v1::ListItemsResponse response;
        return gallery_->ListItems(&context, request, &response);
      }
      default: {
        v1::ListSlowRequestsRequest request;
        request.set_with_requests(true);
        v1::ListSlowRequestsResponse response;
        return diagnostics_->ListSlowRequests(&context, request, &response);
      }
    }
  }
  // Bytes that are hardly ever a message of the method.
  grpc::Status Broken() {
    static constexpr const char* kMethods[] = {"/dime.v1.RetrievalService/SearchImages",
                                               "/dime.v1.RetrievalService/SearchCaptions",
                                               "/dime.v1.RetrievalService/BatchSearchImages",
                                               "/dime.v1.RetrievalService/ExplainPair",
                                               "/dime.v1.GalleryService/DeleteItems",
                                               "/dime.v1.GalleryService/ListItems",
                                               "/dime.v1.GalleryService/GetItem",
                                               "/dime.v1.NoService/NoMethod"};
    grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub(channel_);
    const grpc::Slice bytes(mutator_.Next());
    const grpc::ByteBuffer request(&bytes, 1);
    grpc::ByteBuffer response;
    grpc::ClientContext context;
    Waiter waiter;
    stub.UnaryCall(&context, kMethods[Below(std::size(kMethods))], grpc::StubOptions(), &request,
                   &response, [&waiter](const grpc::Status& status) { waiter.Settle(status); });
    const grpc::Status status = waiter.Wait();
    // No method of that name: the library's answer, not a fault.
    return status.error_code() == grpc::StatusCode::UNIMPLEMENTED ? grpc::Status::OK : status;
  }
  grpc::Status Cancelled() {
    const v1::SearchImagesRequest request = ImagesRequest();
    v1::SearchImagesResponse response;
    grpc::ClientContext context;
    Waiter waiter;
    retrieval_->async()->SearchImages(
        &context, &request, &response,
        [&waiter](const grpc::Status& status) { waiter.Settle(status); });
    std::this_thread::sleep_for(std::chrono::microseconds(Below(10000)));
    context.TryCancel();
    return waiter.Wait();
  }
  // A stream of items that do not fit or, where the gallery is only read, that is refused; half of
  // them are left without a word.
  grpc::Status Upsert() {
    grpc::ClientContext context;
    const auto stream = gallery_->UpsertImages(&context);
    v1::UpsertImagesRequest item;
    item.mutable_image()->set_id("soak");
    for (int i = 0; i < 5 && stream->Write(item); ++i) continue;
    if (Below(2) == 0) context.TryCancel();
    stream->WritesDone();
    v1::UpsertResponse response;
    while (stream->Read(&response)) continue;
    return stream->Finish();
  }

  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::RetrievalService::Stub> retrieval_;
  const std::unique_ptr<v1::GalleryService::Stub> gallery_;
  const std::unique_ptr<v1::DiagnosticsService::Stub> diagnostics_;
  const std::vector<std::string> texts_;
  const std::vector<std::string> images_;
  std::mt19937 random_;
  Mutator mutator_;
  Outcomes& outcomes_;
};

int64_t CountEntries(const std::string& directory) {
  int64_t count = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    ++count;
  }
  return count;
}

// The hits of one search with their scores, which must stay the same.
absl::StatusOr<std::string> FixedAnswer(const std::string& address, const std::string& text) {
  v1::SearchImagesRequest request;
  request.set_text(text);
  grpc::ClientContext context;
  v1::SearchImagesResponse response;
  const grpc::Status status = v1::RetrievalService::NewStub(MakeLoadChannel(address))
                                  ->SearchImages(&context, request, &response);
  if (!status.ok()) return absl::UnavailableError(status.error_message());
  std::string answer;
  for (const v1::ImageHit& hit : response.hits()) {
    absl::StrAppend(&answer, hit.id(), " ", hit.score(), "\n");
  }
  return answer;
}

absl::Status PrintRow(absl::Duration time, pid_t pid, const Outcomes& outcomes) {
  ASSIGN_OR_RETURN(const ProcessMemory memory, ReadProcessMemory(pid));
  const std::string process = absl::StrCat("/proc/", pid);
  using Code = grpc::StatusCode;
  std::cout << absl::StreamFormat(
                   "| %.0f | %d | %d | %d | %d | %d | %d | %d | %.1f | %d | %d |",
                   absl::ToDoubleSeconds(time), outcomes.of(Code::OK),
                   outcomes.of(Code::INVALID_ARGUMENT),
                   outcomes.of(Code::NOT_FOUND) + outcomes.of(Code::FAILED_PRECONDITION),
                   outcomes.of(Code::RESOURCE_EXHAUSTED), outcomes.of(Code::DEADLINE_EXCEEDED),
                   outcomes.of(Code::CANCELLED), outcomes.faults(),
                   static_cast<double>(memory.anonymous_bytes) / (1 << 20),
                   CountEntries(process + "/task"), CountEntries(process + "/fd"))
            << std::endl;
  return absl::OkStatus();
}

absl::Status Soak(const Flags& flags) {
  std::vector<std::string> command = {
      flags.server,  "--model",           flags.model, "--gallery",   flags.gallery, "--address",
      "127.0.0.1:0", "--metrics-address", "",          "--log-calls", "none"};
  command.insert(command.end(), flags.server_flags.begin(), flags.server_flags.end());
  ASSIGN_OR_RETURN(const std::unique_ptr<ChildServer> server, ChildServer::Start(command));
  const std::shared_ptr<grpc::Channel> channel = MakeLoadChannel(server->address());
  ASSIGN_OR_RETURN(const SearchQueries texts, ListTexts(channel, 1000));
  ASSIGN_OR_RETURN(const SearchQueries images, ListImageIds(channel, 1000));
  ASSIGN_OR_RETURN(const std::string answer, FixedAnswer(server->address(), texts.texts.front()));

  std::cout
      << "| s | OK | INVALID_ARGUMENT | NOT_FOUND, FAILED_PRECONDITION | RESOURCE_EXHAUSTED | "
         "DEADLINE_EXCEEDED | CANCELLED | faults | own memory, MiB | threads | open files |\n"
         "|---|---|---|---|---|---|---|---|---|---|---|\n";
  Outcomes outcomes;
  RETURN_IF_ERROR(PrintRow(absl::ZeroDuration(), server->pid(), outcomes));
  std::atomic<bool> stop{false};
  std::vector<std::thread> callers;
  for (int i = 0; i < flags.callers; ++i) {
    callers.emplace_back([&, i] {
      Caller(server->address(), texts, images, flags.seed + static_cast<uint32_t>(i), &outcomes)
          .Run(stop);
    });
  }
  const absl::Time start = absl::Now();
  const absl::Time end = start + absl::Minutes(flags.minutes);
  absl::Status status;
  while (status.ok() && absl::Now() < end) {
    absl::SleepFor(std::min(absl::Seconds(flags.row_seconds), end - absl::Now()));
    status = PrintRow(absl::Now() - start, server->pid(), outcomes);
  }
  stop = true;
  for (std::thread& caller : callers) caller.join();
  RETURN_IF_ERROR(status);
  ASSIGN_OR_RETURN(const std::string last, FixedAnswer(server->address(), texts.texts.front()));
  if (last != answer) return absl::InternalError("the same search is answered otherwise now");
  if (const int64_t faults = outcomes.faults(); faults > 0) {
    return absl::InternalError(absl::StrCat(faults, " calls met a fault"));
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "Starts dime_server and makes calls of every kind at it: searches, batches and explanations, "
      "bytes that are no message, calls that are cancelled or have no time, streams that are left. "
      "Prints what they came to and what the server holds, a row a minute. Fails if a call meets a "
      "fault (INTERNAL, UNKNOWN, UNAVAILABLE, DATA_LOSS), or if the same search is answered "
      "otherwise at the end.",
      "soak");
  app.add_option("--server", flags.server, "The program dime_server")->required();
  app.add_option("--model", flags.model, "Model directory")->required();
  app.add_option("--gallery", flags.gallery, "Gallery directory")->required();
  app.add_option("--server-flags", flags.server_flags, "Further arguments, separated by commas")
      ->delimiter(',');
  app.add_option("--minutes", flags.minutes, "How long")->capture_default_str();
  app.add_option("--row-seconds", flags.row_seconds, "Between two rows")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--callers", flags.callers, "Callers at once, a connection each")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--seed", flags.seed, "Of what is called when")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = Soak(flags);
  if (status.ok()) return 0;
  std::cerr << "soak: " << status.message() << std::endl;
  return 1;
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) { return dime::Main(argc, argv); }
