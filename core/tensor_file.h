#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "core/safetensors_writer.h"

namespace isogrid {

/// F4 and F6 have no LibTorch type and are refused (65).
at::ScalarType scalar_type(Dtype dtype);
Dtype dtype_of(at::ScalarType type);

/// A CPU tensor over the file's own pages; the file stays mapped as long as the tensor lives.
/// Writing into it changes this process's copy of the page, not the file. Data that is not
/// aligned to its element is copied.
at::Tensor view_tensor(const std::shared_ptr<const SafetensorsFile>& file,
                       const TensorEntry& entry);

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

/// All tensors of a file, by name.
std::vector<NamedTensor> read_tensors(const std::string& path);

/// Any strides, any device; one tensor at a time is made contiguous on the CPU. Two names may not
/// share memory: the caller stores tied weights once.
WrittenFile write_tensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                          const SafetensorsMetadata& metadata = {{"format", "pt"}},
                          IoCalls& io = IoCalls::system());

/// The same into a file already open, for several files committed together.
SafetensorsLayout plan_tensors(const std::vector<NamedTensor>& tensors,
                               const SafetensorsMetadata& metadata = {{"format", "pt"}});
TensorProducer tensor_producer(const std::vector<NamedTensor>& tensors);

}  // namespace isogrid
