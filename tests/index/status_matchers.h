#ifndef DIME_TESTS_INDEX_STATUS_MATCHERS_H_
#define DIME_TESTS_INDEX_STATUS_MATCHERS_H_

#include <gmock/gmock.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dime {

inline constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& status_or) {
  return status_or.status();
}

// Matches a Status or StatusOr by its code and its message.
MATCHER_P2(StatusIs, code, message,
           "has the code " + absl::StatusCodeToString(code) + " and a message that " +
               testing::DescribeMatcher<std::string>(message)) {
  *result_listener << "which is " << StatusOf(arg).ToString();
  return StatusOf(arg).code() == code &&
         testing::ExplainMatchResult(message, std::string(StatusOf(arg).message()),
                                     result_listener);
}

MATCHER(IsOk, "") {
  *result_listener << "which is " << StatusOf(arg).ToString();
  return StatusOf(arg).ok();
}

}  // namespace dime

// Takes the value of a StatusOr, or ends the test.
#define DIME_TEST_CONCAT_INNER(a, b) a##b
#define DIME_TEST_CONCAT(a, b) DIME_TEST_CONCAT_INNER(a, b)
#define ASSERT_OK_AND_ASSIGN(declaration, expression)              \
  auto DIME_TEST_CONCAT(test_status_or_, __LINE__) = (expression); \
  ASSERT_TRUE(DIME_TEST_CONCAT(test_status_or_, __LINE__).ok())    \
      << DIME_TEST_CONCAT(test_status_or_, __LINE__).status();     \
  declaration = *std::move(DIME_TEST_CONCAT(test_status_or_, __LINE__))

#endif  // DIME_TESTS_INDEX_STATUS_MATCHERS_H_
