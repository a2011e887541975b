#ifndef DIME_SERVER_UPSERT_STREAM_H_
#define DIME_SERVER_UPSERT_STREAM_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "dime/v1/gallery.pb.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/call_ledger.h"
#include "server/call_record.h"

namespace dime {

// One upsert stream, from its start until gRPC has done with it, for either kind of item. A
// reaction only has a message's item checked and taken by `submit`; results are written as items
// settle, in whatever order. A message is read only while fewer than the window's items are without
// a written result, and none before the one before it was taken: items are submitted in the order
// in which they were sent, and a caller who does not read, or who sends faster than is written, is
// held up by HTTP/2's own flow control and costs no memory. When the server begins to close, the
// caller is told; what was taken settles and is reported, then the stream ends. The stream never
// ends before all that it took is settled, so that what settles items may call back into it.
// Thread-safe. Reactions and settlements share the object, and the last of them destroys it.
class UpsertStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                           public std::enable_shared_from_this<UpsertStream> {
 public:
  // Called once for an item that was taken, with what became of it.
  using Settle = std::function<void(const absl::Status&)>;
  // Takes the item of a message: its id into `id` as soon as it is known; then either `settle` is
  // called later, or an error says at once why it was not taken.
  using Submit =
      std::function<absl::Status(const grpc::ByteBuffer& message, std::string& id, Settle settle)>;
  struct Options {
    int window = 256;
    absl::Duration retry_delay = absl::Milliseconds(250);  // told with what may be sent again
  };

  // Starts a stream, which owns itself. With an error in `refusal` it ends with that at once.
  static UpsertStream* Start(CallLedger* ledger, std::unique_ptr<CallRecord> record,
                             const absl::Status& refusal, Submit submit, const Options& options);
  ~UpsertStream() override = default;

 private:
  UpsertStream(CallLedger* ledger, std::unique_ptr<CallRecord> record, Submit submit,
               const Options& options);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void Begin(const absl::Status& refusal) ABSL_LOCKS_EXCLUDED(mutex_);
  void StartDraining() ABSL_LOCKS_EXCLUDED(mutex_);
  void ItemSettled(int64_t sequence, const std::string& id, const absl::Status& status)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void Say(v1::UpsertResponse response) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SayResult(int64_t sequence, const std::string& id, const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whatever can go on now: a write, a read, the end.
  void GoOn() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void End(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  CallLedger* const ledger_;
  const std::unique_ptr<CallRecord> record_;
  const Submit submit_;
  const Options options_;
  // Held over gRPC's operations too, which never call back from within.
  std::mutex mutex_;
  std::shared_ptr<UpsertStream> self_ ABSL_GUARDED_BY(mutex_);  // until gRPC has done with it
  CallLedger::Entry entry_ ABSL_GUARDED_BY(mutex_);
  grpc::ByteBuffer incoming_;  // gRPC's from StartRead() to OnReadDone()
  grpc::ByteBuffer outgoing_;  // gRPC's while writing_
  std::deque<v1::UpsertResponse> unsaid_ ABSL_GUARDED_BY(mutex_);
  int64_t next_sequence_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t unsettled_ ABSL_GUARDED_BY(mutex_) = 0;  // items taken, or being taken
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;   // until what was read is taken
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool caller_done_ ABSL_GUARDED_BY(mutex_) = false;  // nothing more comes
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;       // nothing more can be said
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace dime

#endif  // DIME_SERVER_UPSERT_STREAM_H_
