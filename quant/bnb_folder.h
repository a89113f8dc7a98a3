#pragma once
#include "quant/registry.h"

namespace isogrid {

/// A folder saved by transformers with bitsandbytes: four bits with their statistics beside them,
/// or eight-bit rows. Which linears are quantised is told by the tensors that are there.
std::shared_ptr<const QuantisedFolder> bnb_folder(const Json& quantization,
                                                  const std::string& where);

}  // namespace isogrid
