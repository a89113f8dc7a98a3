#pragma once
#include <ATen/core/Tensor.h>

#include "models/weight_index.h"

namespace isogrid {

/// A weight as it is stored: a view of the file's own pages where its values lie there plainly,
/// else (blocks of a GGUF file, heads whose rows alternate) decoded into float32.
at::Tensor stored_tensor(const WeightLocation& location);

}  // namespace isogrid
