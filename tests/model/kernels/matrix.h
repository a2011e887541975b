#ifndef DIME_TESTS_MODEL_KERNELS_MATRIX_H_
#define DIME_TESTS_MODEL_KERNELS_MATRIX_H_

#include <cstddef>
#include <random>
#include <vector>

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

struct Shape {
  int rows, in, out;
};
// Some fill tiles of 16 and blocks of 32, some do not.
constexpr Shape kShapes[] = {{1, 1, 1},    {3, 8, 5},     {16, 32, 32},
                             {33, 33, 47}, {36, 64, 192}, {72, 100, 66}};

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_TESTS_MODEL_KERNELS_MATRIX_H_
