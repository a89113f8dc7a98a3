#include <algorithm>

#include "kernels/attention.h"

namespace isogrid::kernels {
namespace {

/// Rows (queries times the heads of a group) that share a block of keys while it is packed.
constexpr int64_t kRowsPerPiece = 256;
/// Queries and keys of a backward piece; longer documents take several waves.
constexpr int64_t kTokensPerBackwardPiece = 512;

int64_t cost(const AttentionPiece& piece) {
  const int64_t past = piece.span.keys - piece.span.queries;
  return (piece.query_end - piece.query_begin) * (past + piece.query_end - piece.key_begin);
}

void sort_by_cost(std::vector<AttentionPiece>& pieces) {
  std::stable_sort(
      pieces.begin(), pieces.end(),
      [](const AttentionPiece& a, const AttentionPiece& b) { return cost(a) > cost(b); });
}

}  // namespace

std::vector<AttentionPiece> attention_pieces(const AttentionShape& shape,
                                             const std::vector<AttentionSpan>& spans) {
  const int64_t group = shape.heads / shape.kv_heads;
  const int64_t queries = std::max<int64_t>(1, kRowsPerPiece / group);
  std::vector<AttentionPiece> pieces;
  for (const AttentionSpan& span : spans)
    for (int64_t begin = 0; begin < span.queries; begin += queries)
      for (int64_t kv_head = 0; kv_head < shape.kv_heads; ++kv_head) {
        const int64_t end = std::min(span.queries, begin + queries);
        pieces.push_back({span, kv_head, begin, end, 0, span.keys - span.queries + end});
      }
  sort_by_cost(pieces);
  return pieces;
}

std::vector<std::vector<AttentionPiece>> attention_backward_waves(
    const AttentionShape& shape, const std::vector<AttentionSpan>& spans) {
  // Wave w pairs the queries of chunk c + w with the keys of chunk c: no two pieces of a wave
  // share queries or keys, and every sum begins in wave 0.
  std::vector<std::vector<AttentionPiece>> waves;
  const int64_t size = kTokensPerBackwardPiece;
  for (const AttentionSpan& span : spans)
    for (int64_t query = 0; query < span.queries; query += size)
      for (int64_t key = 0; key <= query; key += size) {
        if (shape.window > 0 && query - (key + size - 1) >= shape.window) continue;
        const auto wave = static_cast<size_t>((query - key) / size);
        if (wave >= waves.size()) waves.resize(wave + 1);
        for (int64_t kv_head = 0; kv_head < shape.kv_heads; ++kv_head)
          waves[wave].push_back({span, kv_head, query, std::min(span.queries, query + size), key,
                                 std::min(span.keys, key + size), wave > 0});
      }
  for (auto& wave : waves) sort_by_cost(wave);
  return waves;
}

}  // namespace isogrid::kernels
