#include <ATen/TensorOperators.h>

#include <cmath>
#include <map>

#include "core/error.h"
#include "core/log.h"
#include "core/tensor_file.h"
#include "export/registry.h"
#include "models/folder_writer.h"

namespace isogrid {
namespace {

/// The first value that rounds to infinity in float16.
constexpr double kFirstTooLarge = 65520.0;
constexpr double kLargestHalf = 65504.0;

at::ScalarType published_type(const ExportTensor& tensor, const std::string& variant) {
  if (variant == "float32") return at::kFloat;
  if (variant == "bfloat16") return at::kBFloat16;
  return variant == "float16" ? at::kHalf : tensor.stored;
}

struct Overflow {
  int64_t count = 0, first = -1;
  double value = 0;
};

/// Finite values that float16 cannot hold.
Overflow overflow_of(const at::Tensor& value) {
  const at::Tensor wide = value.to(at::kFloat).abs();
  const at::Tensor too_large = wide.ge(kFirstTooLarge).logical_and(wide.isfinite()).reshape({-1});
  Overflow overflow;
  overflow.count = too_large.sum().item<int64_t>();
  if (overflow.count == 0) return overflow;
  overflow.first = too_large.to(at::kByte).argmax().item<int64_t>();
  overflow.value = value.reshape({-1})[overflow.first].to(at::kDouble).item<double>();
  return overflow;
}

/// Decides, before a byte is written, what the policy makes of each tensor.
class HalfPolicy {
 public:
  explicit HalfPolicy(const std::string& policy) : policy_(policy) {}

  at::ScalarType type_for(const ExportTensor& tensor, at::ScalarType wanted) {
    if (wanted != at::kHalf || tensor.stored == at::kHalf) return wanted;
    const Overflow overflow = overflow_of(tensor.value());
    if (overflow.count == 0) return wanted;
    if (policy_ == "refuse")
      fail(ExitCode::numeric, tensor.name, ": element ", overflow.first, " is ", overflow.value,
           ", and ", overflow.count,
           " of its values do not fit float16; fp16_overflow: clamp or "
           "keep-fp32 says what to do, bfloat16 holds them all");
    log_warning(concat(tensor.name, ": ", overflow.count, " values do not fit float16: ",
                       policy_ == "clamp" ? "clamped" : "the tensor stays in float32"));
    return policy_ == "clamp" ? wanted : at::kFloat;
  }
  at::Tensor rounded(const at::Tensor& value, at::ScalarType type) const {
    if (type == at::kHalf && value.scalar_type() != at::kHalf && policy_ == "clamp")
      return value.clamp(-kLargestHalf, kLargestHalf).to(type);
    return value.to(type);
  }

 private:
  std::string policy_;
};

Json config_of_type(const ExportSource& source, const std::string& variant) {
  Json config = published_config(source);
  if (!variant.empty()) config[config.contains("dtype") ? "dtype" : "torch_dtype"] = variant;
  return config;
}

}  // namespace

void write_hf(ExportSource& source, const ExportRequest& request) {
  HalfPolicy policy(request.config->fp16_overflow);
  const std::vector<ExportTensor> tensors = export_tensors(source);
  std::map<std::string, const ExportTensor*> by_name;
  std::vector<TensorEntry> entries;
  for (const ExportTensor& tensor : tensors) {
    const at::ScalarType type = policy.type_for(tensor, published_type(tensor, request.variant));
    TensorEntry entry;
    entry.name = tensor.name;
    entry.shape = tensor.shape;
    entry.dtype = dtype_of(type);
    entries.push_back(entry);
    by_name[tensor.name] = &tensor;
  }
  const TensorProducer produce = [&](const TensorEntry& entry, OutputFile& file) {
    const at::Tensor value =
        policy.rounded(by_name.at(entry.name)->value(), scalar_type(entry.dtype))
            .cpu()
            .contiguous();
    file.append({static_cast<const std::byte*>(value.const_data_ptr()), value.nbytes()});
  };
  write_weights(request.directory, std::move(entries), produce,
                static_cast<double>(request.config->export_size));
  write_model_folder_files(source.folder, config_of_type(source, request.variant),
                           request.directory);
}

}  // namespace isogrid
