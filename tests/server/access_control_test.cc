#include "server/access_control.h"

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/error_details.h"
#include "tests/fakes/test_certificates.h"
#include "tests/fakes/test_tokens.h"

namespace dime {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class AccessControlTest : public testing::Test {
 protected:
  ~AccessControlTest() override { std::filesystem::remove(path_); }

  absl::StatusOr<std::unique_ptr<AccessControl>> Open(const std::string& text) {
    ReplaceFile(path_, text);
    return AccessControl::Create(
        {.path = path_,
         .refresh = absl::ZeroDuration(),
         .on_reload = [this](const absl::Status& status) { reloads_.push_back(status); }});
  }

  static absl::StatusCode Try(AccessControl& access, const std::string& authorization,
                              RpcMethod method = RpcMethod::kGetInfo) {
    return access.Authorize({authorization}, method).status().code();
  }

  const std::string path_ = testing::TempDir() + "/" +
                            testing::UnitTest::GetInstance()->current_test_info()->name() +
                            ".tokens";
  std::vector<absl::Status> reloads_;
};

TEST_F(AccessControlTest, EachRoleIncludesTheFormer) {
  const auto access = Open(absl::StrCat(
      "# who may what\n\nread ", HashOfToken("r"), " reader\nwrite\t", HashOfToken("w"),
      "\r\nadmin ", HashOfToken("a"), " boss-1\nmetrics ", HashOfToken("m"), " prometheus\n"));
  ASSERT_TRUE(access.ok()) << access.status();
  const std::string tokens[] = {"m", "r", "w", "a"};
  for (int m = 0; m < kNumRpcMethods; ++m) {
    const auto method = static_cast<RpcMethod>(m);
    for (int role = 0; role < 4; ++role) {
      EXPECT_EQ(Try(**access, "Bearer " + tokens[role], method),
                role >= static_cast<int>(RoleFor(method)) ? absl::StatusCode::kOk
                                                          : absl::StatusCode::kPermissionDenied)
          << RpcMethodName(method) << " " << tokens[role];
    }
  }
  EXPECT_TRUE((*access)->Authorize({"Bearer m"}, Role::kMetrics).ok());
  EXPECT_TRUE((*access)->Authorize({"Bearer r"}, Role::kMetrics).ok());
  EXPECT_EQ(RoleFor(RpcMethod::kSearchImages), Role::kRead);
  EXPECT_EQ(RoleFor(RpcMethod::kListItems), Role::kRead);
  EXPECT_EQ(RoleFor(RpcMethod::kUpsertCaptions), Role::kWrite);
  EXPECT_EQ(RoleFor(RpcMethod::kDeleteItems), Role::kWrite);
  EXPECT_EQ(RoleFor(RpcMethod::kCreateSnapshot), Role::kAdmin);
  EXPECT_EQ(RoleFor(RpcMethod::kListSlowRequests), Role::kAdmin);
  EXPECT_EQ((*access)->Authorize({"bearer r"}, RpcMethod::kGetInfo)->name, "reader");
  EXPECT_EQ((*access)->Authorize({"bearer w"}, RpcMethod::kGetInfo)->name,
            "token-" + HashOfToken("w").substr(0, 8));
}

TEST_F(AccessControlTest, WhateverIsWrongTheWordsAreTheSame) {
  const auto access = Open(absl::StrCat("read ", HashOfToken("secret"), "\n"));
  ASSERT_TRUE(access.ok()) << access.status();
  const absl::Status none = (*access)->Authorize({}, RpcMethod::kGetInfo).status();
  EXPECT_EQ(none.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(ReasonOf(none), v1::ERROR_REASON_CREDENTIALS_INVALID);
  for (const std::string& wrong :
       {std::string(""), std::string("secret"), std::string("Basic secret"), std::string("Bearer "),
        std::string("Bearer secret2"), "Bearer " + HashOfToken("secret"),
        "Bearer " + std::string(9000, 'x')}) {
    EXPECT_EQ((*access)->Authorize({wrong}, RpcMethod::kGetInfo).status(), none) << wrong;
  }
  // A second header could be one that a proxy did not see.
  EXPECT_EQ((*access)->Authorize({"Bearer secret", "Bearer secret"}, RpcMethod::kGetInfo).status(),
            none);
  const absl::Status denied =
      (*access)->Authorize({"Bearer secret"}, RpcMethod::kDeleteItems).status();
  EXPECT_EQ(ReasonOf(denied), v1::ERROR_REASON_ROLE_INSUFFICIENT);
  EXPECT_THAT(std::string(denied.message()), Not(HasSubstr("secret")));
}

TEST_F(AccessControlTest, AWrongFileIsToldByLineAndWithoutItsSecrets) {
  const std::string good = absl::StrCat("read ", HashOfToken("a"), "\n");
  const std::pair<std::string, std::string> wrongs[] = {
      {"read\n", ":2: there must be"},
      {"owner " + HashOfToken("b") + "\n", ":2: the role"},
      {"read plaintext-token\n", ":2: the hash must"},
      {"read " + HashOfToken("b").substr(1) + "\n", ":2: the hash must"},
      {"read " + HashOfToken("b") + " a/b\n", ":2: a name"},
      {"admin " + HashOfToken("a") + "\n", ":2: the hash is there"}};
  for (const auto& [line, told] : wrongs) {
    const absl::Status status = Open(good + line).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << line;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path_ + told)) << line;
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("plaintext-token")));
  }
  EXPECT_EQ(Open("# nobody\n").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(AccessControl::Create({.path = path_ + ".none"}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(AccessControlTest, AChangedFileIsReadAndADamagedOneKeepsTheOldRules) {
  const auto access = Open(absl::StrCat("read ", HashOfToken("old"), "\n"));
  ASSERT_TRUE(access.ok()) << access.status();
  EXPECT_EQ(Try(**access, "Bearer old"), absl::StatusCode::kOk);
  EXPECT_EQ(Try(**access, "Bearer new"), absl::StatusCode::kUnauthenticated);
  EXPECT_TRUE(reloads_.empty());

  ReplaceFile(path_, "no such thing\n");
  EXPECT_EQ(Try(**access, "Bearer old"), absl::StatusCode::kOk);
  ASSERT_EQ(reloads_.size(), 1u);
  EXPECT_FALSE(reloads_[0].ok());
  // Told once for each change.
  EXPECT_EQ(Try(**access, "Bearer old"), absl::StatusCode::kOk);
  EXPECT_EQ(reloads_.size(), 1u);

  ReplaceFile(path_, absl::StrCat("write ", HashOfToken("new"), "\n"));
  EXPECT_EQ(Try(**access, "Bearer new", RpcMethod::kDeleteItems), absl::StatusCode::kOk);
  EXPECT_EQ(Try(**access, "Bearer old"), absl::StatusCode::kUnauthenticated);
  ASSERT_EQ(reloads_.size(), 2u);
  EXPECT_TRUE(reloads_[1].ok());

  std::filesystem::remove(path_);
  EXPECT_EQ(Try(**access, "Bearer new"), absl::StatusCode::kOk);
  ASSERT_EQ(reloads_.size(), 3u);
  EXPECT_FALSE(reloads_[2].ok());
}

}  // namespace
}  // namespace dime
