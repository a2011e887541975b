#include "server/upsert_stream.h"

#include <utility>

#include "grpcpp/impl/codegen/proto_utils.h"
#include "server/error_details.h"

namespace dime {

UpsertStream* UpsertStream::Start(CallLedger* ledger, std::unique_ptr<CallRecord> record,
                                  const absl::Status& refusal, Submit submit,
                                  const Options& options) {
  const std::shared_ptr<UpsertStream> stream(
      new UpsertStream(ledger, std::move(record), std::move(submit), options));
  stream->Begin(refusal);
  return stream.get();
}

UpsertStream::UpsertStream(CallLedger* ledger, std::unique_ptr<CallRecord> record, Submit submit,
                           const Options& options)
    : ledger_(ledger), record_(std::move(record)), submit_(std::move(submit)), options_(options) {}

void UpsertStream::Begin(const absl::Status& refusal) {
  // The ledger may call back at once, and must not find the lock held.
  const std::weak_ptr<UpsertStream> weak = weak_from_this();
  const CallLedger::Entry entry = ledger_->Begin([weak] {
    if (const std::shared_ptr<UpsertStream> stream = weak.lock()) stream->StartDraining();
  });
  std::lock_guard<std::mutex> lock(mutex_);
  self_ = shared_from_this();
  entry_ = entry;
  if (!entry_.admitted || !refusal.ok()) {
    return End(entry_.admitted ? refusal : absl::UnavailableError("the server is shutting down"));
  }
  v1::UpsertResponse start;
  start.mutable_start()->set_max_outstanding_items(options_.window);
  unsaid_.push_front(std::move(start));  // before a notice of draining that came already
  GoOn();
}

void UpsertStream::OnReadDone(bool ok) {
  const std::shared_ptr<UpsertStream> keep = shared_from_this();
  int64_t sequence = 0;
  bool refused = false;
  grpc::ByteBuffer message;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!ok) {
      reading_ = false;
      caller_done_ = true;
      return GoOn();
    }
    message.Swap(&incoming_);
    sequence = next_sequence_++;
    ++unsettled_;
    // After a cancellation nobody hears of the item, and the caller may be sending it anew.
    refused = draining_ || broken_ || ended_;
  }
  // Without the lock: the item may settle before this returns. The read counts as under way until
  // it has been taken, or else what goes on meanwhile would read the next message, which another
  // thread could submit first.
  std::string id;
  absl::Status taken = absl::UnavailableError("the server is shutting down");
  if (!refused) {
    // The id is there before the item can settle, since whoever takes it sets it first.
    const auto shared_id = std::make_shared<std::string>();
    taken = submit_(message, *shared_id, [keep, sequence, shared_id](const absl::Status& status) {
      keep->ItemSettled(sequence, *shared_id, status);
    });
    if (!taken.ok()) id = *shared_id;
  }
  std::lock_guard<std::mutex> lock(mutex_);
  reading_ = false;
  if (!taken.ok()) {
    --unsettled_;
    SayResult(sequence, id, taken);
  }
  GoOn();
}

void UpsertStream::OnWriteDone(bool ok) {
  const std::shared_ptr<UpsertStream> keep = shared_from_this();
  std::lock_guard<std::mutex> lock(mutex_);
  writing_ = false;
  if (!ok) broken_ = true;
  GoOn();
}

void UpsertStream::OnCancel() {
  const std::shared_ptr<UpsertStream> keep = shared_from_this();
  std::lock_guard<std::mutex> lock(mutex_);
  broken_ = true;
  GoOn();
}

void UpsertStream::OnDone() {
  std::shared_ptr<UpsertStream> self;
  CallLedger* const ledger = ledger_;
  CallLedger::Entry entry;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    self = std::move(self_);
    entry = entry_;
  }
  self = nullptr;
  ledger->End(entry);
}

void UpsertStream::StartDraining() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (draining_) return;
  draining_ = true;
  v1::UpsertResponse notice;
  notice.mutable_draining();
  Say(std::move(notice));
  // Before Begin() has said its part there is nothing to go on with.
  if (self_ != nullptr) GoOn();
}

void UpsertStream::ItemSettled(int64_t sequence, const std::string& id,
                               const absl::Status& status) {
  std::lock_guard<std::mutex> lock(mutex_);
  --unsettled_;
  SayResult(sequence, id, status);
  GoOn();
}

void UpsertStream::Say(v1::UpsertResponse response) {
  if (!broken_ && !ended_) unsaid_.push_back(std::move(response));
}

void UpsertStream::SayResult(int64_t sequence, const std::string& id, const absl::Status& status) {
  v1::UpsertResponse response;
  v1::UpsertResult& result = *response.mutable_result();
  result.set_sequence(sequence);
  result.set_id(id);
  *result.mutable_outcome() = ToOutcome(status, options_.retry_delay);
  Say(std::move(response));
}

void UpsertStream::GoOn() {
  if (ended_) return;
  if (broken_) unsaid_.clear();
  if (!writing_ && !unsaid_.empty()) {
    bool own_buffer;
    outgoing_.Clear();
    const grpc::Status serialized = grpc::SerializationTraits<v1::UpsertResponse>::Serialize(
        unsaid_.front(), &outgoing_, &own_buffer);
    unsaid_.pop_front();
    if (!serialized.ok()) {
      broken_ = true;
      unsaid_.clear();
    } else {
      writing_ = true;
      StartWrite(&outgoing_);
    }
  }
  const bool all_said = !writing_ && unsaid_.empty();
  if (unsettled_ == 0 && all_said) {
    if (broken_) return End(absl::CancelledError("the caller cancelled the call"));
    if (caller_done_) return End(absl::OkStatus());
    if (draining_) return End(absl::UnavailableError("the server is shutting down"));
  }
  const int64_t waiting = unsettled_ + static_cast<int64_t>(unsaid_.size());
  if (!reading_ && !caller_done_ && !broken_ && waiting < options_.window) {
    reading_ = true;
    StartRead(&incoming_);
  }
}

void UpsertStream::End(const absl::Status& status) {
  ended_ = true;
  record_->SetItems(next_sequence_);
  Finish(record_->End(status));
}

}  // namespace dime
