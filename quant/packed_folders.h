#pragma once
#include "quant/registry.h"

namespace isogrid {

/// Folders of GPTQ (both zero-point conventions, act-order, 2, 3, 4 and 8 bits), AWQ ("gemm", 4
/// bits) and compressed-tensors ("pack-quantized", 2, 3, 4 and 8 bits). Bits and groups are read
/// from the tensors' shapes, so folders that differ from layer to layer load too.
std::shared_ptr<const QuantisedFolder> gptq_folder(const Json& quantization,
                                                   const std::string& where);
std::shared_ptr<const QuantisedFolder> awq_folder(const Json& quantization,
                                                  const std::string& where);
std::shared_ptr<const QuantisedFolder> compressed_tensors_folder(const Json& quantization,
                                                                 const std::string& where);
/// torchao's int8 and intN weights, whose codes lie a byte each.
std::shared_ptr<const QuantisedFolder> torchao_folder(const Json& quantization,
                                                      const std::string& where);

}  // namespace isogrid
