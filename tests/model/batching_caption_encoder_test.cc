#include "model/batching_caption_encoder.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_model.h"
#include "tests/fakes/gate.h"

namespace dime {
namespace {

using ::testing::ElementsAre;

// Its first call stops at a gate.
class GatedEncoder : public FakeCaptionEncoder {
 public:
  absl::StatusOr<EncodedItems> EncodeCaptions(
      absl::Span<const std::string> captions) const override {
    if (calls++ == 0) gate.Pass();
    for (const std::string& caption : captions) {
      if (caption == "bad") return absl::InvalidArgumentError("bad");
    }
    return FakeCaptionEncoder::EncodeCaptions(captions);
  }

  mutable std::atomic<int> calls{0};
  mutable Gate gate;
};

class BatchingCaptionEncoderTest : public ::testing::Test {
 protected:
  void Create(int max_batch) {
    encoder_ = std::make_unique<BatchingCaptionEncoder>(
        &inner_,
        BatchingCaptionEncoder::Options{.max_batch = max_batch,
                                        .on_batch = [this](int size) { sizes_.push_back(size); }});
  }
  // In a thread of its own; the answer into `answers_` at `place`.
  void Start(size_t place, const std::string& text) {
    texts_[place] = text;
    threads_.emplace_back([this, place] {
      ++started_;
      answers_[place] = encoder_->EncodeCaptions(absl::MakeConstSpan(&texts_[place], 1));
    });
  }
  // Waits until the threads can only be waiting for the call at the gate.
  void AwaitStarted(int count) {
    while (started_ < count) std::this_thread::yield();
  }
  void Finish() {
    inner_.gate.Open();
    for (std::thread& thread : threads_) thread.join();
  }

  GatedEncoder inner_;
  std::vector<int> sizes_;  // written by whoever encodes, one at a time
  std::atomic<int> started_{0};
  std::vector<std::string> texts_ = std::vector<std::string>(8);
  std::vector<absl::StatusOr<EncodedItems>> answers_ =
      std::vector<absl::StatusOr<EncodedItems>>(8, absl::UnknownError("none"));
  std::vector<std::thread> threads_;
  std::unique_ptr<BatchingCaptionEncoder> encoder_;
};

TEST_F(BatchingCaptionEncoderTest, EachGetsItsOwnAnswer) {
  Create(3);
  Start(0, "red star");
  inner_.gate.AwaitArrivals(1);
  for (size_t k = 1; k < 8; ++k) Start(k, "text " + std::to_string(k));
  AwaitStarted(8);
  Finish();
  for (size_t k = 0; k < 8; ++k) {
    ASSERT_TRUE(answers_[k].ok()) << answers_[k].status();
    const EncodedItems expected =
        *FakeCaptionEncoder().EncodeCaptions(absl::MakeConstSpan(&texts_[k], 1));
    EXPECT_EQ(answers_[k]->count, 1);
    EXPECT_EQ(answers_[k]->lengths, expected.lengths);
    EXPECT_EQ(answers_[k]->coarse, expected.coarse);
    EXPECT_EQ(answers_[k]->directions[0].local, expected.directions[0].local);
  }
  int sum = 0;
  for (const int size : sizes_) {
    EXPECT_LE(size, 3);
    sum += size;
  }
  EXPECT_EQ(sum, 8);
  EXPECT_EQ(sizes_.front(), 1);
}

TEST_F(BatchingCaptionEncoderTest, OneBadCaptionCostsOneAnswer) {
  Create(8);
  Start(0, "red star");
  inner_.gate.AwaitArrivals(1);
  Start(1, "bad");
  Start(2, "blue");
  AwaitStarted(3);
  Finish();
  EXPECT_TRUE(answers_[0].ok());
  EXPECT_EQ(answers_[1].status(), absl::InvalidArgumentError("bad"));
  EXPECT_TRUE(answers_[2].ok());
}

TEST_F(BatchingCaptionEncoderTest, SeveralCaptionsPassThrough) {
  Create(2);
  inner_.gate.Open();
  const std::vector<std::string> captions = {"a", "b", "c"};
  EXPECT_EQ(encoder_->EncodeCaptions(captions)->count, 3);
  EXPECT_THAT(sizes_, ElementsAre());
}

}  // namespace
}  // namespace dime
