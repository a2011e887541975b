#ifndef DIME_MODEL_DIME_RECTIFIED_IDENTITY_CELL_H_
#define DIME_MODEL_DIME_RECTIFIED_IDENTITY_CELL_H_

#include "model/dime/cell.h"

namespace dime {

// RIC: relu(Z). Keeps what is there (dime-model.md, 3).
class RectifiedIdentityCellImpl : public CellImpl {
 public:
  using CellImpl::CellImpl;
  torch::Tensor forward(const torch::Tensor& local, const CrossModalInput& other) override {
    return torch::relu(local);
  }
};
TORCH_MODULE(RectifiedIdentityCell);

}  // namespace dime

#endif  // DIME_MODEL_DIME_RECTIFIED_IDENTITY_CELL_H_
