#include "client/search_flags.h"

#include <string>

#include "CLI/CLI.hpp"
#include "gtest/gtest.h"

namespace dime {
namespace {

v1::SearchOptions Parse(const std::string& arguments) {
  SearchFlags flags;
  CLI::App app;
  flags.Define(&app);
  app.parse(arguments);
  return flags.ToOptions();
}

TEST(SearchFlagsTest, WhatIsNotGivenIsLeftToTheServer) {
  EXPECT_EQ(Parse("").SerializeAsString(), "");
}

TEST(SearchFlagsTest, ZeroIsGivenToo) {
  const v1::SearchOptions options = Parse("--top-k 0 --fusion-weight 0 --min-coarse-score 0");
  EXPECT_TRUE(options.has_top_k());
  EXPECT_TRUE(options.has_fusion_weight());
  EXPECT_TRUE(options.has_min_coarse_score());
  EXPECT_FALSE(options.has_min_final_score());
}

TEST(SearchFlagsTest, LoadIsToldInWords) {
  const v1::SearchOptions options = Parse("--bulk --coarse-on-error --min-rerank-depth 20");
  EXPECT_EQ(options.priority(), v1::PRIORITY_BULK);
  EXPECT_EQ(options.on_rerank_error(), v1::ON_RERANK_ERROR_COARSE_ORDER);
  EXPECT_EQ(options.min_rerank_depth(), 20);
}

TEST(SearchFlagsTest, AFurtherPageIsOfAPagedSearch) {
  EXPECT_TRUE(Parse("--page-token abc").paged());
  EXPECT_THROW(Parse("--group-size 2"), CLI::RequiresError);
}

}  // namespace
}  // namespace dime
