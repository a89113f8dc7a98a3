// Compiled once per instruction set, with ISOGRID_ISA naming the namespace.
#include "kernels/matvec.h"

namespace isogrid::kernels::ISOGRID_ISA {
namespace {

#include "kernels/cpu_vector.inc"

/// One weight row against `Rows` inputs. Four independent sums hide the latency of the additions.
template <int Rows, typename T>
inline void dot_rows(const float* x, const T* weight, T* y, int64_t inputs, int64_t outputs) {
  constexpr int kSums = Rows <= 2 ? 4 : Rows <= 4 ? 2 : 1;
  Lanes sums[Rows][kSums] = {};
  int64_t k = 0;
  for (; k + kLanes * kSums <= inputs; k += kLanes * kSums)
    for (int s = 0; s < kSums; ++s) {
      const Lanes w = load(weight + k + s * kLanes);
      for (int row = 0; row < Rows; ++row)
        sums[row][s] += w * load(x + row * inputs + k + s * kLanes);
    }
  for (; k < inputs; k += kLanes) {
    const int64_t n = inputs - k < kLanes ? inputs - k : kLanes;
    const Lanes w = load(weight + k, n);
    for (int row = 0; row < Rows; ++row) sums[row][0] += w * load(x + row * inputs + k, n);
  }
  for (int row = 0; row < Rows; ++row) {
    Lanes total = sums[row][0];
    for (int s = 1; s < kSums; ++s) total += sums[row][s];
    store_one(y + row * outputs, sum(total));
  }
}

template <int Rows, typename T>
void matvec_rows(const float* x, const T* weight, T* y, int64_t inputs, int64_t outputs,
                 int64_t first, int64_t last) {
  for (int64_t n = first; n < last; ++n)
    dot_rows<Rows>(x, weight + n * inputs, y + n, inputs, outputs);
}

template <typename T>
void matvec_by_rows(const float* x, const T* weight, T* y, int64_t rows, int64_t inputs,
                    int64_t outputs, int64_t first, int64_t last) {
  switch (rows) {
    case 1: return matvec_rows<1>(x, weight, y, inputs, outputs, first, last);
    case 2: return matvec_rows<2>(x, weight, y, inputs, outputs, first, last);
    case 3: return matvec_rows<3>(x, weight, y, inputs, outputs, first, last);
    case 4: return matvec_rows<4>(x, weight, y, inputs, outputs, first, last);
    case 5: return matvec_rows<5>(x, weight, y, inputs, outputs, first, last);
    case 6: return matvec_rows<6>(x, weight, y, inputs, outputs, first, last);
    case 7: return matvec_rows<7>(x, weight, y, inputs, outputs, first, last);
    default: return matvec_rows<8>(x, weight, y, inputs, outputs, first, last);
  }
}

void matvec(Element element, const float* x, const void* weight, void* y, int64_t rows,
            int64_t inputs, int64_t outputs, int64_t first, int64_t last) {
  if (element == Element::f32)
    matvec_by_rows(x, static_cast<const float*>(weight), static_cast<float*>(y), rows, inputs,
                   outputs, first, last);
  else
    matvec_by_rows(x, static_cast<const Bf16*>(weight), static_cast<Bf16*>(y), rows, inputs,
                   outputs, first, last);
}

}  // namespace

extern const MatvecKernels matvec_table;
const MatvecKernels matvec_table = {matvec};

}  // namespace isogrid::kernels::ISOGRID_ISA
