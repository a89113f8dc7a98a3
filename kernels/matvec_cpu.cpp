// Compiled once per instruction set, with ISOGRID_ISA naming the namespace.
#include "kernels/intrinsics.h"
#include "kernels/matvec.h"

namespace isogrid::kernels::ISOGRID_ISA {
namespace {

#include "kernels/cpu_vector.inc"

/// Rows of x that share the registers of one pass over a weight row.
constexpr int64_t kGroup = 8;

/// One weight row against `Rows` inputs. Two sums per input hide the latency of the additions;
/// their order is the same for every `Rows`.
template <int Rows, typename T>
inline void dot_rows(const float* x, const T* weight, const T* addend, T* y, int64_t inputs,
                     int64_t outputs) {
  Lanes even[Rows] = {}, odd[Rows] = {};
  int64_t k = 0;
  for (; k + 2 * kLanes <= inputs; k += 2 * kLanes) {
    const Lanes w0 = load(weight + k), w1 = load(weight + k + kLanes);
    for (int row = 0; row < Rows; ++row) {
      even[row] += w0 * load(x + row * inputs + k);
      odd[row] += w1 * load(x + row * inputs + k + kLanes);
    }
  }
  for (; k < inputs; k += kLanes) {
    const int64_t n = inputs - k < kLanes ? inputs - k : kLanes;
    const Lanes w = load(weight + k, n);
    for (int row = 0; row < Rows; ++row) even[row] += w * load(x + row * inputs + k, n);
  }
  for (int row = 0; row < Rows; ++row) {
    const float product = sum(even[row] + odd[row]);
    store_one(y + row * outputs,
              addend == nullptr ? product : product + load_one(addend + row * outputs));
  }
}

template <typename T>
void dot_group(const float* x, const T* weight, const T* addend, T* y, int64_t rows, int64_t inputs,
               int64_t outputs) {
  switch (rows) {
    case 1:
      return dot_rows<1>(x, weight, addend, y, inputs, outputs);
    case 2:
      return dot_rows<2>(x, weight, addend, y, inputs, outputs);
    case 3:
      return dot_rows<3>(x, weight, addend, y, inputs, outputs);
    case 4:
      return dot_rows<4>(x, weight, addend, y, inputs, outputs);
    case 5:
      return dot_rows<5>(x, weight, addend, y, inputs, outputs);
    case 6:
      return dot_rows<6>(x, weight, addend, y, inputs, outputs);
    case 7:
      return dot_rows<7>(x, weight, addend, y, inputs, outputs);
    default:
      return dot_rows<8>(x, weight, addend, y, inputs, outputs);
  }
}

template <typename T>
void matvec_rows(const float* x, const T* weight, const T* addend, T* y, int64_t rows,
                 int64_t inputs, int64_t outputs, int64_t first, int64_t last) {
  for (int64_t n = first; n < last; ++n)
    for (int64_t row = 0; row < rows; row += kGroup)
      dot_group(x + row * inputs, weight + n * inputs,
                addend == nullptr ? nullptr : addend + row * outputs + n, y + row * outputs + n,
                rows - row, inputs, outputs);
}

void matvec(Element element, const float* x, const void* weight, const void* addend, void* y,
            int64_t rows, int64_t inputs, int64_t outputs, int64_t first, int64_t last) {
  if (element == Element::f32)
    matvec_rows(x, static_cast<const float*>(weight), static_cast<const float*>(addend),
                static_cast<float*>(y), rows, inputs, outputs, first, last);
  else
    matvec_rows(x, static_cast<const Bf16*>(weight), static_cast<const Bf16*>(addend),
                static_cast<Bf16*>(y), rows, inputs, outputs, first, last);
}

}  // namespace

extern const MatvecKernels matvec_table;
const MatvecKernels matvec_table = {matvec};

}  // namespace isogrid::kernels::ISOGRID_ISA
