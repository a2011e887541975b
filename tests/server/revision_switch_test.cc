#include "server/revision_switch.h"

#include <atomic>
#include <memory>
#include <thread>
#include <utility>

#include "gtest/gtest.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"

namespace dime {
namespace {

// Tells of its end.
class CountedModel : public FakeModel {
 public:
  explicit CountedModel(std::atomic<int>* alive) : alive_(alive) { ++*alive_; }
  ~CountedModel() override { --*alive_; }

 private:
  std::atomic<int>* const alive_;
};

class RevisionSwitchTest : public ::testing::Test {
 protected:
  std::unique_ptr<ServingRevision> Make(int images) {
    auto revision =
        ServingRevision::Create({.model = std::make_unique<CountedModel>(&alive_),
                                 .gallery = std::make_unique<FakeGallery>(FakeGallery::Contents{
                                     .num_images = images, .captions = FakeCaptions(5)})},
                                {}, {.metrics = &metrics_, .live_calls = &live_calls_});
    EXPECT_TRUE(revision.ok()) << revision.status();
    return *std::move(revision);
  }
  static int64_t Images(const RevisionSwitch::Lease& lease) {
    return lease->gallery().Pin()->size(Modality::kImage);
  }

  std::atomic<int> alive_{0};
  const FakeGallery gallery_{{.num_images = 1, .captions = FakeCaptions(1)}};
  Metrics metrics_{"1", FakeModel().info(), *gallery_.Pin()};
  LiveCalls live_calls_;
};

TEST_F(RevisionSwitchTest, ALeaseKeepsItsRevision) {
  RevisionSwitch revisions(Make(3));
  RevisionSwitch::Lease lease = revisions.Current();
  revisions.Replace(Make(4));
  EXPECT_EQ(Images(lease), 3);
  EXPECT_EQ(Images(revisions.Current()), 4);
  EXPECT_EQ(alive_, 2);
  lease = nullptr;
  revisions.AwaitReplaced();
  EXPECT_EQ(alive_, 1);
}

TEST_F(RevisionSwitchTest, WhoWaitsDestroysWhatIsFree) {
  RevisionSwitch revisions(Make(3));
  RevisionSwitch::Lease lease = revisions.Current();
  revisions.Replace(Make(4));
  revisions.Replace(Make(5));  // nobody has leased the one in between
  std::thread caller([lease = std::exchange(lease, nullptr)]() mutable { lease = nullptr; });
  revisions.AwaitReplaced();
  EXPECT_EQ(alive_, 1);
  EXPECT_EQ(Images(revisions.Current()), 5);
  caller.join();
}

TEST_F(RevisionSwitchTest, ManyReplacementsUnderLeasesLeaveOne) {
  {
    RevisionSwitch revisions(Make(1));
    std::atomic<bool> stop{false};
    std::thread reader([&] {
      int64_t last = 0;
      while (!stop) {
        const int64_t images = Images(revisions.Current());
        EXPECT_GE(images, last);
        last = images;
      }
    });
    for (int n = 2; n <= 50; ++n) {
      revisions.Replace(Make(n));
      revisions.AwaitReplaced();
      EXPECT_EQ(alive_, 1);
    }
    stop = true;
    reader.join();
  }
  EXPECT_EQ(alive_, 0);
}

}  // namespace
}  // namespace dime
