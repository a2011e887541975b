#include "client/item_upserter.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/client_error.h"
#include "client/proto_time.h"

namespace dime {
namespace {

std::unique_ptr<grpc::ClientReaderWriter<v1::UpsertImagesRequest, v1::UpsertResponse>> OpenStream(
    v1::GalleryService::Stub& stub, grpc::ClientContext* context, const v1::UpsertImagesRequest*) {
  return stub.UpsertImages(context);
}
std::unique_ptr<grpc::ClientReaderWriter<v1::UpsertCaptionsRequest, v1::UpsertResponse>> OpenStream(
    v1::GalleryService::Stub& stub, grpc::ClientContext* context,
    const v1::UpsertCaptionsRequest*) {
  return stub.UpsertCaptions(context);
}

const std::string& IdOf(const v1::UpsertImagesRequest& request) { return request.image().id(); }
const std::string& IdOf(const v1::UpsertCaptionsRequest& request) { return request.caption().id(); }

bool PassesByItself(int code) {
  return code == grpc::StatusCode::RESOURCE_EXHAUSTED || code == grpc::StatusCode::UNAVAILABLE;
}

// One upsert from its first stream to its last.
template <typename Request>
class Run {
 public:
  Run(const GalleryClient& client, const ItemUpserter::Options& options,
      const ItemUpserter::Source<Request>& source, const ItemUpserter::Settled& settled)
      : client_(client), options_(options), source_(source), settled_(settled) {}

  absl::Status UntilSettled() {
    last_progress_ = absl::Now();
    absl::Duration pause = options_.reconnect_pause;
    while (true) {
      const int64_t settled_before = settled_count_;
      const absl::Status status = OneStream();
      if (!error_.ok()) return error_;
      if (AllSettled()) return source_error_;
      if (!status.ok() && !absl::IsUnavailable(status)) return status;
      if (settled_count_ > settled_before) pause = options_.reconnect_pause;
      if (absl::Now() + pause - last_progress_ > options_.patience) {
        return status.ok() ? absl::UnavailableError("the server ended the stream too early")
                           : status;
      }
      absl::SleepFor(pause);
      pause = std::min(2 * pause, 10 * options_.reconnect_pause);
    }
  }

 private:
  using Item = ItemUpserter::Numbered<Request>;

  bool AllSettled() const {
    return source_ended_ && waiting_.empty() && sent_.empty() && !held_.has_value();
  }
  // Whether an item of the same id is on its way. What is no id is refused, in whatever order.
  bool IsOnTheWay(const Item& item) const { return on_the_way_.count(IdOf(item.request)) > 0; }
  // Whether there is an item to send now.
  bool HasNext() const {
    if (!waiting_.empty()) return true;
    return held_.has_value() ? !IsOnTheWay(*held_) : !source_ended_;
  }

  // Writes and reads over one stream until all is settled or it ends.
  absl::Status OneStream() {
    grpc::ClientContext context;
    client_.Authorize(context);
    // A server that restarts is found as soon as the channel has a connection; how long it may take
    // is for patience to say.
    context.set_wait_for_ready(true);
    window_ = 0;  // until the server says
    next_sequence_ = 0;
    closing_ = late_ = ended_ = asking_ = false;
    pause_until_ = absl::InfinitePast();
    // Opening waits for a connection, a write for the server to read, the end for it to answer.
    std::thread watchdog([this, &context] { CancelWhenPatienceEnds(context); });
    auto stream = OpenStream(client_.stub(), &context, static_cast<const Request*>(nullptr));
    std::thread reader([this, &stream] {
      v1::UpsertResponse response;
      while (stream->Read(&response)) Take(response);
      std::lock_guard<std::mutex> lock(mutex_);
      closing_ = true;
      changed_.notify_all();
    });
    while (WriteNext(*stream)) {
    }
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!error_.ok()) context.TryCancel();
    }
    stream->WritesDone();
    reader.join();
    {
      std::lock_guard<std::mutex> lock(mutex_);
      ended_ = true;
      stream_ended_.notify_all();
    }
    watchdog.join();
    absl::Status status = StatusFromGrpc(stream->Finish());
    // What has no result goes over the next stream, in the order in which it was sent.
    for (auto item = sent_.rbegin(); item != sent_.rend(); ++item) {
      waiting_.push_front(std::move(item->second));
    }
    sent_.clear();
    if (late_) {
      return absl::DeadlineExceededError(
          absl::StrCat("no result within ", absl::FormatDuration(options_.patience)));
    }
    return status;
  }

  // Whatever the stream waits for then. While the source is asked no result is late; that it has
  // answered is seen at the next look.
  void CancelWhenPatienceEnds(grpc::ClientContext& context) {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!ended_) {
      const absl::Time now = absl::Now();
      absl::Time look = last_progress_ + options_.patience;
      if (now >= look) {
        if (!asking_) {
          late_ = true;
          changed_.notify_all();
          context.TryCancel();
          return;
        }
        look = now + std::min(options_.patience / 8, absl::Seconds(10));
      }
      stream_ended_.wait_until(lock, absl::ToChronoTime(look));
    }
  }

  // Whether there is more to write over this stream.
  template <typename Stream>
  bool WriteNext(Stream& stream) {
    std::unique_lock<std::mutex> lock(mutex_);
    const auto is_over = [this] { return closing_ || late_ || !error_.ok() || AllSettled(); };
    while (!is_over()) {
      if (static_cast<int>(sent_.size()) >= window_ || !HasNext()) {
        changed_.wait(lock);
      } else if (absl::Now() < pause_until_) {
        changed_.wait_until(lock, absl::ToChronoTime(pause_until_));
      } else {
        break;
      }
    }
    if (is_over()) return false;

    Item item;
    if (!waiting_.empty()) {
      item = std::move(waiting_.front());
      waiting_.pop_front();
    } else {
      if (held_.has_value()) {
        item = *std::exchange(held_, std::nullopt);
      } else {
        // Only this thread asks the source.
        asking_ = true;
        lock.unlock();
        absl::StatusOr<std::optional<Item>> next = source_();
        lock.lock();
        asking_ = false;
        // Results are what patience waits for, and none could come.
        if (sent_.empty() || closing_) last_progress_ = absl::Now();
        if (!next.ok()) {
          // What is on its way settles first.
          source_error_ = next.status();
          source_ended_ = true;
          return true;
        }
        if (!next->has_value()) {
          source_ended_ = true;
          return true;
        }
        item = **std::move(next);
      }
      if (IsOnTheWay(item)) {
        held_ = std::move(item);
        return true;
      }
      const int64_t bytes = static_cast<int64_t>(item.request.ByteSizeLong());
      if (bytes > options_.max_request_bytes) {
        v1::Outcome outcome;
        outcome.set_code(grpc::StatusCode::INVALID_ARGUMENT);
        outcome.set_reason(v1::ERROR_REASON_MESSAGE_TOO_LARGE);
        outcome.set_message(absl::StrCat("the item has ", bytes, " bytes, the server takes ",
                                         options_.max_request_bytes));
        Settle(item, outcome);
        return true;
      }
      if (!IdOf(item.request).empty()) on_the_way_.insert(IdOf(item.request));
    }
    Item& sent = sent_[next_sequence_++];
    sent = std::move(item);
    // A copy is written: the item's result may come, and take it away, before Write() returns.
    const Request request = sent.request;
    lock.unlock();
    if (stream.Write(request)) return true;
    lock.lock();
    closing_ = true;
    return false;
  }

  // On the reading thread.
  void Take(const v1::UpsertResponse& response) {
    std::lock_guard<std::mutex> lock(mutex_);
    changed_.notify_all();
    if (response.has_start()) {
      window_ = std::clamp(response.start().max_outstanding_items(), 1, options_.max_window);
      return;
    }
    if (response.has_draining()) {
      closing_ = true;
      return;
    }
    const auto found = sent_.find(response.result().sequence());
    if (found == sent_.end()) return;
    Item item = std::move(found->second);
    sent_.erase(found);
    const v1::Outcome& outcome = response.result().outcome();
    if (!PassesByItself(outcome.code())) {
      on_the_way_.erase(IdOf(item.request));
      return Settle(item, outcome);
    }
    pause_until_ = absl::Now() + FromProto(outcome.retry_delay());
    waiting_.push_back(std::move(item));
  }

  // With the lock.
  void Settle(const Item& item, const v1::Outcome& outcome) {
    ++settled_count_;
    const absl::Status status = settled_(item.number, IdOf(item.request), outcome);
    last_progress_ = absl::Now();  // however long that took
    if (error_.ok()) error_ = status;
  }

  const GalleryClient& client_;
  const ItemUpserter::Options options_;
  const ItemUpserter::Source<Request>& source_;
  const ItemUpserter::Settled& settled_;

  // Guards the rest while a stream is open; between streams there is one thread.
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> waiting_;          // to be sent once more
  std::map<int64_t, Item> sent_;      // without a result, by sequence
  std::set<std::string> on_the_way_;  // ids of what is sent or waits
  std::optional<Item> held_;          // the source's latest, until the one before of its id settles
  int64_t next_sequence_ = 0;
  int64_t settled_count_ = 0;
  int window_ = 0;
  bool source_ended_ = false;
  bool closing_ = false;  // this stream takes no more
  bool asking_ = false;   // the source for its next item
  bool late_ = false;     // patience ended
  bool ended_ = false;    // the stream, and with it the watchdog's work
  std::condition_variable stream_ended_;
  absl::Time pause_until_;
  absl::Time last_progress_;
  absl::Status error_;
  absl::Status source_error_;  // why the source ended, if by an error
};

template <typename Request>
absl::Status UpsertAll(const GalleryClient& client, const ItemUpserter::Options& options,
                       const ItemUpserter::Source<Request>& source,
                       const ItemUpserter::Settled& settled) {
  return Run<Request>(client, options, source, settled).UntilSettled();
}

}  // namespace

absl::Status ItemUpserter::Upsert(const Source<v1::UpsertImagesRequest>& source,
                                  const Settled& settled) const {
  return UpsertAll(client_, options_, source, settled);
}

absl::Status ItemUpserter::Upsert(const Source<v1::UpsertCaptionsRequest>& source,
                                  const Settled& settled) const {
  return UpsertAll(client_, options_, source, settled);
}

}  // namespace dime
