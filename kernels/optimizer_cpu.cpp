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

/// table[index] for a table of 16 << Doublings entries, indices within it.
template <int Doublings>
inline Lanes look_up(const float* table, IntLanes index) {
#if defined(__AVX512F__)
  if constexpr (Doublings == 0) {
    return __builtin_shuffle(load(table), index);
  } else if constexpr (Doublings == 1) {
    return __builtin_shuffle(load(table), load(table + kLanes), index);
  } else {
    constexpr int32_t half = 8 << Doublings;
    return select((index & half) != 0, look_up<Doublings - 1>(table + half, index),
                  look_up<Doublings - 1>(table, index));
  }
#else
  Lanes found;
  for (int i = 0; i < kLanes; ++i) found[i] = table[index[i]];
  return found;
#endif
}

/// One step down the tree from level `Level`, which has 2^Level nodes.
template <int Level>
inline IntLanes step_down(const float* tree, IntLanes node, Lanes value) {
  constexpr int nodes = 1 << Level;
  const Lanes threshold = look_up<(Level > 4 ? Level - 4 : 0)>(tree + nodes, node - nodes);
  return node * 2 - (value > threshold);  // a comparison that holds is -1
}

inline IntLanes nearest_codes(const MomentCode& book, Lanes ratio) {
  IntLanes node = IntLanes{} + 1;
  node = step_down<0>(book.tree, node, ratio);
  node = step_down<1>(book.tree, node, ratio);
  node = step_down<2>(book.tree, node, ratio);
  node = step_down<3>(book.tree, node, ratio);
  node = step_down<4>(book.tree, node, ratio);
  node = step_down<5>(book.tree, node, ratio);
  node = step_down<6>(book.tree, node, ratio);
  return step_down<7>(book.tree, node, ratio) - 256;
}

typedef uint8_t ByteLanes __attribute__((vector_size(16), aligned(1), may_alias));

/// A block's moment in float32; `values` has room for whole vectors.
struct OpenMoment {
  const MomentCode& book;
  const CodedMoment& coded;
  int64_t begin, count;  // of the block
  float values[kMomentBlock];

  void decode() {
    const float scale = coded.scale[begin / kMomentBlock];
    for_lanes(count, [&](int64_t c, int64_t n) {
      ByteLanes codes{};
      if (n == kLanes)
        codes = *reinterpret_cast<const ByteLanes*>(coded.code + begin + c);
      else
        for (int64_t i = 0; i < n; ++i) codes[i] = coded.code[begin + c + i];
      store(values + c, look_up<4>(book.values, __builtin_convertvector(codes, IntLanes)) * scale);
    });
  }

  /// A negative number keeps its sign, however small.
  void encode(uint8_t zero) const {
    Lanes highest{};
    for_lanes(count, [&](int64_t c, int64_t n) {
      const Lanes v = load(values + c, n);
      const Lanes magnitude = v < Lanes{} ? -v : v;
      highest = magnitude > highest ? magnitude : highest;
    });
    float scale = 0.0f;
    for (int i = 0; i < kLanes; ++i) scale = highest[i] > scale ? highest[i] : scale;
    coded.scale[begin / kMomentBlock] = scale;
    for_lanes(count, [&](int64_t c, int64_t n) {
      const Lanes ratio = scale > 0.0f ? load(values + c, n) / scale : Lanes{};
      IntLanes code = nearest_codes(book, ratio);
      code += (code == zero) & (ratio < Lanes{});
      const ByteLanes bytes = __builtin_convertvector(code, ByteLanes);
      if (n == kLanes)
        *reinterpret_cast<ByteLanes*>(coded.code + begin + c) = bytes;
      else
        for (int64_t i = 0; i < n; ++i) coded.code[begin + c + i] = bytes[i];
    });
  }
};

void adamw_coded(const Trained& what, const AdamwSettings& how, const CodedMoment& first_moment,
                 const CodedMoment& second_moment, int64_t first, int64_t last) {
  const auto keep1 = static_cast<float>(how.beta1), share1 = static_cast<float>(1.0 - how.beta1);
  const auto keep2 = static_cast<float>(how.beta2), share2 = static_cast<float>(1.0 - how.beta2);
  const double root2 = __builtin_sqrt(how.correction2);
  const auto step = static_cast<float>(how.learning_rate * root2 / how.correction1);
  const auto eps = static_cast<float>(root2 * how.eps);
  const auto shrink = static_cast<float>(1.0 - how.learning_rate * how.weight_decay);
  for (int64_t block = first; block < last; block += kMomentBlock) {
    const int64_t end = last - block < kMomentBlock ? last : block + kMomentBlock;
    OpenMoment m{moment_codes(true), first_moment, block, end - block, {}};
    OpenMoment v{moment_codes(false), second_moment, block, end - block, {}};
    m.decode();
    v.decode();
    update(what, block, end, [&](int64_t at, Lanes value, Lanes gradient, int64_t n) {
      const int64_t i = at - block;
      const Lanes m_now = load(m.values + i, n) * keep1 + share1 * gradient;
      const Lanes v_now = load(v.values + i, n) * keep2 + share2 * gradient * gradient;
      store(m.values + i, m_now, n);
      store(v.values + i, v_now, n);
      return (value - step * (m_now / (square_root(v_now) + eps))) * shrink;
    });
    m.encode(zero_code(true));
    v.encode(zero_code(false));
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

typedef double WideLanes __attribute__((vector_size(64)));
typedef float HalfOfLanes __attribute__((vector_size(32), aligned(4), may_alias));

void sum_of_squares(const float* x, int64_t count, double* sums, int64_t first, int64_t last) {
  for (int64_t chunk = first; chunk < last; ++chunk) {
    const int64_t begin = chunk * kSumChunk;
    const int64_t size = count - begin < kSumChunk ? count - begin : kSumChunk;
    WideLanes squares[2] = {};  // exact products: the order of additions is all that matters
    for_lanes(size, [&](int64_t c, int64_t n) {
      const Lanes lanes = load(x + begin + c, n);
      for (int half = 0; half < 2; ++half) {
        const auto* part = reinterpret_cast<const HalfOfLanes*>(&lanes) + half;
        const WideLanes v = __builtin_convertvector(*part, WideLanes);
        squares[half] += v * v;
      }
    });
    double total = 0;
    for (int i = 0; i < kLanes; ++i) total += squares[i / 8][i % 8];
    sums[chunk] = total;
  }
}

}  // namespace

extern const OptimizerKernels optimizer_table;
const OptimizerKernels optimizer_table = {adamw,      adamw_coded, lion,  sgd,
                                          accumulate, scale,       blend, sum_of_squares};

}  // namespace isogrid::kernels::ISOGRID_ISA
