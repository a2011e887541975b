#include "model/caching_caption_encoder.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/fakes/fake_model.h"

namespace dime {
namespace {

// Counts what reaches it, and fails for one text.
class CountingEncoder : public FakeCaptionEncoder {
 public:
  absl::StatusOr<EncodedItems> EncodeCaptions(
      absl::Span<const std::string> captions) const override {
    ++calls;
    if (captions[0] == "bad") return absl::InvalidArgumentError("bad");
    return FakeCaptionEncoder::EncodeCaptions(captions);
  }
  mutable int calls = 0;
};

absl::StatusOr<EncodedItems> Encode(const CaptionEncoder& encoder, const std::string& text) {
  return encoder.EncodeCaptions(absl::MakeConstSpan(&text, 1));
}

TEST(CachingCaptionEncoderTest, WhatComesAgainIsNotEncodedAgain) {
  const CountingEncoder inner;
  const CachingCaptionEncoder encoder(&inner, 1 << 20);
  for (int n = 0; n < 3; ++n) {
    const auto encoded = Encode(encoder, "red star");
    ASSERT_TRUE(encoded.ok());
    EXPECT_EQ(encoded->coarse, Encode(FakeCaptionEncoder(), "red star")->coarse);
    EXPECT_EQ(encoded->directions[1].local,
              Encode(FakeCaptionEncoder(), "red star")->directions[1].local);
  }
  EXPECT_EQ(inner.calls, 1);
  EXPECT_EQ(encoder.counts().hits, 2);
  EXPECT_EQ(encoder.counts().misses, 1);
}

TEST(CachingCaptionEncoderTest, TheLeastRecentlyUsedGoes) {
  const CountingEncoder inner;
  const CachingCaptionEncoder probe(&inner, 1 << 20);
  ASSERT_TRUE(Encode(probe, "aaa").ok());
  const int64_t one = probe.counts().bytes;
  const CachingCaptionEncoder encoder(&inner, 2 * one);
  inner.calls = 0;
  for (const char* text : {"aaa", "bbb", "aaa", "ccc"}) ASSERT_TRUE(Encode(encoder, text).ok());
  EXPECT_EQ(inner.calls, 3);
  EXPECT_EQ(encoder.counts().bytes, 2 * one);
  ASSERT_TRUE(Encode(encoder, "aaa").ok());
  EXPECT_EQ(inner.calls, 3);
  ASSERT_TRUE(Encode(encoder, "bbb").ok());
  EXPECT_EQ(inner.calls, 4);
}

TEST(CachingCaptionEncoderTest, ErrorsAreNotKept) {
  const CountingEncoder inner;
  const CachingCaptionEncoder encoder(&inner, 1 << 20);
  EXPECT_FALSE(Encode(encoder, "bad").ok());
  EXPECT_FALSE(Encode(encoder, "bad").ok());
  EXPECT_EQ(inner.calls, 2);
  EXPECT_EQ(encoder.counts().bytes, 0);
}

TEST(CachingCaptionEncoderTest, NothingIsKeptWithoutRoom) {
  const CountingEncoder inner;
  for (const int64_t bytes : {0, 10}) {
    const CachingCaptionEncoder encoder(&inner, bytes);
    inner.calls = 0;
    ASSERT_TRUE(Encode(encoder, "aaa").ok());
    ASSERT_TRUE(Encode(encoder, "aaa").ok());
    EXPECT_EQ(inner.calls, 2);
    EXPECT_EQ(encoder.counts().bytes, 0);
  }
}

TEST(CachingCaptionEncoderTest, SeveralCaptionsPassThrough) {
  const CountingEncoder inner;
  const CachingCaptionEncoder encoder(&inner, 1 << 20);
  const std::vector<std::string> captions = {"aaa", "bbb"};
  EXPECT_EQ(encoder.EncodeCaptions(captions)->count, 2);
  EXPECT_EQ(encoder.counts().misses, 0);
}

}  // namespace
}  // namespace dime
