#ifndef DIME_MODEL_FIRST_STAGE_H_
#define DIME_MODEL_FIRST_STAGE_H_

#include <string>

#include "model/model_info.h"

namespace dime {

// One line for people, told when a program starts: by which embedding recall finds its candidates,
// and, where that is none that was trained for it, what makes a better one.
std::string DescribeFirstStage(const ModelInfo& model);

}  // namespace dime

#endif  // DIME_MODEL_FIRST_STAGE_H_
