// Compiled once per instruction set, with ISOGRID_ISA naming the namespace.
//
// With P the probabilities, dP = dO V^T and delta = rowsum(dO * O):
//   dV = P^T dO,  dS = P * (dP - delta),  dQ = scale dS K,  dK = scale dS^T Q.
#include "kernels/attention.h"
#include "kernels/intrinsics.h"

namespace isogrid::kernels::ISOGRID_ISA {
namespace {

#include "kernels/attention_tiles.inc"

/// As in the forward pass, a tile has the queries side by side. `rows` are queries times heads of
/// the group; "turned" is [panels][depth, kPanel], "deep" has its words along the rows or keys.
struct BackwardScratch {
  int64_t rows, panels, keys, depth, wide;
  float *turned_q, *turned_d_out;          // [panels][depth, kPanel]
  float *deep_q, *deep_d_out;              // [panels][words of kPanel, wide]
  float *k, *v;                            // [keys, depth]
  float* deep_k;                           // [words of keys, wide]
  float *d_q, *d_k, *d_v;                  // sums: [rows, wide], [keys, wide], [keys, wide]
  float *log_sum_exp, *delta, *positions;  // [rows]; the first in powers of two
  float *shares, *d_scores;                // [kKeysPerBlock, kPanel]: scores and dP become P and dS
  float *share_words, *d_score_words;      // the same as words along the rows
  float* deep_d_scores;                    // dS as words along the keys
  int64_t floats;

  template <typename Words>
  static BackwardScratch carve(const AttentionShape& s, const AttentionPiece& piece,
                               float* memory) {
    BackwardScratch to;
    Carver carver{memory};
    to.rows = (piece.query_end - piece.query_begin) * (s.heads / s.kv_heads);
    to.panels = (to.rows + kPanel - 1) / kPanel;
    to.keys = piece.key_end - piece.key_begin;
    to.depth = words_of<Words>(s.head_dim);
    to.wide = whole_lanes(s.head_dim);
    const int64_t padded_rows = to.panels * kPanel;
    for (float** turned : {&to.turned_q, &to.turned_d_out})
      *turned = carver.take(padded_rows * to.depth);
    for (float** deep : {&to.deep_q, &to.deep_d_out})
      *deep = carver.take(words_of<Words>(padded_rows) * to.wide);
    for (float** packed : {&to.k, &to.v}) *packed = carver.take(larger(to.keys, kPanel) * to.depth);
    to.deep_k = carver.take(words_of<Words>(to.keys) * to.wide);
    to.d_q = carver.take(padded_rows * to.wide);
    for (float** sum : {&to.d_k, &to.d_v}) *sum = carver.take(to.keys * to.wide);
    for (float** row : {&to.log_sum_exp, &to.delta, &to.positions}) *row = carver.take(padded_rows);
    for (float** tile : {&to.shares, &to.d_scores}) *tile = carver.take(kKeysPerBlock * kPanel);
    to.share_words = to.shares;
    to.d_score_words = to.deep_d_scores = to.d_scores;
    if (Words::kNumbers == 2)
      for (float** words : {&to.share_words, &to.d_score_words, &to.deep_d_scores})
        *words = carver.take(kKeysPerBlock * kPanel / 2);
    to.floats = carver.used;
    return to;
  }
};

inline void clear(float* numbers, int64_t count) {
  for (int64_t i = 0; i < whole_lanes(count); i += kLanes) store(numbers + i, Lanes{});
}

/// Both forms of a matrix of rows. `packed` has room for a panel.
template <typename Words, typename T>
void pack_both(const HeadRows<const T>& from, const BackwardScratch& scratch, float* packed,
               float* turned, float* deep) {
  for (int64_t panel = 0; panel < scratch.panels; ++panel) {
    const int64_t first = panel * kPanel, count = smaller(kPanel, scratch.rows - first);
    pack_rows<Words>(from, first, count, packed);
    turn_rows(packed, count, scratch.depth, turned + first * scratch.depth);
    pack_depth<Words>(from, first, count, scratch.wide,
                      deep + words_of<Words>(first) * scratch.wide);
  }
}

template <typename Words, typename T>
void begin_backward(const AttentionShape& s, const AttentionPiece& piece, const AttentionInputs& in,
                    const BackwardScratch& scratch) {
  const auto rows_of = [&](const void* x) {
    return query_rows(s, piece, static_cast<const T*>(x));
  };
  pack_both<Words>(rows_of(in.q), scratch, scratch.k, scratch.turned_q, scratch.deep_q);
  pack_both<Words>(rows_of(in.d_out), scratch, scratch.k, scratch.turned_d_out, scratch.deep_d_out);
  const auto keys = key_rows(s, piece, static_cast<const T*>(in.k));
  pack_rows<Words>(keys, piece.key_begin, scratch.keys, scratch.k);
  pack_rows<Words>(key_rows(s, piece, static_cast<const T*>(in.v)), piece.key_begin, scratch.keys,
                   scratch.v);
  pack_depth<Words>(keys, piece.key_begin, scratch.keys, scratch.wide, scratch.deep_k);
  clear(scratch.d_q, scratch.panels * kPanel * scratch.wide);
  clear(scratch.d_k, scratch.keys * scratch.wide);
  clear(scratch.d_v, scratch.keys * scratch.wide);
  clear(scratch.log_sum_exp, scratch.panels * kPanel);
  clear(scratch.delta, scratch.panels * kPanel);
  fill_positions(s, piece, scratch.panels * kPanel, scratch.positions);

  const int64_t group = s.heads / s.kv_heads;
  const int64_t token = piece.span.first_query + piece.query_begin;
  const HeadRows<const T> out = rows_of(in.out), d_out = rows_of(in.d_out);
  for (int64_t r = 0; r < scratch.rows; ++r) {
    Lanes products{};
    for_lanes(s.head_dim, [&](int64_t c, int64_t n) {
      products += load(out.row(r) + c, n) * load(d_out.row(r) + c, n);
    });
    scratch.delta[r] = sum(products);
    scratch.log_sum_exp[r] =
        kLog2E * in.log_sum_exp[(token + r / group) * s.heads + piece.kv_head * group + r % group];
  }
}

/// P and dS of one key and sixteen rows.
inline void differentiate(const AttentionShape& s, const Tile& tile, const BackwardScratch& scratch,
                          int64_t j, int64_t r, Lanes& share, Lanes& d_score) {
  const int64_t row = tile.panel * kPanel + r, at = j * kPanel + r;
  share =
      exp2_lanes(load(scratch.shares + at) * (s.scale * kLog2E) - load(scratch.log_sum_exp + row));
  if (tile.masked)
    share = hidden_key(s, scratch.positions + row, tile.first_key + j) ? Lanes{} : share;
  d_score = share * (load(scratch.d_scores + at) - load(scratch.delta + row));
}

/// Scores and dP of a tile become P and dS, in the words that the products want.
template <typename Words>
void differentiate_tile(const AttentionShape& s, const Tile& tile, const BackwardScratch& scratch) {
  if constexpr (Words::kNumbers == 1) {
    for (int64_t j = 0; j < tile.keys; ++j)
      for (int64_t r = 0; r < tile.rows; r += kLanes) {
        Lanes share, d_score;
        differentiate(s, tile, scratch, j, r, share, d_score);
        store(scratch.shares + j * kPanel + r, share);
        store(scratch.d_scores + j * kPanel + r, d_score);
      }
  } else {
    for (int64_t j = 0; j < tile.keys; j += 2)
      for (int64_t r = 0; r < tile.rows; r += 2 * kLanes) {
        Lanes shares[2][2], d_scores[2][2];  // of two keys and twice sixteen rows
        for (int64_t key = 0; key < 2; ++key)
          for (int64_t half = 0; half < 2; ++half)
            if (j + key < tile.keys)
              differentiate(s, tile, scratch, j + key, r + half * kLanes, shares[key][half],
                            d_scores[key][half]);
            else
              shares[key][half] = d_scores[key][half] = Lanes{};
        for (int64_t key = 0; key < 2; ++key) {
          const int64_t at = (j + key) * (kPanel / 2) + r / 2;
          store(scratch.share_words + at, Words::joined(shares[key][0], shares[key][1]));
          store(scratch.d_score_words + at, Words::joined(d_scores[key][0], d_scores[key][1]));
        }
        for (int64_t half = 0; half < 2; ++half)
          store(scratch.deep_d_scores + j / 2 * kPanel + r + half * kLanes,
                Words::paired(d_scores[0][half], d_scores[1][half]));
      }
  }
}

/// What one tile adds to dQ, dK and dV.
template <typename Words>
void add_tile(const AttentionShape& s, const Tile& tile, int64_t key,
              const BackwardScratch& scratch) {
  const int64_t row = tile.panel * kPanel, wide = scratch.wide, depth = scratch.depth;
  product<Words>({scratch.k + key * depth, depth, 1}, scratch.turned_q + row * depth, kPanel,
                 tile.keys, depth, tile.rows, scratch.shares, kPanel, /*add=*/false);
  product<Words>({scratch.v + key * depth, depth, 1}, scratch.turned_d_out + row * depth, kPanel,
                 tile.keys, depth, tile.rows, scratch.d_scores, kPanel, /*add=*/false);
  differentiate_tile<Words>(s, tile, scratch);
  const int64_t deep_row = words_of<Words>(row) * wide, row_words = words_of<Words>(kPanel);
  product<Words>({scratch.share_words, row_words, 1}, scratch.deep_d_out + deep_row, wide,
                 tile.keys, words_of<Words>(tile.rows), s.head_dim, scratch.d_v + key * wide, wide,
                 /*add=*/true);
  product<Words>({scratch.d_score_words, row_words, 1}, scratch.deep_q + deep_row, wide, tile.keys,
                 words_of<Words>(tile.rows), s.head_dim, scratch.d_k + key * wide, wide,
                 /*add=*/true);
  product<Words>({scratch.deep_d_scores, 1, kPanel}, scratch.deep_k + words_of<Words>(key) * wide,
                 wide, tile.rows, words_of<Words>(tile.keys), s.head_dim, scratch.d_q + row * wide,
                 wide, /*add=*/true);
}

template <typename T>
void write_rows(const HeadRows<T>& to, int64_t first, int64_t rows, const float* sums, int64_t wide,
                float scale, bool adds) {
  for (int64_t r = 0; r < rows; ++r) {
    T* row = to.row(first + r);
    for_lanes(to.head_dim, [&](int64_t c, int64_t n) {
      const Lanes gradient = load(sums + r * wide + c) * scale;
      store(row + c, adds ? load(row + c, n) + gradient : gradient, n);
    });
  }
}

template <typename T>
void write_all_rows(const AttentionShape& s, const AttentionPiece& piece,
                    const AttentionGradients& gradients, const BackwardScratch& scratch) {
  write_rows(query_rows(s, piece, static_cast<T*>(gradients.q)), 0, scratch.rows, scratch.d_q,
             scratch.wide, s.scale, piece.adds);
  write_rows(key_rows(s, piece, static_cast<T*>(gradients.k)), piece.key_begin, scratch.keys,
             scratch.d_k, scratch.wide, s.scale, piece.adds);
  write_rows(key_rows(s, piece, static_cast<T*>(gradients.v)), piece.key_begin, scratch.keys,
             scratch.d_v, scratch.wide, 1.0f, piece.adds);
}

void write_gradients(const AttentionShape& s, const AttentionPiece& piece,
                     const AttentionGradients& gradients, const BackwardScratch& scratch) {
  ISOGRID_BY_ANY_ELEMENT(gradients.element, write_all_rows<T>(s, piece, gradients, scratch))
}

template <typename Words, typename T>
void backward_piece(const AttentionShape& s, const AttentionPiece& piece, const AttentionInputs& in,
                    const AttentionGradients& gradients, float* memory) {
  const BackwardScratch scratch = BackwardScratch::carve<Words>(s, piece, memory);
  begin_backward<Words, T>(s, piece, in, scratch);
  for (int64_t key = 0; key < scratch.keys; key += kKeysPerBlock) {
    const int64_t first = piece.key_begin + key;
    const int64_t end = smaller(piece.key_end, first + kKeysPerBlock);
    for (int64_t panel = 0; panel < scratch.panels; ++panel) {
      const Tile tile = tile_of(s, piece, panel, first, end);
      if (tile.keys > 0) add_tile<Words>(s, tile, key, scratch);
    }
  }
  write_gradients(s, piece, gradients, scratch);
}

/// Pairs need less.
int64_t scratch_floats(const AttentionShape& s, const AttentionPiece& piece) {
  return BackwardScratch::carve<FloatWords>(s, piece, nullptr).floats + 2 * kKeysPerBlock * kPanel;
}

void backward(Element element, const AttentionShape& s, const AttentionPiece& piece,
              const AttentionInputs& in, const AttentionGradients& gradients, float* scratch) {
  ISOGRID_BY_ANY_ELEMENT(element, (backward_piece<WordsOf<T>, T>(s, piece, in, gradients, scratch)))
}

}  // namespace

extern const AttentionBackwardKernels attention_backward_table;
const AttentionBackwardKernels attention_backward_table = {scratch_floats, backward};

}  // namespace isogrid::kernels::ISOGRID_ISA
