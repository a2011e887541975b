#ifndef DIME_MODEL_LOCAL_SIDE_H_
#define DIME_MODEL_LOCAL_SIDE_H_

#include "index/features.h"

namespace dime {

// Whether a direction refines items of this modality, rather than have them as its context.
inline bool IsLocal(Modality modality, Direction direction) {
  return (modality == Modality::kImage) == (direction == Direction::kI2t);
}

}  // namespace dime

#endif  // DIME_MODEL_LOCAL_SIDE_H_
