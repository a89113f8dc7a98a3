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

}  // namespace isogrid
