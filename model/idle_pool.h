#ifndef DIME_MODEL_IDLE_POOL_H_
#define DIME_MODEL_IDLE_POOL_H_

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"

namespace dime {

// Objects that are costly to make and used by one thread at a time, such as a kernel's workspaces:
// as many as were ever in use at once. Thread-safe. Must outlive its leases.
template <class T>
class IdlePool {
 public:
  // One of them, for as long as it lives.
  class Lease {
   public:
    Lease(IdlePool& pool, std::unique_ptr<T> object) : pool_(pool), object_(std::move(object)) {}
    ~Lease() { pool_.Put(std::move(object_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    T& operator*() const { return *object_; }
    T* operator->() const { return object_.get(); }

   private:
    IdlePool& pool_;
    std::unique_ptr<T> object_;
  };

  // One that nobody uses, or else a new one of make()'s.
  Lease Take(absl::FunctionRef<std::unique_ptr<T>()> make) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<T> object = std::move(idle_.back());
        idle_.pop_back();
        return Lease(*this, std::move(object));
      }
    }
    return Lease(*this, make());
  }

 private:
  void Put(std::unique_ptr<T> object) {
    std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(std::move(object));
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<T>> idle_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dime

#endif  // DIME_MODEL_IDLE_POOL_H_
