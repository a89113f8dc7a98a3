// Compiled once per instruction set, with ISOGRID_ISA naming the namespace.
#include "kernels/optimizer.h"

#include "kernels/intrinsics.h"
#include "kernels/moment_code.h"

namespace isogrid::kernels::ISOGRID_ISA {
namespace {

#include "kernels/cpu_vector.inc"

inline Lanes square_root(Lanes x) {
  Lanes root;
  for (int i = 0; i < kLanes; ++i) root[i] = __builtin_sqrtf(x[i]);
  return root;
}

inline Lanes select(IntLanes mask, Lanes yes, Lanes no) { return mask ? yes : no; }

/// new_value(at, parameter, gradient, lanes) of every element, written to master and working copy.
template <typename T, typename Update>
__attribute__((always_inline)) inline void update_working(const Trained& what, int64_t first,
                                                          int64_t last, Update new_value) {
  T* working = static_cast<T*>(what.working);
  for_lanes(last - first, [&](int64_t c, int64_t n) {
    const int64_t at = first + c;
    const Lanes gradient = load(what.gradient + at, n) * what.gradient_scale;
    const Lanes before = what.master != nullptr ? load(what.master + at, n) : load(working + at, n);
    const Lanes after = new_value(at, before, gradient, n);
    if (what.master != nullptr) store(what.master + at, after, n);
    if (working != nullptr) store(working + at, after, n);
  });
}

template <typename Update>
__attribute__((always_inline)) inline void update(const Trained& what, int64_t first, int64_t last,
                                                  Update new_value) {
  ISOGRID_BY_ANY_ELEMENT(what.element, update_working<T>(what, first, last, new_value))
}

/// a moved to b by `share`, as exact near b as near a.
inline Lanes moved(Lanes a, Lanes b, float share) {
  return share < 0.5f ? a + share * (b - a) : b + (share - 1.0f) * (b - a);
}

void adamw(const Trained& what, const AdamwSettings& how, float* first_moment, float* second_moment,
           int64_t first, int64_t last) {
  const auto shrink = static_cast<float>(1.0 - how.learning_rate * how.weight_decay);
  const auto step = static_cast<float>(how.learning_rate / how.correction1);
  const auto share1 = static_cast<float>(1.0 - how.beta1);
  const auto keep2 = static_cast<float>(how.beta2), share2 = static_cast<float>(1.0 - how.beta2);
  const auto root2 = static_cast<float>(__builtin_sqrt(how.correction2));
  const auto eps = static_cast<float>(how.eps);
  update(what, first, last, [&](int64_t at, Lanes value, Lanes gradient, int64_t n) {
    const Lanes m = moved(load(first_moment + at, n), gradient, share1);
    const Lanes v = load(second_moment + at, n) * keep2 + share2 * gradient * gradient;
    store(first_moment + at, m, n);
    store(second_moment + at, v, n);
    return value * shrink - step * m / (square_root(v) / root2 + eps);
  });
}

void lion(const Trained& what, const LionSettings& how, float* momentum, int64_t first,
          int64_t last) {
  const auto shrink = static_cast<float>(1.0 - how.learning_rate * how.weight_decay);
  const auto step = static_cast<float>(how.learning_rate);
  const auto keep1 = static_cast<float>(how.beta1), share1 = static_cast<float>(1.0 - how.beta1);
  const auto keep2 = static_cast<float>(how.beta2), share2 = static_cast<float>(1.0 - how.beta2);
  update(what, first, last, [&](int64_t at, Lanes value, Lanes gradient, int64_t n) {
    const Lanes m = load(momentum + at, n);
    const Lanes direction = m * keep1 + gradient * share1;
    store(momentum + at, m * keep2 + gradient * share2, n);
    const Lanes move = select(direction > Lanes{}, splat(step),
                              select(direction < Lanes{}, splat(-step), direction));
    return value * shrink - move;
  });
}

void sgd(const Trained& what, const SgdSettings& how, float* momentum, int64_t first,
         int64_t last) {
  const auto step = static_cast<float>(how.learning_rate);
  const auto decay = static_cast<float>(how.weight_decay);
  const auto keep = static_cast<float>(how.momentum);
  const auto share = static_cast<float>(1.0 - how.dampening);
  update(what, first, last, [&](int64_t at, Lanes value, Lanes gradient, int64_t n) {
    Lanes direction = gradient + decay * value;
    if (keep != 0.0f) {
      const Lanes m =
          how.first_step ? direction : load(momentum + at, n) * keep + share * direction;
      store(momentum + at, m, n);
      direction = how.nesterov ? direction + keep * m : m;
    }
    return value - step * direction;
  });
}

/// The moment of a block, decoded.
void decode(const MomentCode& book, const CodedMoment& moment, int64_t at, int64_t count,
            float* values) {
  const float scale = moment.scale[at / kMomentBlock];
  for (int64_t i = 0; i < count; ++i) values[i] = book.values[moment.code[at + i]] * scale;
}

/// The code nearest to a ratio in [-1, 1]. A negative number keeps its sign, however small.
inline uint8_t nearest_code(const MomentCode& book, float ratio, uint8_t zero) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, ratio);
  uint32_t magnitude = bits & 0x7fffffffu;
  magnitude = magnitude < MomentCode::kLowest ? MomentCode::kLowest : magnitude;
  magnitude = magnitude > 0x3f800000u ? 0x3f800000u : magnitude;
  const uint32_t bucket = (magnitude - MomentCode::kLowest) >> MomentCode::kBucketShift;
  uint32_t code = book.first_code[bucket + (bits >> 31) * MomentCode::kBuckets];
  code += ratio > book.thresholds[code] ? 1 : 0;
  code -= code == zero && ratio < 0.0f ? 1 : 0;
  return static_cast<uint8_t>(code);
}

/// Codes and scale of a block's new values.
void encode(const MomentCode& book, const float* values, const CodedMoment& moment, int64_t at,
            int64_t count, uint8_t zero) {
  Lanes highest{};
  for_lanes(count, [&](int64_t c, int64_t n) {
    const Lanes v = load(values + c, n);
    const Lanes magnitude = v < Lanes{} ? -v : v;
    highest = magnitude > highest ? magnitude : highest;
  });
  float scale = 0.0f;
  for (int i = 0; i < kLanes; ++i) scale = highest[i] > scale ? highest[i] : scale;
  moment.scale[at / kMomentBlock] = scale;
  for (int64_t i = 0; i < count; ++i)
    moment.code[at + i] = scale > 0.0f ? nearest_code(book, values[i] / scale, zero) : zero;
}

void adamw_coded(const Trained& what, const AdamwSettings& how, const CodedMoment& first_moment,
                 const CodedMoment& second_moment, int64_t first, int64_t last) {
  const auto keep1 = static_cast<float>(how.beta1), share1 = static_cast<float>(1.0 - how.beta1);
  const auto keep2 = static_cast<float>(how.beta2), share2 = static_cast<float>(1.0 - how.beta2);
  const double root2 = __builtin_sqrt(how.correction2);
  const auto step = static_cast<float>(how.learning_rate * root2 / how.correction1);
  const auto eps = static_cast<float>(root2 * how.eps);
  const auto shrink = static_cast<float>(1.0 - how.learning_rate * how.weight_decay);
  const MomentCode &book1 = moment_codes(true), &book2 = moment_codes(false);
  float m[kMomentBlock + kLanes], v[kMomentBlock + kLanes];
  for (int64_t block = first; block < last; block += kMomentBlock) {
    const int64_t end = last - block < kMomentBlock ? last : block + kMomentBlock;
    decode(book1, first_moment, block, end - block, m);
    decode(book2, second_moment, block, end - block, v);
    update(what, block, end, [&](int64_t at, Lanes value, Lanes gradient, int64_t n) {
      const int64_t i = at - block;
      const Lanes m_now = load(m + i, n) * keep1 + share1 * gradient;
      const Lanes v_now = load(v + i, n) * keep2 + share2 * gradient * gradient;
      store(m + i, m_now, n);
      store(v + i, v_now, n);
      return (value - step * (m_now / (square_root(v_now) + eps))) * shrink;
    });
    encode(book1, m, first_moment, block, end - block, zero_code(true));
    encode(book2, v, second_moment, block, end - block, zero_code(false));
  }
}

template <typename T>
void accumulate_range(const T* from, float* onto, int64_t first, int64_t last) {
  for_lanes(last - first, [&](int64_t c, int64_t n) {
    store(onto + first + c, load(onto + first + c, n) + load(from + first + c, n), n);
  });
}

void accumulate(Element element, const void* from, float* onto, int64_t first, int64_t last) {
  ISOGRID_BY_ANY_ELEMENT(element, accumulate_range(static_cast<const T*>(from), onto, first, last))
}

void scale(float* x, float factor, int64_t first, int64_t last) {
  for_lanes(last - first, [&](int64_t c, int64_t n) {
    store(x + first + c, load(x + first + c, n) * factor, n);
  });
}

void blend(float* average, const float* value, float share, int64_t first, int64_t last) {
  for_lanes(last - first, [&](int64_t c, int64_t n) {
    store(average + first + c,
          moved(load(average + first + c, n), load(value + first + c, n), share), n);
  });
}

typedef double WideLanes __attribute__((vector_size(128)));

void sum_of_squares(const float* x, int64_t count, double* sums, int64_t first, int64_t last) {
  for (int64_t chunk = first; chunk < last; ++chunk) {
    const int64_t begin = chunk * kSumChunk;
    const int64_t size = count - begin < kSumChunk ? count - begin : kSumChunk;
    WideLanes squares{};  // exact products: the order of additions is all that matters
    for_lanes(size, [&](int64_t c, int64_t n) {
      const WideLanes v = __builtin_convertvector(load(x + begin + c, n), WideLanes);
      squares += v * v;
    });
    double total = 0;
    for (int i = 0; i < kLanes; ++i) total += squares[i];
    sums[chunk] = total;
  }
}

}  // namespace

extern const OptimizerKernels optimizer_table;
const OptimizerKernels optimizer_table = {adamw,      adamw_coded, lion,  sgd,
                                          accumulate, scale,       blend, sum_of_squares};

}  // namespace isogrid::kernels::ISOGRID_ISA
