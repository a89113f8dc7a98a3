#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "core/imatrix_file.h"
#include "models/causal_lm.h"

namespace isogrid {

struct ImatrixText {
  int64_t chunk_size = 512;         // tokens the model sees at once
  std::optional<int32_t> bos = {};  // put in the place of the first token of each piece
};

/// Runs the text through the model piece by piece and sums the squared inputs of every linear of
/// the blocks, over all tokens. What does not fill a piece is left out, unless it is all there is.
ImportanceMatrix compute_imatrix(CausalLm& model, const std::vector<int32_t>& ids,
                                 const ImatrixText& text,
                                 const std::function<void(int64_t done, int64_t all)>& progress);

}  // namespace isogrid
