#include "index/item_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "index/status_macros.h"
#include "tests/index/file_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::_;
using testing::ElementsAre;
using testing::Eq;
using testing::Optional;
using testing::Pair;

constexpr auto kRecord = ItemStore::Part::kRecord;
constexpr auto kCoarse = ItemStore::Part::kCoarse;

class ItemStoreTest : public testing::Test {
 protected:
  ItemStoreTest() { Reopen(/*create=*/true); }
  void Reopen(bool create) {
    store_ = nullptr;
    auto store = ItemStore::Open(directory_, create);
    ASSERT_THAT(store, IsOk());
    store_ = *std::move(store);
  }
  // An item written in `row`, in place of the one in `old_row`.
  static ItemStore::Change Put(Modality modality, std::string id, int64_t row,
                               std::optional<int64_t> old_row = std::nullopt) {
    ItemStore::Change change{.modality = modality, .id = id, .row = row, .old_row = old_row};
    change.parts[static_cast<size_t>(kRecord)] = "record of " + id + std::to_string(row);
    change.parts[static_cast<size_t>(kCoarse)] = "coarse " + std::to_string(row);
    return change;
  }
  static ItemStore::Change Remove(Modality modality, std::string id, int64_t old_row) {
    return {.modality = modality, .id = std::move(id), .old_row = old_row, .removal = true};
  }
  absl::Status Write(std::vector<ItemStore::Change> changes) {
    state_.sequence += static_cast<int64_t>(changes.size());
    return store_->Write(changes, state_);
  }
  std::optional<int64_t> RowOf(Modality modality, const std::string& id,
                               const ItemStore::Snapshot* snapshot = nullptr) {
    const auto row = store_->FindRow(snapshot, modality, id);
    EXPECT_THAT(row, IsOk());
    return *row;
  }

  absl::StatusOr<std::vector<std::string>> ReadAll(const ItemStore::Snapshot* snapshot,
                                                   ItemStore::Part part, Modality modality,
                                                   const std::vector<int64_t>& rows) {
    std::vector<std::string> values;
    RETURN_IF_ERROR(
        store_->Read(snapshot, part, modality, rows, [&](size_t i, absl::string_view value) {
          EXPECT_EQ(i, values.size());
          values.emplace_back(value);
          return absl::OkStatus();
        }));
    return values;
  }

  const std::string directory_ = FreshDirectory() + "/store";
  std::unique_ptr<ItemStore> store_;
  ItemStore::State state_;
};

TEST_F(ItemStoreTest, WhatWasWrittenIsThereAfterOpeningAgain) {
  state_.items = {1, 1};
  state_.digests = {7, 9};
  ASSERT_THAT(Write({Put(Modality::kImage, "a", 1), Put(Modality::kCaption, "a", 2)}), IsOk());
  Reopen(/*create=*/false);
  // One id, two modalities, two items.
  EXPECT_THAT(RowOf(Modality::kImage, "a"), Optional(1));
  EXPECT_THAT(RowOf(Modality::kCaption, "a"), Optional(2));
  EXPECT_EQ(RowOf(Modality::kImage, "b"), std::nullopt);
  ASSERT_OK_AND_ASSIGN(const ItemStore::State state, store_->ReadState(nullptr));
  EXPECT_EQ(state, state_);
  ASSERT_OK_AND_ASSIGN(const auto records, ReadAll(nullptr, kRecord, Modality::kCaption, {2}));
  EXPECT_THAT(records, ElementsAre("record of a2"));
}

TEST_F(ItemStoreTest, ANewVersionTakesTheOldOnesPlace) {
  ASSERT_THAT(Write({Put(Modality::kImage, "a", 1)}), IsOk());
  ASSERT_THAT(Write({Put(Modality::kImage, "a", 2, 1)}), IsOk());
  EXPECT_THAT(RowOf(Modality::kImage, "a"), Optional(2));
  EXPECT_THAT(ReadAll(nullptr, kRecord, Modality::kImage, {1}),
              StatusIs(absl::StatusCode::kNotFound, _));
  ASSERT_THAT(Write({Remove(Modality::kImage, "a", 2)}), IsOk());
  EXPECT_EQ(RowOf(Modality::kImage, "a"), std::nullopt);
  EXPECT_THAT(ReadAll(nullptr, kCoarse, Modality::kImage, {2}),
              StatusIs(absl::StatusCode::kNotFound, _));
}

TEST_F(ItemStoreTest, ASnapshotSeesNothingOfWhatComesLater) {
  ASSERT_THAT(Write({Put(Modality::kImage, "a", 1), Put(Modality::kImage, "b", 2)}), IsOk());
  const auto snapshot = store_->TakeSnapshot();
  ASSERT_THAT(Write({Put(Modality::kImage, "a", 3, 1), Remove(Modality::kImage, "b", 2)}), IsOk());
  EXPECT_THAT(RowOf(Modality::kImage, "a", snapshot.get()), Optional(1));
  EXPECT_THAT(RowOf(Modality::kImage, "b", snapshot.get()), Optional(2));
  ASSERT_OK_AND_ASSIGN(const auto records,
                       ReadAll(snapshot.get(), kRecord, Modality::kImage, {2, 1, 2}));
  EXPECT_THAT(records, ElementsAre("record of b2", "record of a1", "record of b2"));
  ASSERT_OK_AND_ASSIGN(const ItemStore::State state, store_->ReadState(snapshot.get()));
  EXPECT_EQ(state.sequence, 2);
}

TEST_F(ItemStoreTest, IdsComeInOrderAndRowsInStretches) {
  ASSERT_THAT(Write({Put(Modality::kImage, "b", 1), Put(Modality::kImage, "a", 2),
                     Put(Modality::kImage, "ab", 3), Put(Modality::kCaption, "z", 4)}),
              IsOk());
  ASSERT_OK_AND_ASSIGN(auto ids, store_->ListIds(nullptr, Modality::kImage, "", 2));
  EXPECT_THAT(ids, ElementsAre("a", "ab"));
  ASSERT_OK_AND_ASSIGN(ids, store_->ListIds(nullptr, Modality::kImage, "ab", 10));
  EXPECT_THAT(ids, ElementsAre("b"));
  std::vector<std::pair<std::string, int64_t>> seen;
  ASSERT_THAT(store_->ScanIds(nullptr, Modality::kImage,
                              [&](absl::string_view id, int64_t row) {
                                seen.emplace_back(std::string(id), row);
                              }),
              IsOk());
  EXPECT_THAT(seen, ElementsAre(Pair("a", 2), Pair("ab", 3), Pair("b", 1)));
  std::vector<int64_t> rows;
  ASSERT_THAT(store_->Scan(nullptr, kCoarse, Modality::kImage, 2, 9,
                           [&](int64_t row, absl::string_view value) {
                             rows.push_back(row);
                             EXPECT_EQ(std::string(value), "coarse " + std::to_string(row));
                             return absl::OkStatus();
                           }),
              IsOk());
  EXPECT_THAT(rows, ElementsAre(2, 3));
  EXPECT_THAT(
      store_->Scan(nullptr, kCoarse, Modality::kImage, 1, 9,
                   [](int64_t, absl::string_view) { return absl::CancelledError("enough"); }),
      StatusIs(absl::StatusCode::kCancelled, Eq("enough")));
}

TEST_F(ItemStoreTest, ACheckpointIsAStoreOfItsOwn) {
  ASSERT_THAT(Write({Put(Modality::kImage, "a", 1)}), IsOk());
  const std::string copy = directory_ + "-copy";
  ASSERT_THAT(store_->Checkpoint(copy), IsOk());
  ASSERT_THAT(Write({Remove(Modality::kImage, "a", 1)}), IsOk());
  ASSERT_OK_AND_ASSIGN(const auto other, ItemStore::Open(copy, /*create=*/false));
  ASSERT_OK_AND_ASSIGN(const auto row, other->FindRow(nullptr, Modality::kImage, "a"));
  EXPECT_THAT(row, Optional(1));
}

TEST_F(ItemStoreTest, WhatIsNotThereIsNotMade) {
  const std::string absent = directory_ + "-absent";
  EXPECT_THAT(ItemStore::Open(absent, /*create=*/false),
              StatusIs(absl::StatusCode::kNotFound, testing::HasSubstr(absent)));
  EXPECT_FALSE(Exists(absent));
  store_ = nullptr;
  ASSERT_TRUE(std::filesystem::remove(directory_ + "/CURRENT"));
  EXPECT_THAT(ItemStore::Open(directory_, /*create=*/false),
              StatusIs(absl::StatusCode::kDataLoss, testing::HasSubstr("CURRENT")));
}

}  // namespace
}  // namespace dime
