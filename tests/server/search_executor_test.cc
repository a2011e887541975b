#include "server/search_executor.h"

#include <memory>
#include <utility>

#include "gtest/gtest.h"
#include "server/serving_revision.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"

namespace dime {
namespace {

class SearchExecutorTest : public ::testing::Test {
 protected:
  SearchExecutorTest() {
    auto revision =
        ServingRevision::Create({.model = std::make_unique<FakeModel>(),
                                 .gallery = std::make_unique<FakeGallery>(FakeGallery::Contents{
                                     .num_images = 40, .captions = FakeCaptions(5)})},
                                {}, {.metrics = &metrics_, .live_calls = &live_calls_});
    EXPECT_TRUE(revision.ok()) << revision.status();
    revision_ = *std::move(revision);
  }
  int64_t admitted() const {
    Metrics::State state;
    revision_->Observe(state);
    return state.evaluations;
  }

  const FakeGallery gallery_{{.num_images = 1, .captions = FakeCaptions(1)}};
  Metrics metrics_{"1", FakeModel().info(), *gallery_.Pin()};
  LiveCalls live_calls_;
  std::unique_ptr<ServingRevision> revision_;
};

// A caller that sends its next search on the answer must not find the former in its way, whoever
// still holds that.
TEST_F(SearchExecutorTest, ASearchCountsAsAdmittedUntilItsAnswerIsThere) {
  v1::SearchImagesRequest request;
  request.set_text("red star");
  const auto search =
      revision_->executor().Prepare(request, revision_->gallery().Pin(), {.client = "a"});
  ASSERT_TRUE(search.ok()) << search.status();
  EXPECT_GT(admitted(), 0);
  const auto answer = revision_->executor().SearchImages(**search, CallContext());
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_GT(answer->response.hits_size(), 0);
  EXPECT_EQ(admitted(), 0);
}

}  // namespace
}  // namespace dime
