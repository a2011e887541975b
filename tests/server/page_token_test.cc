#include "server/page_token.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dime {
namespace {

const std::string kWindow = "0123456789abcdef0123456789abcdef";

TEST(PageTokenTest, KeepsWhatASearchNeeds) {
  const std::string text = SearchPageToken{.window = kWindow, .offset = 1234567}.Encode();
  EXPECT_THAT(text, testing::MatchesRegex("[-_A-Za-z0-9]+"));
  const std::optional<SearchPageToken> token = SearchPageToken::Decode(text);
  ASSERT_TRUE(token.has_value());
  EXPECT_EQ(token->window, kWindow);
  EXPECT_EQ(token->offset, 1234567);
}

TEST(PageTokenTest, KeepsWhatAListNeeds) {
  const std::string digest = Digest("request");
  EXPECT_EQ(digest.size(), 32u);
  for (const std::string& id :
       {std::string(""), std::string("a\0b\xff", 4), std::string(512, 'x')}) {
    const std::optional<ListPageToken> token =
        ListPageToken::Decode(ListPageToken{.after_id = id, .request_digest = digest}.Encode());
    ASSERT_TRUE(token.has_value());
    EXPECT_EQ(token->after_id, id);
    EXPECT_EQ(token->request_digest, digest);
  }
}

TEST(PageTokenTest, WhatIsNoTokenIsNoticed) {
  const std::string search = SearchPageToken{.window = kWindow, .offset = 10}.Encode();
  const std::string list = ListPageToken{.after_id = "a", .request_digest = Digest("")}.Encode();
  for (const std::string& text :
       {std::string(), std::string("a"), std::string("!!"), search.substr(1), list,
        search.substr(0, search.size() - 4), search + "AAAA", "A" + search}) {
    EXPECT_FALSE(SearchPageToken::Decode(text).has_value()) << text;
  }
  EXPECT_FALSE(ListPageToken::Decode(search).has_value());
  for (size_t i = 0; i < search.size(); ++i) {
    std::string spoiled = search;
    spoiled[i] = spoiled[i] == 'B' ? 'C' : 'B';
    const auto token = SearchPageToken::Decode(spoiled);
    // The last character may have bits that do not count.
    if (token.has_value()) {
      EXPECT_EQ(i, search.size() - 1);
    }
  }
  EXPECT_FALSE(SearchPageToken::Decode(SearchPageToken{.window = kWindow, .offset = -1}.Encode())
                   .has_value());
}

TEST(PageTokenTest, DigestIsSha256) { EXPECT_EQ(Digest("abc").substr(0, 4), "\xba\x78\x16\xbf"); }

}  // namespace
}  // namespace dime
