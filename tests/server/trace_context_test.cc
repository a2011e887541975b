#include "server/trace_context.h"

#include <set>
#include <string>

#include "gtest/gtest.h"

namespace dime {
namespace {

constexpr char kTraceId[] = "0af7651916cd43dd8448eb211c80319c";
constexpr char kSpanId[] = "b7ad6b7169203331";
constexpr char kHeader[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

TEST(TraceContextTest, ReadsTheStandardsOwnExample) {
  const auto context = ParseTraceParent(kHeader);
  ASSERT_TRUE(context.has_value());
  EXPECT_EQ(context->trace_id, kTraceId);
  EXPECT_EQ(context->span_id, kSpanId);
  EXPECT_TRUE(context->sampled);
  EXPECT_EQ(FormatTraceParent(*context), kHeader);
}

TEST(TraceContextTest, TakesOfLaterVersionsWhatItKnows) {
  EXPECT_TRUE(ParseTraceParent("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what"));
  EXPECT_FALSE(ParseTraceParent("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.what"));
  // Further flags than the one for sampling.
  EXPECT_FALSE(
      ParseTraceParent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-fe")->sampled);
}

TEST(TraceContextTest, IgnoresWhatIsMalformed) {
  for (const char* header : {
           "",
           "00",
           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what",
           "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
           "00-00000000000000000000000000000000-b7ad6b7169203331-01",
           "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
           "00-0af7651916cd43dd8448eb211c80319cb-7ad6b7169203331-01",
           "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
           "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
       }) {
    EXPECT_FALSE(ParseTraceParent(header).has_value()) << header;
  }
}

TEST(TraceContextTest, ASpanIsBelowItsCallersAndSampledAsItIs) {
  const TraceContext span = StartSpan(kHeader, 0);
  EXPECT_EQ(span.trace_id, kTraceId);
  EXPECT_EQ(span.parent_span_id, kSpanId);
  EXPECT_NE(span.span_id, kSpanId);
  EXPECT_TRUE(span.sampled);
  EXPECT_FALSE(StartSpan("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", 1).sampled);
}

TEST(TraceContextTest, WithoutACallerATraceBegins) {
  std::set<std::string> ids;
  for (int i = 0; i < 100; ++i) {
    const TraceContext root = StartSpan("nonsense", 1);
    EXPECT_TRUE(ParseTraceParent(FormatTraceParent(root)).has_value()) << root.trace_id;
    EXPECT_EQ(root.parent_span_id, "");
    EXPECT_TRUE(root.sampled);
    ids.insert(root.trace_id);
    ids.insert(root.span_id);
  }
  EXPECT_EQ(ids.size(), 200u);
  EXPECT_FALSE(StartSpan("", 0).sampled);
}

TEST(TraceContextTest, ASpanBelowAnotherIsInItsTrace) {
  const TraceContext parent = StartSpan("", 1);
  const TraceContext below = SpanBelow(parent);
  EXPECT_EQ(below.trace_id, parent.trace_id);
  EXPECT_EQ(below.parent_span_id, parent.span_id);
  EXPECT_EQ(below.span_id.size(), 16u);
  EXPECT_NE(below.span_id, parent.span_id);
  EXPECT_TRUE(below.sampled);
  EXPECT_FALSE(SpanBelow(StartSpan("", 0)).sampled);
}

}  // namespace
}  // namespace dime
