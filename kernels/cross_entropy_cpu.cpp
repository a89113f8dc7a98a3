// Compiled once per instruction set, with ISOGRID_ISA naming the namespace.
#include "kernels/cross_entropy.h"

#include "kernels/intrinsics.h"

namespace isogrid::kernels::ISOGRID_ISA {
namespace {

#include "kernels/cpu_vector.inc"

constexpr float kLowest = -__builtin_inff();
/// Columns that stay in the nearest cache between a look for their maximum and their sum.
constexpr int64_t kColumnsPerBlock = 4096;

struct RowSums {
  float highest = kLowest;
  double shares = 0;  // sum of exp(x - highest)
  double logits = 0;  // sum of x
};

template <typename T>
float highest_of(const T* x, int64_t columns) {
  Lanes top = splat(kLowest);
  for_lanes(columns, [&](int64_t c, int64_t n) {
    Lanes v = load(x + c, n);
    for (int64_t i = n; i < kLanes; ++i) v[i] = kLowest;
    top = v > top ? v : top;
  });
  float highest = kLowest;
  for (int i = 0; i < kLanes; ++i) highest = top[i] > highest ? top[i] : highest;
  return highest;
}

/// e^x for x <= 0 with what lies beyond a row left out.
inline Lanes share_lanes(Lanes x, int64_t count) {
  Lanes shares = exp_lanes(x);
  for (int64_t i = count; i < kLanes; ++i) shares[i] = 0.0f;
  return shares;
}

/// Of the row times `scale`, which is above zero.
template <typename T>
RowSums sum_row(const T* x, int64_t columns, float scale = 1.0f) {
  RowSums row;
  for (int64_t begin = 0; begin < columns; begin += kColumnsPerBlock) {
    const int64_t size = columns - begin < kColumnsPerBlock ? columns - begin : kColumnsPerBlock;
    const float block = highest_of(x + begin, size) * scale;
    if (block > row.highest) {
      row.shares *= row.highest == kLowest ? 0.0 : double{exp_lanes(splat(row.highest - block))[0]};
      row.highest = block;
    }
    // Where everything is minus infinity so far, minus infinity less itself must not come up.
    const float base = row.highest == kLowest ? 0.0f : row.highest;
    Lanes shares{}, logits{};
    for_lanes(size, [&](int64_t c, int64_t n) {
      const Lanes v = load(x + begin + c, n) * scale;
      shares += share_lanes(v - base, n);
      logits += v;
    });
    row.shares += double{sum(shares)};
    row.logits += double{sum(logits)};
  }
  return row;
}

template <typename T>
float loss_of(const LabelledLogits& in, const RowSums& sums, const T* x, int64_t label) {
  const double target = in.smoothing == 0
                            ? double{load_one(x + label)}
                            : (1 - in.smoothing) * double{load_one(x + label)} +
                                  in.smoothing * (sums.logits / static_cast<double>(in.columns));
  return static_cast<float>(__builtin_log(sums.shares) + double{sums.highest} - target);
}

template <typename T>
void differentiate_row(const LabelledLogits& in, const RowSums& sums, T* x, int64_t label,
                       float factor) {
  const auto inverse = static_cast<float>(1 / sums.shares);
  const auto spread = static_cast<float>(in.smoothing / static_cast<double>(in.columns));
  const float hit = exp_lanes(splat(load_one(x + label) - sums.highest))[0] * inverse - spread;
  for_lanes(in.columns, [&](int64_t c, int64_t n) {
    const Lanes share = exp_lanes(load(x + c, n) - sums.highest) * inverse;
    store(x + c, (share - spread) * factor, n);
  });
  store_one(x + label, (hit - static_cast<float>(1 - in.smoothing)) * factor);
}

template <typename T>
void losses_of_rows(const LabelledLogits& in, float* losses, int64_t first, int64_t last) {
  for (int64_t row = first; row < last; ++row) {
    const T* x = static_cast<const T*>(in.logits) + row * in.columns;
    losses[row] = loss_of(in, sum_row(x, in.columns), x, in.labels[row]);
  }
}

template <typename T>
void differentiate_rows(const LabelledLogits& in, float* losses, const float* factors,
                        int64_t first, int64_t last) {
  for (int64_t row = first; row < last; ++row) {
    T* x = static_cast<T*>(in.logits) + row * in.columns;
    const RowSums sums = sum_row(x, in.columns);
    losses[row] = loss_of(in, sums, x, in.labels[row]);
    differentiate_row(in, sums, x, in.labels[row], factors == nullptr ? 1.0f : factors[row]);
  }
}

template <typename T>
void log_sums_of_rows(const LogitRows& in, float scale, float* sums, int64_t first, int64_t last) {
  for (int64_t row = first; row < last; ++row) {
    const RowSums sum =
        sum_row(static_cast<const T*>(in.logits) + row * in.columns, in.columns, scale);
    sums[row] = sum.highest == kLowest
                    ? kLowest
                    : static_cast<float>(__builtin_log(sum.shares) + double{sum.highest});
  }
}

/// The row of a softmax: exp(x scale - log_sum) factor.
struct SoftRow {
  float scale, log_sum, factor;
  SoftRow(const ScaledSoftmax& softmax, int64_t row)
      : scale(softmax.inverse_temperature),
        log_sum(softmax.log_sums[row]),
        factor(softmax.factors[row]) {}
  Lanes of(Lanes x) const { return exp_lanes(x * scale - log_sum) * factor; }
};

template <typename T>
void soften_rows(const LogitRows& in, const ScaledSoftmax& one, const ScaledSoftmax* other,
                 int64_t first, int64_t last) {
  for (int64_t row = first; row < last; ++row) {
    T* x = static_cast<T*>(in.logits) + row * in.columns;
    const SoftRow a(one, row), b(other == nullptr ? one : *other, row);
    if (other == nullptr)
      for_lanes(in.columns, [&](int64_t c, int64_t n) { store(x + c, a.of(load(x + c, n)), n); });
    else
      for_lanes(in.columns, [&](int64_t c, int64_t n) {
        const Lanes v = load(x + c, n);
        store(x + c, a.of(v) + b.of(v), n);
      });
  }
}

void losses(const LabelledLogits& in, float* to, int64_t first, int64_t last) {
  ISOGRID_BY_ANY_ELEMENT(in.element, losses_of_rows<T>(in, to, first, last))
}

void differentiate(const LabelledLogits& in, float* to, const float* factors, int64_t first,
                   int64_t last) {
  ISOGRID_BY_ANY_ELEMENT(in.element, differentiate_rows<T>(in, to, factors, first, last))
}

void log_sums(const LogitRows& in, float inverse_temperature, float* sums, int64_t first,
              int64_t last) {
  ISOGRID_BY_ANY_ELEMENT(in.element,
                         log_sums_of_rows<T>(in, inverse_temperature, sums, first, last))
}

void softmaxes(const LogitRows& in, const ScaledSoftmax& one, const ScaledSoftmax* other,
               int64_t first, int64_t last) {
  ISOGRID_BY_ANY_ELEMENT(in.element, soften_rows<T>(in, one, other, first, last))
}

}  // namespace

extern const CrossEntropyKernels cross_entropy_table;
const CrossEntropyKernels cross_entropy_table = {losses, differentiate, log_sums, softmaxes};

}  // namespace isogrid::kernels::ISOGRID_ISA
