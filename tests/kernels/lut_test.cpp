// Against plain loops in double, for every instruction set and sizes that fill no tile.
#include "kernels/lut.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/kernels/instruction_set.h"

namespace isogrid::kernels {
namespace {

struct Shape {
  size_t rows, columns, rank;
  int bits;
  bool lifted;
};

/// A weight of random codes and scales, and what the loops make of it.
struct LutCase {
  Shape shape{};
  std::vector<uint8_t> codes, packed;
  std::vector<float> table, left, right, turned;
  LutWeight weight{};

  size_t wide() const { return (shape.columns + 15) / 16 * 16; }
  size_t wide_rank() const { return (shape.rank + 15) / 16 * 16; }
  double scale(size_t row, size_t column) const {
    double sum = 0;
    for (size_t k = 0; k < shape.rank; ++k)
      sum += double{left[row * shape.rank + k]} * right[k * wide() + column];
    return sum;
  }
  double lifted(size_t row, size_t column) const {
    return std::max(scale(row, column), static_cast<double>(weight.lowest));
  }
  double value(size_t row, size_t column) const {
    return table[codes[row * shape.columns + column]];
  }
};

class LutKernelTest : public InstructionSetTest {
 protected:
  LutCase make(const Shape& shape) {
    LutCase c;
    c.shape = shape;
    const size_t bytes = (shape.columns * static_cast<size_t>(shape.bits) + 7) / 8;
    const auto mask = static_cast<uint8_t>((1 << shape.bits) - 1);
    c.packed.assign(shape.rows * bytes, 0);
    for (size_t r = 0; r < shape.rows; ++r)
      for (size_t i = 0; i < shape.columns; ++i) {
        const auto code = static_cast<uint8_t>(engine_() & mask);
        c.codes.push_back(code);
        const size_t bit = i * static_cast<size_t>(shape.bits);
        c.packed[r * bytes + bit / 8] |= static_cast<uint8_t>(code << (bit % 8));
      }
    c.table = random(size_t{1} << shape.bits);
    c.left = random(shape.rows * shape.rank);
    c.right.assign(shape.rank * c.wide(), 0.0f);
    c.turned.assign(c.wide() * c.wide_rank(), 0.0f);
    for (size_t k = 0; k < shape.rank; ++k) {
      const auto row = random(shape.columns);
      for (size_t i = 0; i < shape.columns; ++i)
        c.turned[i * c.wide_rank() + k] = c.right[k * c.wide() + i] = row[i];
    }
    c.weight = {.codes = c.packed.data(),
                .code_bytes = static_cast<int64_t>(bytes),
                .bits = shape.bits,
                .table = c.table.data(),
                .left = c.left.data(),
                .right = c.right.data(),
                .columns = static_cast<int64_t>(shape.columns),
                .rank = static_cast<int64_t>(shape.rank)};
    if (shape.lifted) c.weight.lowest = 0.1f;
    return c;
  }

  const std::vector<Shape> shapes{{1, 1, 1, 4, false},    {5, 15, 3, 2, true},
                                  {13, 130, 4, 4, false}, {40, 257, 8, 2, false},
                                  {33, 100, 32, 4, true}, {70, 144, 33, 2, true}};
};

void expect_near(double got, double wanted, double scale) {
  ASSERT_NEAR(got, wanted, 1e-5 * std::max(1.0, scale));
}

TEST_P(LutKernelTest, ExpandsCodesTimesScales) {
  for (const Shape& shape : shapes) {
    const LutCase c = make(shape);
    const size_t first = shape.rows / 3;
    std::vector<float> out((shape.rows - first) * shape.columns);
    lut_kernels(GetParam())
        .expand(c.weight, Element::f32, out.data(), static_cast<int64_t>(first),
                static_cast<int64_t>(shape.rows));
    for (size_t r = first; r < shape.rows; ++r)
      for (size_t i = 0; i < shape.columns; ++i)
        expect_near(out[(r - first) * shape.columns + i], c.value(r, i) * c.lifted(r, i), 10);
  }
}

TEST_P(LutKernelTest, OnePassGivesAllGradients) {
  for (const Shape& shape : shapes) {
    const LutCase c = make(shape);
    const LutKernels& kernels = lut_kernels(GetParam());
    const auto d = random(shape.rows * shape.columns);
    std::vector<float> d_left(shape.rows * shape.rank), d_right(shape.rank * c.wide(), 1.0f);
    std::vector<float> d_table(c.table.size(), 1.0f);
    std::vector<float> scratch(
        static_cast<size_t>(kernels.gradient_scratch(static_cast<int64_t>(shape.rank))));
    kernels.gradients(c.weight, c.turned.data(), Element::f32, d.data(), 0,
                      static_cast<int64_t>(shape.rows),
                      {d_left.data(), d_right.data(), d_table.data()}, scratch.data());

    std::vector<double> left(d_left.size()), right(d_right.size(), 1.0), table(d_table.size(), 1.0);
    for (size_t r = 0; r < shape.rows; ++r)
      for (size_t i = 0; i < shape.columns; ++i) {
        const double gradient = d[r * shape.columns + i];
        table[c.codes[r * shape.columns + i]] += gradient * c.lifted(r, i);
        if (c.scale(r, i) <= static_cast<double>(c.weight.lowest)) continue;
        for (size_t k = 0; k < shape.rank; ++k) {
          left[r * shape.rank + k] += gradient * c.value(r, i) * c.right[k * c.wide() + i];
          right[k * c.wide() + i] += gradient * c.value(r, i) * c.left[r * shape.rank + k];
        }
      }
    const auto size = static_cast<double>(shape.columns + shape.rows);
    for (size_t i = 0; i < left.size(); ++i) expect_near(d_left[i], left[i], size);
    for (size_t i = 0; i < right.size(); ++i) expect_near(d_right[i], right[i], size);
    for (size_t i = 0; i < table.size(); ++i) expect_near(d_table[i], table[i], 4 * size);
  }
}

INSTANTIATE_TEST_SUITE_P(All, LutKernelTest, kEveryIsa);

}  // namespace
}  // namespace isogrid::kernels
