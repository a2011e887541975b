#include "model/cuda/emulator.h"

#include <ucontext.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace dime::cuda {
namespace {

constexpr int kWarp = 32;
constexpr size_t kStackBytes = size_t{64} << 10;

// One block's threads.
class Block {
 public:
  Block(int threads, size_t shared_bytes, Emulator::Order order, absl::FunctionRef<void()> kernel)
      : order_(order),
        kernel_(kernel),
        fibers_(static_cast<size_t>(threads)),
        warps_(static_cast<size_t>(threads / kWarp)),
        stacks_(new unsigned char[static_cast<size_t>(threads) * kStackBytes]),
        shared_((shared_bytes + 15) / 16 * 16 / sizeof(Quad) + 1) {}

  void Run(int x, int y);

  int thread() const { return current_; }
  int x() const { return x_; }
  int y() const { return y_; }
  unsigned char* shared() { return reinterpret_cast<unsigned char*>(shared_.data()); }

  void SyncBlock() {
    ++at_barrier_;
    Wait(&barriers_);
  }
  void WithWarp(void* mine, absl::FunctionRef<void(void* const*)> together) {
    Warp& warp = warps_[static_cast<size_t>(current_ / kWarp)];
    warp.lanes[current_ % kWarp] = mine;
    if (++warp.arrived < kWarp) return Wait(&warp.meetings);
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
  };
  struct Warp {
    void* lanes[kWarp];
    int arrived = 0;
    int64_t meetings = 0;
  };

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
  [[maybe_unused]] void* scheduler_fake_stack_ = nullptr;
  [[maybe_unused]] const void* scheduler_stack_ = nullptr;
  [[maybe_unused]] size_t scheduler_stack_bytes_ = 0;
  int current_ = 0;
  int x_ = 0, y_ = 0;
  int at_barrier_ = 0;
  int64_t barriers_ = 0;
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
  block.SwitchBack(fiber, /*ends=*/true);
}

void Block::SwitchTo(Fiber& fiber) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&scheduler_fake_stack_, fiber.context.uc_stack.ss_sp, kStackBytes);
#endif
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
  Block block(threads, shared_bytes, order, kernel);
  running = &block;
  for (int y = 0; y < blocks_y; ++y) {
    for (int x = 0; x < blocks_x; ++x) block.Run(x, y);
  }
  running = nullptr;
}

int Emulator::thread() { return running->thread(); }
int Emulator::block_x() { return running->x(); }
int Emulator::block_y() { return running->y(); }
unsigned char* Emulator::shared_memory() { return running->shared(); }
void Emulator::SyncBlock() { running->SyncBlock(); }
void Emulator::WithWarp(void* mine, absl::FunctionRef<void(void* const* lanes)> together) {
  running->WithWarp(mine, together);
}

}  // namespace dime::cuda
