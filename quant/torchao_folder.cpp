#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>

#include "core/error.h"
#include "core/json.h"
#include "quant/group_grid.h"
#include "quant/packed_folders.h"
#include "quant/stored_parts.h"

namespace isogrid {
namespace {

/// Codes int8 with a scale and a zero point for each block of a row: torchao's Int8Tensor and
/// IntxUnpackedToInt8Tensor. Codes of few bits are packed as they are read.
class TorchaoFolder final : public QuantisedFolder {
 public:
  explicit TorchaoFolder(int bits) : bits_(bits), name_(concat("torchao:", bits)) {}
  std::string_view name() const override { return name_; }

  std::shared_ptr<WeightSource> read(const std::string& name, int64_t outputs, int64_t inputs,
                                     const TensorLookup& find) const override {
    const std::string prefix = name + "._weight_";
    if (!find(prefix + "qdata").defined()) return nullptr;
    const int half = 1 << (bits_ - 1);
    const at::Tensor codes =
        shifted(prefix + "qdata",
                required_part(find, prefix + "qdata", {at::kChar}, {outputs, inputs}), half);
    const at::Tensor scales = required_part(find, prefix + "scale",
                                            {at::kHalf, at::kBFloat16, at::kFloat}, {outputs, -1});
    const int64_t groups = scales.size(1);
    if (groups == 0 || inputs % groups != 0)
      fail(ExitCode::refused_input, prefix, "scale: has ", groups, " scales for a row of ", inputs);
    at::Tensor zeros = at::full({outputs, groups}, half, at::kByte);
    if (find(prefix + "zero_point").defined())
      zeros =
          shifted(prefix + "zero_point",
                  required_part(find, prefix + "zero_point", {at::kChar}, {outputs, groups}), half);
    const GroupRule rule{.bits = bits_,
                         .group_size = inputs / groups,
                         .symmetric = true,
                         .scale_type = scales.scalar_type()};
    return std::make_shared<PackedGroupWeight>(
        packed_parts("torchao", rule, codes, scales.contiguous(), zeros));
  }

 private:
  /// -half ... half - 1 -> 0 ... 2 half - 1.
  static at::Tensor shifted(const std::string& name, const at::Tensor& codes, int half) {
    const at::Tensor raised = codes.to(at::kShort) + half;
    if (codes.numel() > 0 && (raised.min().item<int>() < 0 || raised.max().item<int>() >= 2 * half))
      fail(ExitCode::refused_input, name, ": holds codes outside ", -half, " to ", half - 1);
    return raised.to(at::kByte).contiguous();
  }

  int bits_;
  std::string name_;
};

int bits_of_type(const JsonFields& method, const char* key, const std::string& where) {
  const std::string type = method.object(key).string("_data");
  if (type.starts_with("int") && type.size() == 4 && type[3] >= '1' && type[3] <= '8') {
    const int bits = type[3] - '0';
    return bits <= 2 ? 2 : bits == 3 ? 3 : bits <= 4 ? 4 : 8;
  }
  fail(ExitCode::refused_input, where, ": ", key, ": ", type, ": allowed are int1 to int8");
}

}  // namespace

std::shared_ptr<const QuantisedFolder> torchao_folder(const Json& quantization,
                                                      const std::string& where) {
  const std::string place = where + ": quantization_config";
  const JsonFields method = JsonFields(quantization, place).object("quant_type").object("default");
  const std::string type = method.string("_type");
  if (type == "Int8WeightOnlyConfig" || type == "Int8DynamicActivationInt8WeightConfig")
    return std::make_shared<TorchaoFolder>(8);
  if (type == "IntxWeightOnlyConfig" || type == "Int8DynamicActivationIntxWeightConfig")
    return std::make_shared<TorchaoFolder>(
        bits_of_type(method.object("_data"), "weight_dtype", place));
  fail(ExitCode::refused_input, place, ": quant_type: ", type,
       ": this layout of torchao is not known here; known are Int8WeightOnlyConfig, "
       "Int8DynamicActivationInt8WeightConfig, IntxWeightOnlyConfig and "
       "Int8DynamicActivationIntxWeightConfig");
}

}  // namespace isogrid
