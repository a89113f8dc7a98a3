// Compiled once per instruction set, with ISOGRID_ISA naming the namespace.
#include "kernels/attention.h"
#include "kernels/intrinsics.h"

namespace isogrid::kernels::ISOGRID_ISA {
namespace {

#include "kernels/attention_tiles.inc"

/// Online softmax over blocks of keys. A tile of scores lies with the queries side by side, so that
/// maxima and sums over keys never cross lanes and only the queries, packed once, are turned.
struct ForwardScratch {
  int64_t rows, panels, depth, wide;  // rows of the piece; words of head_dim; its whole vectors
  float* queries;                     // [panels][depth, kPanel]
  float* packed;                      // [kPanel, depth], queries on their way there
  float* keys;                        // [kKeysPerBlock, depth]
  float* values;                      // [words of kKeysPerBlock, wide]
  float* scores;                      // [kKeysPerBlock, kPanel]
  float* shares;                      // the same as words along the keys
  float* sums;                        // [rows, wide], the output before the last division
  float* highest;                     // [rows]
  float* weight;                      // [rows]
  float* shrink;                      // [kPanel]
  float* positions;                   // [rows]
  int64_t floats;

  template <typename Words>
  static ForwardScratch carve(const AttentionShape& s, const AttentionPiece& piece, float* memory) {
    ForwardScratch to;
    Carver carver{memory};
    to.rows = (piece.query_end - piece.query_begin) * (s.heads / s.kv_heads);
    to.panels = (to.rows + kPanel - 1) / kPanel;
    to.depth = words_of<Words>(s.head_dim);
    to.wide = whole_lanes(s.head_dim);
    const int64_t padded_rows = to.panels * kPanel;
    to.queries = carver.take(padded_rows * to.depth);
    to.packed = carver.take(kPanel * to.depth);
    to.keys = carver.take(kKeysPerBlock * to.depth);
    to.values = carver.take(words_of<Words>(kKeysPerBlock) * to.wide);
    to.scores = carver.take(kKeysPerBlock * kPanel);
    to.shares =
        Words::kNumbers == 1 ? to.scores : carver.take(words_of<Words>(kKeysPerBlock) * kPanel);
    to.sums = carver.take(padded_rows * to.wide);
    to.highest = carver.take(padded_rows);
    to.weight = carver.take(padded_rows);
    to.shrink = carver.take(kPanel);
    to.positions = carver.take(padded_rows);
    to.floats = carver.used;
    return to;
  }
};

template <typename Words, typename T>
void begin_piece(const AttentionShape& s, const AttentionPiece& piece, const T* q,
                 const ForwardScratch& scratch) {
  const HeadRows<const T> rows = query_rows(s, piece, q);
  for (int64_t panel = 0; panel < scratch.panels; ++panel) {
    const int64_t count = smaller(kPanel, scratch.rows - panel * kPanel);
    pack_rows<Words>(rows, panel * kPanel, count, scratch.packed);
    turn_rows(scratch.packed, count, scratch.depth,
              scratch.queries + panel * kPanel * scratch.depth);
  }
  const int64_t padded_rows = scratch.panels * kPanel;
  for (int64_t i = 0; i < padded_rows * scratch.wide; i += kLanes) store(scratch.sums + i, Lanes{});
  for (int64_t i = 0; i < padded_rows; i += kLanes) {
    store(scratch.highest + i, splat(kHidden));
    store(scratch.weight + i, Lanes{});
  }
  fill_positions(s, piece, padded_rows, scratch.positions);
}

void hide_scores(const AttentionShape& s, const Tile& tile, const ForwardScratch& scratch) {
  for (int64_t j = 0; j < tile.keys; ++j)
    for (int64_t r = 0; r < tile.rows; r += kLanes) {
      const float* positions = scratch.positions + tile.panel * kPanel + r;
      float* at = scratch.scores + j * kPanel + r;
      store(at, hidden_key(s, positions, tile.first_key + j) ? splat(kHidden) : load(at));
    }
}

/// Takes sixteen rows of a tile into their running softmax: scores become shares of the highest
/// score so far; `shrink` is what its change makes of all that was summed before.
template <typename Words>
inline Lanes fold_lanes(const float* scores, int64_t keys, float exponent, float* highest,
                        float* weight, float* shares) {
  const Lanes before = load(highest);
  Lanes now = before;
  for (int64_t j = 0; j < keys; ++j) {
    const Lanes score = load(scores + j * kPanel);
    now = score > now ? score : now;
  }
  // A row that sees no key yet has minus infinity here; its shares must come out as zero.
  const Lanes base = now == splat(kHidden) ? Lanes{} : now;
  const Lanes shrink = exp2_lanes((before - base) * exponent);
  Lanes total{};
  for (int64_t j = 0; j < keys; j += Words::kNumbers) {
    const Lanes share = exp2_lanes((load(scores + j * kPanel) - base) * exponent);
    total += share;
    if constexpr (Words::kNumbers == 1) {
      store(shares + j * kPanel, share);
    } else {
      Lanes next{};
      if (j + 1 < keys) next = exp2_lanes((load(scores + (j + 1) * kPanel) - base) * exponent);
      total += next;
      store(shares + j / 2 * kPanel, Words::paired(share, next));
    }
  }
  store(highest, now);
  store(weight, load(weight) * shrink + total);
  return shrink;
}

template <typename Words>
void fold_tile(const AttentionShape& s, const Tile& tile, const ForwardScratch& scratch) {
  const float exponent = s.scale * kLog2E;
  const int64_t first = tile.panel * kPanel;
  for (int64_t r = 0; r < tile.rows; r += kLanes)
    store(scratch.shrink + r,
          fold_lanes<Words>(scratch.scores + r, tile.keys, exponent, scratch.highest + first + r,
                            scratch.weight + first + r, scratch.shares + r));
  for (int64_t r = 0; r < tile.rows; ++r) {
    const float shrink = scratch.shrink[r];
    if (shrink == 1.0f) continue;
    float* sums = scratch.sums + (first + r) * scratch.wide;
    for (int64_t c = 0; c < scratch.wide; c += kLanes) store(sums + c, load(sums + c) * shrink);
  }
}

template <typename T>
void finish_piece(const AttentionShape& s, const AttentionPiece& piece, T* out, float* log_sum_exp,
                  const ForwardScratch& scratch) {
  const int64_t group = s.heads / s.kv_heads;
  const HeadRows<T> rows = query_rows(s, piece, out);
  for (int64_t r = 0; r < scratch.rows; ++r) {
    const float share = 1.0f / scratch.weight[r];
    T* to = rows.row(r);
    const float* from = scratch.sums + r * scratch.wide;
    for_lanes(s.head_dim, [&](int64_t c, int64_t n) { store(to + c, load(from + c) * share, n); });
    if (log_sum_exp == nullptr) continue;
    const int64_t token = piece.span.first_query + piece.query_begin + r / group;
    log_sum_exp[token * s.heads + piece.kv_head * group + r % group] =
        scratch.highest[r] * s.scale + __builtin_logf(scratch.weight[r]);
  }
}

template <typename Words, typename T>
void attend_piece(const AttentionShape& s, const AttentionPiece& piece, const T* q, const T* k,
                  const T* v, T* out, float* log_sum_exp, float* memory) {
  const ForwardScratch scratch = ForwardScratch::carve<Words>(s, piece, memory);
  const HeadRows<const T> keys = key_rows(s, piece, k), values = key_rows(s, piece, v);
  begin_piece<Words>(s, piece, q, scratch);
  const int64_t first_position = piece.span.keys - piece.span.queries + piece.query_begin;
  const int64_t oldest = s.window > 0 ? larger(0, first_position - s.window + 1) : 0;
  for (int64_t first = oldest / kKeysPerBlock * kKeysPerBlock; first < piece.key_end;
       first += kKeysPerBlock) {
    const int64_t count = smaller(kKeysPerBlock, piece.key_end - first);
    pack_rows<Words>(keys, first, count, scratch.keys);
    pack_depth<Words>(values, first, count, scratch.wide, scratch.values);
    for (int64_t panel = 0; panel < scratch.panels; ++panel) {
      const Tile tile = tile_of(s, piece, panel, first, first + count);
      if (tile.keys == 0) continue;
      product<Words>({scratch.keys, scratch.depth, 1},
                     scratch.queries + panel * kPanel * scratch.depth, kPanel, tile.keys,
                     scratch.depth, tile.rows, scratch.scores, kPanel, /*add=*/false);
      if (tile.masked) hide_scores(s, tile, scratch);
      fold_tile<Words>(s, tile, scratch);
      product<Words>({scratch.shares, 1, kPanel}, scratch.values, scratch.wide, tile.rows,
                     words_of<Words>(tile.keys), s.head_dim,
                     scratch.sums + panel * kPanel * scratch.wide, scratch.wide, /*add=*/true);
    }
  }
  finish_piece(s, piece, out, log_sum_exp, scratch);
}

/// A little more than pairs need.
int64_t scratch_floats(const AttentionShape& s, const AttentionPiece& piece) {
  return ForwardScratch::carve<FloatWords>(s, piece, nullptr).floats + kKeysPerBlock * kPanel;
}

void forward(Element element, const AttentionShape& s, const AttentionPiece& piece,
             const AttentionInputs& in, void* out, float* log_sum_exp, float* scratch) {
  ISOGRID_BY_ANY_ELEMENT(
      element, (attend_piece<WordsOf<T>>(s, piece, static_cast<const T*>(in.q),
                                         static_cast<const T*>(in.k), static_cast<const T*>(in.v),
                                         static_cast<T*>(out), log_sum_exp, scratch)))
}

}  // namespace

extern const AttentionKernels attention_table;
const AttentionKernels attention_table = {scratch_floats, forward};

}  // namespace isogrid::kernels::ISOGRID_ISA
