#include "server/revision_switch.h"

#include <utility>

namespace dime {

RevisionSwitch::RevisionSwitch(std::unique_ptr<ServingRevision> first) {
  Replace(std::move(first));
}

RevisionSwitch::~RevisionSwitch() {
  Lease last;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    last = std::move(current_);
  }
  last = nullptr;
  AwaitLeft(0);
}

RevisionSwitch::Lease RevisionSwitch::MakeLease(std::unique_ptr<ServingRevision> revision) {
  return Lease(revision.release(), [this](ServingRevision* released) {
    std::lock_guard<std::mutex> lock(mutex_);
    free_.emplace_back(released);
    --alive_;
    // With the lock: the switch may be gone as soon as it is free.
    released_.notify_all();
  });
}

RevisionSwitch::Lease RevisionSwitch::Current() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return current_;
}

void RevisionSwitch::Replace(std::unique_ptr<ServingRevision> next) {
  Lease lease = MakeLease(std::move(next));
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ++alive_;
    std::swap(current_, lease);
  }
  // Without the lock: the former may be released here.
  lease = nullptr;
}

void RevisionSwitch::AwaitReplaced() { AwaitLeft(1); }

void RevisionSwitch::AwaitLeft(int64_t left) {
  std::vector<std::unique_ptr<ServingRevision>> free;
  {
    std::unique_lock<std::mutex> lock(mutex_);
    released_.wait(lock, [this, left] { return alive_ <= left; });
    free.swap(free_);
  }
}

}  // namespace dime
