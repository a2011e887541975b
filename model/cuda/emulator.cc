#include "model/cuda/emulator.h"

#include <setjmp.h>
#include <ucontext.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(DIME_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>

extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
void __tsan_read16(void* address);
}
#endif

namespace dime::cuda {
namespace {

constexpr int kWarp = 32;
constexpr int kWarpgroup = 128;
constexpr size_t kStackBytes = size_t{64} << 10;

// Jumps are as good as swaps of contexts, and take no system call; but sanitizers know swaps alone.
#if defined(DIME_THREAD_SANITIZER) || defined(__SANITIZE_ADDRESS__)
constexpr bool kSwapsContexts = true;
#else
constexpr bool kSwapsContexts = false;
#endif

// What ThreadSanitizer is told, so that it sees a device's threads where there are fibers: nothing
// happens before anything else because of the order in which they run here, only because of
// barriers. This file is not instrumented itself.
#if defined(DIME_THREAD_SANITIZER)
constexpr bool kWatched = true;
void* CurrentThread() { return __tsan_get_current_fiber(); }
void* NewThread() { return __tsan_create_fiber(0); }
void DeleteThread(void* thread) { __tsan_destroy_fiber(thread); }
void BeThread(void* thread) { __tsan_switch_to_fiber(thread, __tsan_switch_to_fiber_no_sync); }
void Release(void* barrier) { __tsan_release(barrier); }
void Acquire(void* barrier) { __tsan_acquire(barrier); }
void Read16(const void* from) { __tsan_read16(const_cast<void*>(from)); }
struct Unwatched {
  Unwatched() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Unwatched() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
};
#else
constexpr bool kWatched = false;
void* CurrentThread() { return nullptr; }
void* NewThread() { return nullptr; }
void DeleteThread(void*) {}
void BeThread(void*) {}
void Release(void*) {}
void Acquire(void*) {}
void Read16(const void*) {}
struct Unwatched {
  ~Unwatched() {}
};
#endif

// One block's threads.
class Block {
 public:
  // `end`: what the launch's end waits for.
  Block(int threads, size_t shared_bytes, Emulator::Order order, absl::FunctionRef<void()> kernel,
        char* end)
      : order_(order),
        kernel_(kernel),
        fibers_(static_cast<size_t>(threads)),
        warps_(static_cast<size_t>(threads / kWarp)),
        warpgroups_(static_cast<size_t>(threads / kWarpgroup)),
        stacks_(new unsigned char[static_cast<size_t>(threads) * kStackBytes]),
        shared_((shared_bytes + 15) / 16 * 16 / sizeof(Quad) + 1),
        end_(end) {}

  ~Block() { DeleteThreads(); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  void Run(int x, int y);
  // Ended threads are to be known for as long as others may race with them: the next that begin
  // take the names of those that are gone, and nothing races with itself.
  void DeleteThreads() {
    for (Fiber& fiber : fibers_) {
      if (fiber.thread != nullptr) DeleteThread(std::exchange(fiber.thread, nullptr));
    }
    if (products_ != nullptr) DeleteThread(std::exchange(products_, nullptr));
  }

  int thread() const { return current_; }
  int x() const { return x_; }
  int y() const { return y_; }
  unsigned char* shared() { return reinterpret_cast<unsigned char*>(shared_.data()); }

  void SyncBlock() {
    // In turns: who is past this barrier may come to the next before others have left this one.
    char* const barrier = &barrier_[barriers_ % 2];
    Release(barrier);
    ++at_barrier_;
    Wait(&barriers_);
    Acquire(barrier);
  }
  void SyncWarp() {
    Warp& warp = OwnWarp();
    char* const barrier = &warp.barrier[warp.meetings % 2];
    Release(barrier);
    WithWarp(nullptr, [](void* const*) {});
    Acquire(barrier);
  }
  void WithWarp(void* mine, absl::FunctionRef<void(void* const*)> together) {
    Meet(&OwnWarp(), mine, together);
  }
  void WithWarpgroup(void* mine, absl::FunctionRef<void(void* const*)> together) {
    Meet(&warpgroups_[static_cast<size_t>(current_ / kWarpgroup)], mine, together);
  }
  void SyncThreads(int threads) {
    char* const barrier = &some_barrier_[some_barriers_ % 2];
    Release(barrier);
    if (++at_some_barrier_ < threads) {
      Wait(&some_barriers_);
    } else {
      at_some_barrier_ = 0;
      ++some_barriers_;
    }
    Acquire(barrier);
  }

  Emulator::Order order() const { return order_; }
  void InitBarrier(uint64_t* at, int arrivals) {
    StoreBarrier(at, {.arrivals = static_cast<uint8_t>(arrivals),
                      .missing = static_cast<uint8_t>(arrivals)});
  }
  void Arrive(uint64_t* at) {
    Release(at);
    MemoryBarrier barrier = LoadBarrier(at);
    --barrier.missing;
    EndPhase(at, barrier);
  }
  void CopyAndArrive(void* to, const void* from, int bytes, uint64_t* at) {
    if (reinterpret_cast<uintptr_t>(to) % 16 != 0 || reinterpret_cast<uintptr_t>(from) % 16 != 0 ||
        bytes % 16 != 0) {
      std::fprintf(stderr, "emulator: a copy is not aligned\n");
      std::abort();
    }
    Release(at);
    MemoryBarrier barrier = LoadBarrier(at);
    --barrier.missing;
    barrier.bytes += bytes;
    StoreBarrier(at, barrier);
    AddCopy({to, from, bytes, at});
    if (order_ == Emulator::Order::kDescending) RunCopies(at);
  }
  void WaitForPhase(uint64_t* at, uint32_t parity) {
    while (LoadBarrier(at).phase == parity) {
      RunCopies(at);
      if (LoadBarrier(at).phase == parity) Wait(&changes_);
    }
    Acquire(at);
    AsProducts([at] { Acquire(at); });
  }

  // As if products were a thread of their own.
  void PublishToProducts() { Release(&published_); }
  void ReadByProducts(const void* from) {
    AsProducts([this, from] {
      Acquire(&published_);
      Read16(from);
    });
  }
  void ProductsAreDone() {
    AsProducts([this] { Release(&done_); });
    Acquire(&done_);
  }

 private:
  struct alignas(16) Quad {
    uint32_t words[4];
  };
  struct Fiber {
    ucontext_t context;
    jmp_buf place;  // where it goes on, once it has begun
    bool begun = false;
    // It goes on once the counter is no longer at this.
    const int64_t* counter = nullptr;
    int64_t seen = 0;
    bool done = false;
    void* fake_stack = nullptr;
    void* thread = nullptr;  // as ThreadSanitizer knows it
  };
  // Threads that do something together.
  template <int kLanes>
  struct Group {
    void* lanes[kLanes];
    int arrived = 0;
    int64_t meetings = 0;
    char barrier[2] = {};
  };
  using Warp = Group<kWarp>;
  // What lies in memory of a barrier: it is in its phase until nothing is missing any more.
  struct MemoryBarrier {
    uint8_t phase = 0;  // its parity
    uint8_t arrivals = 0;
    uint8_t missing = 0;
    uint8_t unused = 0;
    int32_t bytes = 0;  // missing
  };
  static_assert(sizeof(MemoryBarrier) == sizeof(uint64_t));
  struct Copy {
    void* to;
    const void* from;
    int bytes;
    uint64_t* barrier;
  };
  Warp& OwnWarp() { return warps_[static_cast<size_t>(current_ / kWarp)]; }

  template <int kLanes>
  void Meet(Group<kLanes>* group, void* mine, absl::FunctionRef<void(void* const*)> together) {
    group->lanes[current_ % kLanes] = mine;
    if (++group->arrived < kLanes) return Wait(&group->meetings);
    const Unwatched unwatched;  // the exchange is the instruction's own
    together(group->lanes);
    group->arrived = 0;
    ++group->meetings;
  }

  static MemoryBarrier LoadBarrier(const uint64_t* at) {
    MemoryBarrier barrier;
    std::memcpy(&barrier, at, sizeof(barrier));
    return barrier;
  }
  static void StoreBarrier(uint64_t* at, const MemoryBarrier& barrier) {
    std::memcpy(at, &barrier, sizeof(barrier));
  }
  void EndPhase(uint64_t* at, MemoryBarrier barrier) {
    if (barrier.missing == 0 && barrier.bytes == 0) {
      barrier.phase ^= 1;
      barrier.missing = barrier.arrivals;
      ++changes_;
    }
    StoreBarrier(at, barrier);
  }
  void AddCopy(const Copy& copy) {
    const Unwatched unwatched;
    copies_.push_back(copy);
    ++changes_;  // whoever waits may do it
  }
  Copy TakeCopy(size_t i) {
    const Unwatched unwatched;
    const Copy copy = copies_[i];
    copies_.erase(copies_.begin() + static_cast<ptrdiff_t>(i));
    return copy;
  }
  // Does the copies that are to arrive at a barrier.
  void RunCopies(uint64_t* at) {
    for (size_t i = 0; i < copies_.size();) {
      if (copies_[i].barrier != at) {
        ++i;
        continue;
      }
      const Copy copy = TakeCopy(i);
      Acquire(at);  // it comes after what was before it was asked for
      std::memcpy(copy.to, copy.from, static_cast<size_t>(copy.bytes));
      Release(at);
      MemoryBarrier barrier = LoadBarrier(at);
      barrier.bytes -= copy.bytes;
      EndPhase(at, barrier);
    }
  }

  void AsProducts(absl::FunctionRef<void()> what) {
    BeThread(products_);
    what();
    BeThread(fibers_[static_cast<size_t>(current_)].thread);
  }

  static void Begin();
  void Wait(const int64_t* counter);
  void SwitchTo(Fiber& fiber);
  void SwitchBack(Fiber& fiber, bool ends);

  const Emulator::Order order_;
  const absl::FunctionRef<void()> kernel_;
  std::vector<Fiber> fibers_;
  std::vector<Warp> warps_;
  std::vector<Group<kWarpgroup>> warpgroups_;
  const std::unique_ptr<unsigned char[]> stacks_;
  std::vector<Quad> shared_;
  ucontext_t scheduler_;
  jmp_buf scheduler_place_;
  void* const scheduler_thread_ = CurrentThread();
  [[maybe_unused]] void* scheduler_fake_stack_ = nullptr;
  [[maybe_unused]] const void* scheduler_stack_ = nullptr;
  [[maybe_unused]] size_t scheduler_stack_bytes_ = 0;
  int current_ = 0;
  int x_ = 0, y_ = 0;
  int at_barrier_ = 0;
  int64_t barriers_ = 0;
  char barrier_[2] = {};
  int at_some_barrier_ = 0;  // SyncThreads()
  int64_t some_barriers_ = 0;
  char some_barrier_[2] = {};
  int64_t changes_ = 0;  // of what barriers in memory wait for
  std::vector<Copy> copies_;
  void* products_ = nullptr;  // as ThreadSanitizer knows them
  char published_ = 0, done_ = 0;
  char* const end_;
};

thread_local Block* running = nullptr;

void Block::Begin() {
  Block& block = *running;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &block.scheduler_stack_, &block.scheduler_stack_bytes_);
#endif
  block.kernel_();
  Fiber& fiber = block.fibers_[static_cast<size_t>(block.current_)];
  fiber.done = true;
  Release(block.end_);
  block.SwitchBack(fiber, /*ends=*/true);
}

void Block::SwitchTo(Fiber& fiber) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&scheduler_fake_stack_, fiber.context.uc_stack.ss_sp, kStackBytes);
#endif
  BeThread(fiber.thread);
  if constexpr (kSwapsContexts) {
    swapcontext(&scheduler_, &fiber.context);
  } else if (_setjmp(scheduler_place_) == 0) {
    if (std::exchange(fiber.begun, true)) _longjmp(fiber.place, 1);
    setcontext(&fiber.context);
  }
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(scheduler_fake_stack_, nullptr, nullptr);
#endif
}

void Block::SwitchBack(Fiber& fiber, [[maybe_unused]] bool ends) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(ends ? nullptr : &fiber.fake_stack, scheduler_stack_,
                                 scheduler_stack_bytes_);
#endif
  BeThread(scheduler_thread_);
  if constexpr (kSwapsContexts) {
    swapcontext(&fiber.context, &scheduler_);
  } else if (_setjmp(fiber.place) == 0) {
    _longjmp(scheduler_place_, 1);
  }
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fiber.fake_stack, &scheduler_stack_, &scheduler_stack_bytes_);
#endif
}

void Block::Wait(const int64_t* counter) {
  Fiber& fiber = fibers_[static_cast<size_t>(current_)];
  fiber.counter = counter;
  fiber.seen = *counter;
  SwitchBack(fiber, /*ends=*/false);
}

void Block::Run(int x, int y) {
  x_ = x;
  y_ = y;
  std::memset(shared_.data(), 0xff, shared_.size() * sizeof(Quad));
  const int threads = static_cast<int>(fibers_.size());
  for (int t = 0; t < threads; ++t) {
    Fiber& fiber = fibers_[static_cast<size_t>(t)];
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stacks_.get() + static_cast<size_t>(t) * kStackBytes;
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    fiber.counter = nullptr;
    fiber.done = fiber.begun = false;
    fiber.thread = NewThread();
    makecontext(&fiber.context, &Block::Begin, 0);
  }
  products_ = NewThread();
  int left = threads;
  at_barrier_ = at_some_barrier_ = 0;
  copies_.clear();
  while (left > 0) {
    bool moved = false;
    for (int i = 0; i < threads; ++i) {
      const int t = order_ == Emulator::Order::kAscending ? i : threads - 1 - i;
      Fiber& fiber = fibers_[static_cast<size_t>(t)];
      if (fiber.done || (fiber.counter != nullptr && *fiber.counter == fiber.seen)) continue;
      current_ = t;
      SwitchTo(fiber);
      moved = true;
      if (fiber.done) --left;
    }
    if (at_barrier_ == left && left > 0) {
      at_barrier_ = 0;
      ++barriers_;
    } else if (!moved) {
      std::fprintf(stderr, "emulator: threads of a block wait for each other in vain\n");
      std::abort();
    }
  }
}

}  // namespace

void Emulator::Launch(int blocks_x, int blocks_y, int threads, size_t shared_bytes, Order order,
                      absl::FunctionRef<void()> kernel) {
  // Half of the threads that ThreadSanitizer knows at once.
  const size_t known_blocks = size_t{4096} / static_cast<size_t>(threads);
  char end = 0;
  std::vector<std::unique_ptr<Block>> blocks;
  for (int y = 0; y < blocks_y; ++y) {
    for (int x = 0; x < blocks_x; ++x) {
      // One serves all of them, but where they are watched: for ThreadSanitizer they run at the
      // same time, and hence in memory of their own.
      if (kWatched || blocks.empty()) {
        blocks.push_back(std::make_unique<Block>(threads, shared_bytes, order, kernel, &end));
      }
      if (blocks.size() > known_blocks) blocks[blocks.size() - 1 - known_blocks]->DeleteThreads();
      running = blocks.back().get();
      running->Run(x, y);
    }
  }
  Acquire(&end);
  running = nullptr;
}

Emulator::Order Emulator::order() { return running->order(); }
int Emulator::thread() { return running->thread(); }
int Emulator::block_x() { return running->x(); }
int Emulator::block_y() { return running->y(); }
unsigned char* Emulator::shared_memory() { return running->shared(); }
void Emulator::SyncBlock() { running->SyncBlock(); }
void Emulator::SyncWarp() { running->SyncWarp(); }
void Emulator::WithWarp(void* mine, absl::FunctionRef<void(void* const* lanes)> together) {
  running->WithWarp(mine, together);
}

void Emulator::WithWarpgroup(void* mine, absl::FunctionRef<void(void* const* lanes)> together) {
  running->WithWarpgroup(mine, together);
}
void Emulator::SyncThreads(int threads) { running->SyncThreads(threads); }
void Emulator::InitBarrier(uint64_t* barrier, int arrivals) {
  running->InitBarrier(barrier, arrivals);
}
void Emulator::Arrive(uint64_t* barrier) { running->Arrive(barrier); }
void Emulator::WaitForPhase(uint64_t* barrier, uint32_t parity) {
  running->WaitForPhase(barrier, parity);
}
void Emulator::CopyAndArrive(void* to, const void* from, int bytes, uint64_t* barrier) {
  running->CopyAndArrive(to, from, bytes, barrier);
}

void Emulator::PublishToProducts() { running->PublishToProducts(); }
void Emulator::ReadByProducts(const void* from) { running->ReadByProducts(from); }
void Emulator::ProductsAreDone() { running->ProductsAreDone(); }

}  // namespace dime::cuda
