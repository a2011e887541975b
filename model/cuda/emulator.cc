#include "model/cuda/emulator.h"

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
}
#endif

namespace dime::cuda {
namespace {

constexpr int kWarp = 32;
constexpr size_t kStackBytes = size_t{64} << 10;

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
    Warp& warp = OwnWarp();
    warp.lanes[current_ % kWarp] = mine;
    if (++warp.arrived < kWarp) return Wait(&warp.meetings);
    const Unwatched unwatched;  // the exchange is the instruction's own
    together(warp.lanes);
    warp.arrived = 0;
    ++warp.meetings;
  }

 private:
  struct alignas(16) Quad {
    uint32_t words[4];
  };
  struct Fiber {
    ucontext_t context;
    // It goes on once the counter is no longer at this.
    const int64_t* counter = nullptr;
    int64_t seen = 0;
    bool done = false;
    void* fake_stack = nullptr;
    void* thread = nullptr;  // as ThreadSanitizer knows it
  };
  struct Warp {
    void* lanes[kWarp];
    int arrived = 0;
    int64_t meetings = 0;
    char barrier[2] = {};
  };
  Warp& OwnWarp() { return warps_[static_cast<size_t>(current_ / kWarp)]; }

  static void Begin();
  void Wait(const int64_t* counter);
  void SwitchTo(Fiber& fiber);
  void SwitchBack(Fiber& fiber, bool ends);

  const Emulator::Order order_;
  const absl::FunctionRef<void()> kernel_;
  std::vector<Fiber> fibers_;
  std::vector<Warp> warps_;
  const std::unique_ptr<unsigned char[]> stacks_;
  std::vector<Quad> shared_;
  ucontext_t scheduler_;
  void* const scheduler_thread_ = CurrentThread();
  [[maybe_unused]] void* scheduler_fake_stack_ = nullptr;
  [[maybe_unused]] const void* scheduler_stack_ = nullptr;
  [[maybe_unused]] size_t scheduler_stack_bytes_ = 0;
  int current_ = 0;
  int x_ = 0, y_ = 0;
  int at_barrier_ = 0;
  int64_t barriers_ = 0;
  char barrier_[2] = {};
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
  swapcontext(&scheduler_, &fiber.context);
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
  swapcontext(&fiber.context, &scheduler_);
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
    fiber.done = false;
    fiber.thread = NewThread();
    makecontext(&fiber.context, &Block::Begin, 0);
  }
  int left = threads;
  at_barrier_ = 0;
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
  constexpr size_t kKnownBlocks = 32;  // of 128 threads: half of what ThreadSanitizer knows at once
  char end = 0;
  std::vector<std::unique_ptr<Block>> blocks;
  for (int y = 0; y < blocks_y; ++y) {
    for (int x = 0; x < blocks_x; ++x) {
      // One serves all of them, but where they are watched: for ThreadSanitizer they run at the
      // same time, and hence in memory of their own.
      if (kWatched || blocks.empty()) {
        blocks.push_back(std::make_unique<Block>(threads, shared_bytes, order, kernel, &end));
      }
      if (blocks.size() > kKnownBlocks) blocks[blocks.size() - 1 - kKnownBlocks]->DeleteThreads();
      running = blocks.back().get();
      running->Run(x, y);
    }
  }
  Acquire(&end);
  running = nullptr;
}

int Emulator::thread() { return running->thread(); }
int Emulator::block_x() { return running->x(); }
int Emulator::block_y() { return running->y(); }
unsigned char* Emulator::shared_memory() { return running->shared(); }
void Emulator::SyncBlock() { running->SyncBlock(); }
void Emulator::SyncWarp() { running->SyncWarp(); }
void Emulator::WithWarp(void* mine, absl::FunctionRef<void(void* const* lanes)> together) {
  running->WithWarp(mine, together);
}

}  // namespace dime::cuda
