#include "core/tensor_file.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "core/error.h"

namespace isogrid {
namespace {

struct TypePair {
  Dtype dtype;
  at::ScalarType scalar;
};

constexpr std::array<TypePair, 19> kTypePairs{{
    {Dtype::boolean, at::kBool},
    {Dtype::u8, at::kByte},
    {Dtype::i8, at::kChar},
    {Dtype::f8_e5m2, at::kFloat8_e5m2},
    {Dtype::f8_e4m3, at::kFloat8_e4m3fn},
    {Dtype::f8_e8m0, at::kFloat8_e8m0fnu},
    {Dtype::f8_e4m3fnuz, at::kFloat8_e4m3fnuz},
    {Dtype::f8_e5m2fnuz, at::kFloat8_e5m2fnuz},
    {Dtype::i16, at::kShort},
    {Dtype::u16, at::kUInt16},
    {Dtype::f16, at::kHalf},
    {Dtype::bf16, at::kBFloat16},
    {Dtype::i32, at::kInt},
    {Dtype::u32, at::kUInt32},
    {Dtype::f32, at::kFloat},
    {Dtype::c64, at::kComplexFloat},
    {Dtype::f64, at::kDouble},
    {Dtype::i64, at::kLong},
    {Dtype::u64, at::kUInt64},
}};

}  // namespace

at::ScalarType scalar_type(Dtype dtype) {
  const auto* found = std::find_if(kTypePairs.begin(), kTypePairs.end(),
                                   [&](const TypePair& pair) { return pair.dtype == dtype; });
  if (found == kTypePairs.end())
    fail(ExitCode::refused_input, "dtype ", dtype_name(dtype), " cannot be loaded as a tensor");
  return found->scalar;
}

Dtype dtype_of(at::ScalarType type) {
  const auto* found = std::find_if(kTypePairs.begin(), kTypePairs.end(),
                                   [&](const TypePair& pair) { return pair.scalar == type; });
  if (found == kTypePairs.end())
    fail(ExitCode::internal, "tensors of ", at::toString(type), " cannot be stored");
  return found->dtype;
}

at::Tensor view_tensor(const std::shared_ptr<const SafetensorsFile>& file,
                       const TensorEntry& entry) {
  const at::ScalarType type = scalar_type(entry.dtype);
  const ByteSpan bytes = file->bytes(entry);
  const auto address = reinterpret_cast<uintptr_t>(bytes.data());
  if (bytes.empty() || address % c10::elementSize(type) != 0) {
    at::Tensor copy = at::empty(entry.shape, at::TensorOptions().dtype(type));
    if (!bytes.empty()) std::memcpy(copy.mutable_data_ptr(), bytes.data(), bytes.size());
    return copy;
  }
  // The mapping is private and copy-on-write, so handing out a mutable pointer is honest.
  return at::from_blob(
      const_cast<std::byte*>(bytes.data()), entry.shape, [file](void*) {},
      at::TensorOptions().dtype(type));
}

std::vector<NamedTensor> read_tensors(const std::string& path) {
  const auto file = std::make_shared<const SafetensorsFile>(path);
  std::vector<NamedTensor> tensors;
  for (const TensorEntry& entry : file->header().tensors())
    tensors.push_back({entry.name, view_tensor(file, entry)});
  std::sort(tensors.begin(), tensors.end(),
            [](const NamedTensor& a, const NamedTensor& b) { return a.name < b.name; });
  return tensors;
}

SafetensorsLayout plan_tensors(const std::vector<NamedTensor>& tensors,
                               const SafetensorsMetadata& metadata) {
  std::vector<TensorEntry> entries;
  entries.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors)
    entries.push_back(
        {.name = name, .dtype = dtype_of(tensor.scalar_type()), .shape = tensor.sizes().vec()});
  return plan_safetensors(std::move(entries), metadata);
}

TensorProducer tensor_producer(const std::vector<NamedTensor>& tensors) {
  std::unordered_map<std::string, at::Tensor> by_name;
  for (const auto& [name, tensor] : tensors) by_name.emplace(name, tensor);
  return [by_name = std::move(by_name)](const TensorEntry& entry, OutputFile& file) {
    const at::Tensor tensor = by_name.at(entry.name).detach().to(at::kCPU).contiguous();
    file.append({static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()});
  };
}

WrittenFile write_tensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                          const SafetensorsMetadata& metadata, IoCalls& io) {
  return write_safetensors(path, plan_tensors(tensors, metadata), tensor_producer(tensors), io);
}

}  // namespace isogrid
