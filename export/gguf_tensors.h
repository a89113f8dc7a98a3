#pragma once
#include <ATen/core/Tensor.h>

#include <span>
#include <string>

#include "core/gguf.h"
#include "core/io_writer.h"

namespace isogrid {

/// Appends a tensor's rows as blocks of `type`, a stretch of rows at a time and several threads at
/// once; the bytes do not depend on either. `importance` has one weight for each column or is
/// empty. Values that are not finite, or that the type cannot hold, are refused (80) with `name`.
void append_rows(const at::Tensor& value, const GgufType& type, std::span<const float> importance,
                 const std::string& name, OutputFile& file);

/// Rows [heads * size, ...] in the order of a file whose heads alternate between their halves:
/// first of the first half, first of the second, ...
at::Tensor interleaved_heads(const at::Tensor& value, int64_t heads);
/// The other way.
at::Tensor halved_heads(const at::Tensor& value, int64_t heads);

}  // namespace isogrid
