// Compiled once per instruction set, with ISOGRID_ISA naming the namespace.
#include "kernels/attention.h"
#include "kernels/intrinsics.h"

namespace isogrid::kernels::ISOGRID_ISA {
namespace {

#include "kernels/cpu_vector.inc"
#include "kernels/tile_product.inc"

constexpr int64_t kKeysPerBlock = kPanel;
constexpr int64_t kQueriesPerUnit = 64;
constexpr float kHidden = -__builtin_inff();

int64_t padded(int64_t n) { return (n + kPanel - 1) / kPanel * kPanel; }
int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/// A unit is one key head and a run of queries, for all query heads that share the key head: each
/// packed block of keys then serves heads / kv_heads times as many rows.
struct Unit {
  int64_t kv_head, begin, end;  // queries [begin, end)
  int64_t rows(const AttentionShape& s) const { return (end - begin) * (s.heads / s.kv_heads); }
};

int64_t runs(const AttentionShape& s) {
  return (s.queries + kQueriesPerUnit - 1) / kQueriesPerUnit;
}

Unit unit_at(const AttentionShape& s, int64_t index) {
  // Late queries see more keys: a late run and an early one in turn, so that threads which take
  // equal shares of the units end together.
  const int64_t turn = index / s.kv_heads;
  const int64_t run = turn % 2 == 0 ? runs(s) - 1 - turn / 2 : turn / 2;
  const int64_t begin = run * kQueriesPerUnit;
  return {index % s.kv_heads, begin, smaller(s.queries, begin + kQueriesPerUnit)};
}

/// One thread's working memory; all float32.
struct Scratch {
  float* queries;  // [rows, head_dim], scaled
  float* keys;     // [head_dim, kPanel], a block of keys turned
  float* values;   // [padded head_dim / kPanel][kKeysPerBlock, kPanel]
  float* scores;   // [rows, kPanel]
  float* sums;     // [rows, padded head_dim], the output before the last division
  float* highest;  // [rows]
  float* weight;   // [rows]
};

int64_t most_rows(const AttentionShape& s) { return kQueriesPerUnit * (s.heads / s.kv_heads); }

int64_t scratch_floats(const AttentionShape& s) {
  const int64_t rows = most_rows(s), wide = padded(s.head_dim);
  return rows * s.head_dim + s.head_dim * kPanel + kKeysPerBlock * wide + rows * kPanel +
         rows * wide + 2 * rows;
}

Scratch carve(const AttentionShape& s, float* memory) {
  const int64_t rows = most_rows(s), wide = padded(s.head_dim);
  Scratch scratch;
  scratch.queries = memory;
  scratch.keys = scratch.queries + rows * s.head_dim;
  scratch.values = scratch.keys + s.head_dim * kPanel;
  scratch.scores = scratch.values + kKeysPerBlock * wide;
  scratch.sums = scratch.scores + rows * kPanel;
  scratch.highest = scratch.sums + rows * wide;
  scratch.weight = scratch.highest + rows;
  return scratch;
}

/// Row of a unit: query i of head h within the group is row i * group + h.
template <typename T>
void gather_queries(const AttentionShape& s, const Unit& unit, const T* q, float* to) {
  const int64_t group = s.heads / s.kv_heads;
  for (int64_t i = unit.begin; i < unit.end; ++i)
    for (int64_t h = 0; h < group; ++h) {
      const T* from = q + (i * s.heads + unit.kv_head * group + h) * s.head_dim;
      for_lanes(s.head_dim,
                [&](int64_t c, int64_t n) { store(to + c, load(from + c, n) * s.scale, n); });
      to += s.head_dim;
    }
}

/// Keys turned to [head_dim, kPanel] and values to panels; what lies beyond the block is zero.
template <typename T>
void pack_block(const AttentionShape& s, const Unit& unit, const T* k, const T* v, int64_t first,
                int64_t count, const Scratch& to) {
  const int64_t stride = s.kv_heads * s.head_dim, offset = unit.kv_head * s.head_dim;
  for (int64_t j = 0; j < kKeysPerBlock; ++j) {
    const bool there = j < count;
    const T* key = k + (first + (there ? j : 0)) * stride + offset;
    for (int64_t d = 0; d < s.head_dim; ++d)
      to.keys[d * kPanel + j] = there ? load_one(key + d) : 0.0f;
    const T* value = v + (first + (there ? j : 0)) * stride + offset;
    for (int64_t d = 0; d < s.head_dim; d += kLanes) {
      const int64_t n = smaller(kLanes, s.head_dim - d);
      const Lanes lanes = there ? load(value + d, n) : Lanes{};
      store(to.values + (d / kPanel) * kKeysPerBlock * kPanel + j * kPanel + d % kPanel, lanes);
    }
  }
}

/// Takes a block's scores of one row into its running softmax: scores become weights, what was
/// summed before shrinks by the change of the maximum.
void fold_row(float* scores, float* sums, float& highest, float& weight, int64_t wide) {
  Lanes top = splat(kHidden);
  for (int64_t c = 0; c < kPanel; c += kLanes) {
    const Lanes v = load(scores + c);
    top = v > top ? v : top;
  }
  float block_highest = kHidden;
  for (int i = 0; i < kLanes; ++i) block_highest = top[i] > block_highest ? top[i] : block_highest;
  const float now = block_highest > highest ? block_highest : highest;
  if (now == kHidden) {  // nothing visible yet
    for (int64_t c = 0; c < kPanel; c += kLanes) store(scores + c, Lanes{});
    return;
  }
  Lanes total{};
  for (int64_t c = 0; c < kPanel; c += kLanes) {
    const Lanes v = load(scores + c);
    const Lanes shares = v == splat(kHidden) ? Lanes{} : exp_lanes(v - now);
    store(scores + c, shares);
    total += shares;
  }
  const float shrink = highest == kHidden ? 0.0f : exp_lanes(splat(highest - now))[0];
  if (shrink != 1.0f)
    for (int64_t c = 0; c < wide; c += kLanes) store(sums + c, load(sums + c) * shrink);
  weight = weight * shrink + sum(total);
  highest = now;
}

/// Minus infinity where the query at `position` may not see a key of the block.
void hide(const AttentionShape& s, float* scores, int64_t position, int64_t first) {
  const int64_t oldest = s.window > 0 ? position - s.window + 1 : 0;
  for (int64_t j = 0; j < kKeysPerBlock; ++j)
    if (first + j > position || first + j < oldest) scores[j] = kHidden;
}

template <typename T>
void attend_unit(const AttentionShape& s, const Unit& unit, const T* q, const T* k, const T* v,
                 T* out, float* log_sum_exp, const Scratch& scratch) {
  const int64_t group = s.heads / s.kv_heads, rows = unit.rows(s), wide = padded(s.head_dim);
  const int64_t past = s.keys - s.queries;
  gather_queries(s, unit, q, scratch.queries);
  for (int64_t i = 0; i < rows * wide; i += kLanes) store(scratch.sums + i, Lanes{});
  for (int64_t r = 0; r < rows; ++r) {
    scratch.highest[r] = kHidden;
    scratch.weight[r] = 0.0f;
  }

  const int64_t oldest = s.window > 0 ? larger(0, past + unit.begin - s.window + 1) : 0;
  const int64_t last_key = past + unit.end;  // one beyond
  for (int64_t first = oldest / kKeysPerBlock * kKeysPerBlock; first < last_key;
       first += kKeysPerBlock) {
    const int64_t count = smaller(kKeysPerBlock, last_key - first);
    pack_block(s, unit, k, v, first, count, scratch);
    product(scratch.queries, s.head_dim, scratch.keys, rows, s.head_dim, kPanel, scratch.scores,
            kPanel, /*add=*/false);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t position = past + unit.begin + r / group;
      if (first + kKeysPerBlock > position + 1 || s.window > 0)
        hide(s, scratch.scores + r * kPanel, position, first);
      fold_row(scratch.scores + r * kPanel, scratch.sums + r * wide, scratch.highest[r],
               scratch.weight[r], wide);
    }
    for (int64_t panel = 0; panel * kPanel < s.head_dim; ++panel)
      product(scratch.scores, kPanel, scratch.values + panel * kKeysPerBlock * kPanel, rows, count,
              smaller(kPanel, s.head_dim - panel * kPanel), scratch.sums + panel * kPanel, wide,
              /*add=*/true);
  }

  for (int64_t r = 0; r < rows; ++r) {
    const int64_t query = unit.begin + r / group, head = unit.kv_head * group + r % group;
    const float share = 1.0f / scratch.weight[r];
    T* to = out + (query * s.heads + head) * s.head_dim;
    const float* from = scratch.sums + r * wide;
    for_lanes(s.head_dim, [&](int64_t c, int64_t n) { store(to + c, load(from + c) * share, n); });
    if (log_sum_exp != nullptr)
      log_sum_exp[head * s.queries + query] =
          scratch.highest[r] + __builtin_logf(scratch.weight[r]);
  }
}

int64_t count_units(const AttentionShape& s) { return runs(s) * s.kv_heads; }

void forward(Element element, const AttentionShape& s, const void* q, const void* k, const void* v,
             void* out, float* log_sum_exp, float* scratch, int64_t first, int64_t last) {
  const Scratch carved = carve(s, scratch);
  for (int64_t index = first; index < last; ++index) {
    const Unit unit = unit_at(s, index);
    if (element == Element::f32)
      attend_unit(s, unit, static_cast<const float*>(q), static_cast<const float*>(k),
                  static_cast<const float*>(v), static_cast<float*>(out), log_sum_exp, carved);
    else
      attend_unit(s, unit, static_cast<const Bf16*>(q), static_cast<const Bf16*>(k),
                  static_cast<const Bf16*>(v), static_cast<Bf16*>(out), log_sum_exp, carved);
  }
}

}  // namespace

extern const AttentionKernels attention_table;
const AttentionKernels attention_table = {count_units, scratch_floats, forward};

}  // namespace isogrid::kernels::ISOGRID_ISA
