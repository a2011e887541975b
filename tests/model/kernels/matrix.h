#ifndef DIME_TESTS_MODEL_KERNELS_MATRIX_H_
#define DIME_TESTS_MODEL_KERNELS_MATRIX_H_

#include <cstddef>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "model/kernels/float_product.h"

// What linear layers are tested on. In an unnamed namespace, as the units that use it are compiled
// for instructions that others are not.
namespace dime::kernels {
namespace {

// Random values from -1 to 1, always the same ones of a seed; rows are `stride` apart.
struct Matrix {
  Matrix(int rows, int columns, int stride, unsigned seed)
      : rows(rows), columns(columns), stride(stride), values(size_t(rows) * stride) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (float& value : values) value = uniform(random);
  }
  float& at(int row, int column) { return values[size_t(row) * stride + column]; }
  float at(int row, int column) const { return values[size_t(row) * stride + column]; }

  int rows, columns, stride;
  std::vector<float> values;
};

// All rows but those of the second third, as runs.
class OuterThirds {
 public:
  explicit OuterThirds(int rows)
      : third_(rows / 3), runs_{{0, third_}, {2 * third_, rows - 2 * third_}} {}
  const std::vector<RowRun>& runs() const { return runs_; }
  bool Have(int row) const { return row < third_ || row >= 2 * third_; }

 private:
  const int third_;
  const std::vector<RowRun> runs_;
};

// Calls check(row, column) for what a product of these rows, `columns` wide, put into `y`; the rest
// of `y` must be as it was `before`.
template <class Check>
void CheckProduct(const Matrix& y, const Matrix& before, const OuterThirds& rows, int columns,
                  Check&& check) {
  for (int r = 0; r < y.rows; ++r) {
    for (int c = 0; c < y.stride; ++c) {
      if (rows.Have(r) && c < columns) {
        check(r, c);
      } else {
        EXPECT_EQ(y.at(r, c), before.at(r, c)) << r << " " << c;
      }
    }
  }
}

struct Shape {
  int rows, in, out;
};
// Some fill tiles of 16 and blocks of 32, some do not.
constexpr Shape kShapes[] = {{1, 1, 1},    {3, 8, 5},     {16, 32, 32},
                             {33, 33, 47}, {36, 64, 192}, {72, 100, 66}};

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_TESTS_MODEL_KERNELS_MATRIX_H_
