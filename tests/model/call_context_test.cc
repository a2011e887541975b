#include "model/call_context.h"

#include <atomic>

#include "gtest/gtest.h"

namespace dime {
namespace {

TEST(CallContextTest, ADeadlineThatHasPassedAndACallerWhoHasGoneAreTold) {
  EXPECT_TRUE(CallContext().Check().ok());
  EXPECT_TRUE(absl::IsDeadlineExceeded(CallContext(absl::Now() - absl::Seconds(1)).Check()));
  CallContext context(absl::InfiniteFuture());
  context.Cancel();
  EXPECT_TRUE(absl::IsCancelled(context.Check()));
}

TEST(CallContextTest, ItAsksWhetherTheCallerHasGone) {
  std::atomic<bool> gone{false};
  const CallContext context(absl::InfiniteFuture(), Priority::kInteractive,
                            [&gone] { return gone.load(); });
  const CallContext part(context, absl::InfiniteFuture(), Priority::kBulk);
  EXPECT_TRUE(part.Check().ok());
  gone = true;
  EXPECT_TRUE(absl::IsCancelled(context.Check()));
  EXPECT_TRUE(absl::IsCancelled(part.Check()));
}

TEST(CallContextTest, APartEndsWithTheWholeOrBefore) {
  const absl::Time now = absl::Now();
  CallContext whole(now + absl::Hours(1));
  const CallContext part(whole, now - absl::Seconds(1), Priority::kBulk);
  EXPECT_TRUE(absl::IsDeadlineExceeded(part.Check()));
  EXPECT_TRUE(whole.Check().ok());
  EXPECT_EQ(CallContext(whole, absl::InfiniteFuture(), Priority::kBulk).deadline(),
            whole.deadline());
  whole.Cancel();
  EXPECT_TRUE(absl::IsCancelled(part.Check()));
}

}  // namespace
}  // namespace dime
