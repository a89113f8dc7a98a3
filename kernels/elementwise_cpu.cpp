// Compiled once per instruction set, with ISOGRID_ISA naming the namespace.
#include "kernels/elementwise.h"
#include "kernels/intrinsics.h"

namespace isogrid::kernels::ISOGRID_ISA {
namespace {

#include "kernels/cpu_vector.inc"

/// 1 / sqrt(mean(x^2) + eps) of one row.
template <typename T>
inline float inverse_rms(const T* x, int64_t columns, float eps) {
  Lanes squares{};
  for_lanes(columns, [&](int64_t c, int64_t n) {
    const Lanes v = load(x + c, n);
    squares += v * v;
  });
  return 1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(columns) + eps);
}

template <typename T>
inline void norm_row(const T* x, const T* weight, T* y, int64_t columns, float eps) {
  const float scale = inverse_rms(x, columns, eps);
  for_lanes(columns, [&](int64_t c, int64_t n) {
    store(y + c, load(x + c, n) * scale * load(weight + c, n), n);
  });
}

/// With s = 1/rms and g = dy * weight: dx = s * (g - x * s^2 * mean(g * x)), dweight += dy * x * s.
template <typename T>
inline void norm_row_backward(const T* x, const T* weight, const T* dy, T* dx, float* d_weight,
                              int64_t columns, float eps) {
  const float scale = inverse_rms(x, columns, eps);
  Lanes products{};
  for_lanes(columns, [&](int64_t c, int64_t n) {
    products += load(dy + c, n) * load(weight + c, n) * load(x + c, n);
  });
  const float slope = sum(products) / static_cast<float>(columns) * scale * scale;
  for_lanes(columns, [&](int64_t c, int64_t n) {
    const Lanes xs = load(x + c, n), d = load(dy + c, n);
    if (d_weight != nullptr) store(d_weight + c, load(d_weight + c, n) + d * xs * scale, n);
    store(dx + c, (d * load(weight + c, n) - xs * slope) * scale, n);
  });
}

template <typename T>
void rms_norm_rows(const T* x, const T* weight, T* y, int64_t first, int64_t last, int64_t columns,
                   float eps) {
  for (int64_t row = first; row < last; ++row)
    norm_row(x + row * columns, weight, y + row * columns, columns, eps);
}

template <typename T>
void rms_norm_backward_rows(const T* x, const T* weight, const T* dy, T* dx, float* d_weight,
                            int64_t first, int64_t last, int64_t columns, float eps) {
  for (int64_t row = first; row < last; ++row) {
    const int64_t at = row * columns;
    norm_row_backward(x + at, weight, dy + at, dx + at, d_weight, columns, eps);
  }
}

inline Lanes sigmoid(Lanes x) { return 1.0f / (1.0f + exp_lanes(-x)); }

template <typename T>
void swiglu_rows(const T* gate, const T* up, T* y, int64_t begin, int64_t end) {
  for_lanes(end - begin, [&](int64_t c, int64_t n) {
    const Lanes g = load(gate + begin + c, n);
    store(y + begin + c, g * sigmoid(g) * load(up + begin + c, n), n);
  });
}

template <typename T>
void swiglu_backward_rows(const T* gate, const T* up, const T* dy, T* d_gate, T* d_up,
                          int64_t begin, int64_t end) {
  for_lanes(end - begin, [&](int64_t c, int64_t n) {
    const int64_t at = begin + c;
    const Lanes g = load(gate + at, n), u = load(up + at, n), d = load(dy + at, n);
    const Lanes s = sigmoid(g);
    store(d_up + at, d * g * s, n);
    store(d_gate + at, d * u * s * (1.0f + g * (1.0f - s)), n);
  });
}

/// (a, b) -> (a cos - b sin, b cos + a sin) with a, b the two halves of a head; sign -1 turns back.
template <typename T>
inline void rotate_row(const T* x, T* y, const float* cosine, const float* sine, float sign,
                       int64_t half) {
  for_lanes(half, [&](int64_t c, int64_t n) {
    const Lanes a = load(x + c, n), b = load(x + half + c, n);
    const Lanes cs = load(cosine + c, n), sn = load(sine + c, n) * sign;
    store(y + c, a * cs - b * sn, n);
    store(y + half + c, b * cs + a * sn, n);
  });
}

/// The norm's result is kept in float32 between norm and rotation: one rounding at the end.
constexpr int64_t kMaxHeadDim = 1024;

template <typename T>
void norm_rope_rows(const T* x, const T* weight, const float* cosine, const float* sine, T* y,
                    int64_t first, int64_t last, int64_t heads, int64_t head_dim, float eps) {
  const int64_t half = head_dim / 2;
  float normed[kMaxHeadDim];
  for (int64_t token = first; token < last; ++token)
    for (int64_t head = 0; head < heads; ++head) {
      const T* in = x + (token * heads + head) * head_dim;
      T* out = y + (token * heads + head) * head_dim;
      const float* cs = cosine == nullptr ? nullptr : cosine + token * half;
      const float* sn = sine == nullptr ? nullptr : sine + token * half;
      if (weight == nullptr) {
        rotate_row(in, out, cs, sn, 1.0f, half);
      } else if (cosine == nullptr) {
        norm_row(in, weight, out, head_dim, eps);
      } else {
        const float scale = inverse_rms(in, head_dim, eps);
        for_lanes(head_dim, [&](int64_t c, int64_t n) {
          store(normed + c, load(in + c, n) * scale * load(weight + c, n), n);
        });
        for_lanes(half, [&](int64_t c, int64_t n) {
          const Lanes a = load(normed + c, n), b = load(normed + half + c, n);
          const Lanes cv = load(cs + c, n), sv = load(sn + c, n);
          store(out + c, a * cv - b * sv, n);
          store(out + half + c, b * cv + a * sv, n);
        });
      }
    }
}

template <typename T>
void norm_rope_backward_rows(const T* x, const T* weight, const float* cosine, const float* sine,
                             const T* dy, T* dx, float* d_weight, int64_t first, int64_t last,
                             int64_t heads, int64_t head_dim, float eps) {
  const int64_t half = head_dim / 2;
  T turned[kMaxHeadDim];
  for (int64_t token = first; token < last; ++token)
    for (int64_t head = 0; head < heads; ++head) {
      const int64_t at = (token * heads + head) * head_dim;
      const T* d = dy + at;
      if (cosine != nullptr) {
        T* out = weight == nullptr ? dx + at : turned;
        rotate_row(d, out, cosine + token * half, sine + token * half, -1.0f, half);
        d = out;
      }
      if (weight != nullptr) norm_row_backward(x + at, weight, d, dx + at, d_weight, head_dim, eps);
    }
}

/// Calls body with the pointers of the given element type.
#define ISOGRID_BY_ELEMENT(element, body) \
  if ((element) == Element::f32) {        \
    using T = float;                      \
    body;                                 \
  } else {                                \
    using T = Bf16;                       \
    body;                                 \
  }
#define ISOGRID_IN(pointer) static_cast<const T*>(pointer)
#define ISOGRID_OUT(pointer) static_cast<T*>(pointer)

void rms_norm(Element element, const void* x, const void* weight, void* y, int64_t first,
              int64_t last, int64_t columns, float eps) {
  ISOGRID_BY_ELEMENT(element, rms_norm_rows(ISOGRID_IN(x), ISOGRID_IN(weight), ISOGRID_OUT(y),
                                            first, last, columns, eps))
}

void rms_norm_backward(Element element, const void* x, const void* weight, const void* dy, void* dx,
                       float* d_weight, int64_t first, int64_t last, int64_t columns, float eps) {
  ISOGRID_BY_ELEMENT(element,
                     rms_norm_backward_rows(ISOGRID_IN(x), ISOGRID_IN(weight), ISOGRID_IN(dy),
                                            ISOGRID_OUT(dx), d_weight, first, last, columns, eps))
}

void swiglu(Element element, const void* gate, const void* up, void* y, int64_t first, int64_t last,
            int64_t columns) {
  ISOGRID_BY_ELEMENT(element, swiglu_rows(ISOGRID_IN(gate), ISOGRID_IN(up), ISOGRID_OUT(y),
                                          first * columns, last * columns))
}

void swiglu_backward(Element element, const void* gate, const void* up, const void* dy,
                     void* d_gate, void* d_up, int64_t first, int64_t last, int64_t columns) {
  ISOGRID_BY_ELEMENT(element, swiglu_backward_rows(ISOGRID_IN(gate), ISOGRID_IN(up), ISOGRID_IN(dy),
                                                   ISOGRID_OUT(d_gate), ISOGRID_OUT(d_up),
                                                   first * columns, last * columns))
}

void norm_rope(Element element, const void* x, const void* weight, const float* cosine,
               const float* sine, void* y, int64_t first, int64_t last, int64_t heads,
               int64_t head_dim, float eps) {
  ISOGRID_BY_ELEMENT(element, norm_rope_rows(ISOGRID_IN(x), ISOGRID_IN(weight), cosine, sine,
                                             ISOGRID_OUT(y), first, last, heads, head_dim, eps))
}

void norm_rope_backward(Element element, const void* x, const void* weight, const float* cosine,
                        const float* sine, const void* dy, void* dx, float* d_weight, int64_t first,
                        int64_t last, int64_t heads, int64_t head_dim, float eps) {
  ISOGRID_BY_ELEMENT(element, norm_rope_backward_rows(ISOGRID_IN(x), ISOGRID_IN(weight), cosine,
                                                      sine, ISOGRID_IN(dy), ISOGRID_OUT(dx),
                                                      d_weight, first, last, heads, head_dim, eps))
}

}  // namespace

extern const ElementwiseKernels elementwise_table;
const ElementwiseKernels elementwise_table = {rms_norm,  rms_norm_backward, swiglu, swiglu_backward,
                                              norm_rope, norm_rope_backward};

}  // namespace isogrid::kernels::ISOGRID_ISA
