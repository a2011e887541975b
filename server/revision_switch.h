#ifndef DIME_SERVER_REVISION_SWITCH_H_
#define DIME_SERVER_REVISION_SWITCH_H_

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "server/serving_revision.h"

namespace dime {

// Which revision serves: calls lease the present one and keep it until they are over, however often
// it is replaced meanwhile. A revision that was replaced is destroyed once its last lease has gone,
// by the thread that waits for that and never by one of a call's, since a revision's end joins
// threads of its own.
// Thread-safe. Leases may not outlive it; destruction waits for them.
class RevisionSwitch {
 public:
  using Lease = std::shared_ptr<ServingRevision>;

  explicit RevisionSwitch(std::unique_ptr<ServingRevision> first);
  ~RevisionSwitch();
  RevisionSwitch(const RevisionSwitch&) = delete;
  RevisionSwitch& operator=(const RevisionSwitch&) = delete;

  Lease Current() const ABSL_LOCKS_EXCLUDED(mutex_);

  // New leases are of `next` from now on.
  void Replace(std::unique_ptr<ServingRevision> next) ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits until no lease of a replaced revision is left, and destroys these.
  void AwaitReplaced() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  Lease MakeLease(std::unique_ptr<ServingRevision> revision);
  // Waits until `left` revisions are alive, and destroys the others.
  void AwaitLeft(int64_t left) ABSL_LOCKS_EXCLUDED(mutex_);

  mutable std::mutex mutex_;
  std::condition_variable released_;
  int64_t alive_ ABSL_GUARDED_BY(mutex_) = 0;  // revisions that are leased, or current
  std::vector<std::unique_ptr<ServingRevision>> free_ ABSL_GUARDED_BY(mutex_);
  Lease current_ ABSL_GUARDED_BY(mutex_);
};

// Something of a revision, such as a view of its gallery, with the lease that it may not outlive.
template <typename T>
struct Leased {
  RevisionSwitch::Lease revision;
  T value;  // goes first
};

}  // namespace dime

#endif  // DIME_SERVER_REVISION_SWITCH_H_
