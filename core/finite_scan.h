#pragma once
#include <cstdint>
#include <optional>

#include "core/dtype.h"
#include "core/io.h"

namespace isogrid {

/// The index of the first NaN or infinity among the elements of a tensor's bytes, if there is
/// one. Integer types have none; nor do F4 and F6.
std::optional<uint64_t> first_non_finite(Dtype dtype, ByteSpan bytes);

}  // namespace isogrid
