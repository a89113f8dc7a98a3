#pragma once
#include <ATen/core/Tensor.h>

#include <memory>

#include "models/weight_index.h"
#include "quant/weight_source.h"

namespace isogrid {

/// A weight as it is stored: a view of the file's own pages where its values lie there plainly,
/// else (blocks of a GGUF file, heads whose rows alternate) decoded into float32.
at::Tensor stored_tensor(const WeightLocation& location);

/// The matrix as the blocks it is stored in; null where its values lie plainly.
std::shared_ptr<WeightSource> stored_blocks(const WeightLocation& location);

}  // namespace isogrid
