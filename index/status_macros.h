#ifndef DIME_INDEX_STATUS_MACROS_H_
#define DIME_INDEX_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Early return on an error; the two macros that Abseil itself leaves to its users.

#define RETURN_IF_ERROR(expression)                                   \
  do {                                                                \
    if (absl::Status dime_status = (expression); !dime_status.ok()) { \
      return dime_status;                                             \
    }                                                                 \
  } while (false)

#define DIME_CONCAT_INNER(a, b) a##b
#define DIME_CONCAT(a, b) DIME_CONCAT_INNER(a, b)

#define ASSIGN_OR_RETURN(declaration, expression) \
  DIME_ASSIGN_OR_RETURN_IMPL(DIME_CONCAT(dime_status_or_, __LINE__), declaration, expression)

#define DIME_ASSIGN_OR_RETURN_IMPL(temporary, declaration, expression) \
  auto temporary = (expression);                                       \
  if (!temporary.ok()) return std::move(temporary).status();           \
  declaration = *std::move(temporary)

#endif  // DIME_INDEX_STATUS_MACROS_H_
