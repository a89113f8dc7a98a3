#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "core/error.h"
#include "core/json.h"
#include "quant/bit_stream.h"
#include "quant/packed_folders.h"
#include "quant/packed_groups.h"
#include "quant/stored_parts.h"

namespace isogrid {
namespace {

/// `stored` [words, groups]: streams along the outputs -> uint8 [outputs, groups]; or int8 numbers
/// of either sign as older files have them.
at::Tensor signed_zero_points(const at::Tensor& stored, int bits, int64_t outputs) {
  const int64_t groups = stored.size(1);
  at::Tensor zeros = at::empty({outputs, groups}, at::kByte);
  auto* to = zeros.mutable_data_ptr<uint8_t>();
  if (stored.scalar_type() == at::kChar) {
    const at::Tensor plain = stored.contiguous();
    for (int64_t i = 0; i < plain.numel(); ++i)
      to[i] = static_cast<uint8_t>(plain.const_data_ptr<int8_t>()[i] + (1 << (bits - 1)));
    return zeros;
  }
  const at::Tensor columns = stored.t().contiguous();
  for (int64_t group = 0; group < groups; ++group) {
    const auto* column = columns.const_data_ptr<int32_t>() + group * columns.size(1);
    for (int64_t n = 0; n < outputs; ++n)
      to[n * groups + group] = static_cast<uint8_t>(bits_at(column, n * bits, bits));
  }
  return zeros;
}

class CompressedTensorsFolder final : public QuantisedFolder {
 public:
  CompressedTensorsFolder(int64_t bits, int64_t group_size)
      : bits_(bits), group_size_(group_size), name_(concat("ct:", bits)) {}
  std::string_view name() const override { return name_; }

  std::shared_ptr<WeightSource> read(const std::string& name, int64_t outputs, int64_t inputs,
                                     const TensorLookup& find) const override {
    if (!find(name + ".weight_packed").defined()) return nullptr;
    const at::Tensor packed =
        required_part(find, name + ".weight_packed", {at::kInt}, {outputs, -1});
    PackedGroupParts parts;
    parts.format = "ct";
    parts.outputs = outputs;
    parts.inputs = inputs;
    parts.bits = bits_of_row(packed.size(1), inputs);
    if (parts.bits == 0)
      fail(ExitCode::refused_input, name, ".weight_packed: has ", packed.size(1), " words for ",
           inputs, " inputs, which is none of 2, 3, 4 and 8 bits each");
    check_shape(name, outputs, inputs, find);
    parts.scales = required_part(find, name + ".weight_scale",
                                 {at::kHalf, at::kBFloat16, at::kFloat}, {outputs, -1})
                       .contiguous();
    parts.group_size = grouping(name, parts.groups(), inputs, group_size_);
    parts.codes = packed.contiguous().view(at::kByte);
    parts.zero = 1 << (parts.bits - 1);
    if (find(name + ".weight_zero_point").defined()) read_zero_points(parts, name, find);
    if (find(name + ".weight_g_idx").defined())
      parts.group_of = checked_groups(find, name + ".weight_g_idx", inputs, parts.groups());
    return std::make_shared<PackedGroupWeight>(simplified(std::move(parts)));
  }

 private:
  /// Those of the settings before others; 0: none fit.
  int bits_of_row(int64_t words, int64_t inputs) const {
    int found = 0;
    for (const int bits : {2, 3, 4, 8}) {
      if (words * 4 != packed_row_bytes(inputs, bits)) continue;
      if (bits == bits_) return bits;
      if (found == 0) found = bits;
    }
    return found;
  }
  static void check_shape(const std::string& name, int64_t outputs, int64_t inputs,
                          const TensorLookup& find) {
    const at::Tensor shape =
        required_part(find, name + ".weight_shape", {at::kLong, at::kInt}, {2}).to(at::kLong);
    const auto* size = shape.const_data_ptr<int64_t>();
    if (size[0] != outputs || size[1] != inputs)
      fail(ExitCode::refused_input, name, ".weight_shape: is [", size[0], ", ", size[1],
           "], config.json asks for [", outputs, ", ", inputs, "]");
  }
  static void read_zero_points(PackedGroupParts& parts, const std::string& name,
                               const TensorLookup& find) {
    const std::string zero_point = name + ".weight_zero_point";
    const bool plain = find(zero_point).scalar_type() == at::kChar;
    const int64_t rows = plain ? parts.outputs : (parts.outputs * parts.bits + 31) / 32;
    const at::Tensor stored =
        required_part(find, zero_point, {at::kInt, at::kChar}, {rows, parts.groups()});
    parts.zeros = signed_zero_points(stored, parts.bits, parts.outputs);
  }

  int64_t bits_, group_size_;
  std::string name_;
};

}  // namespace

std::shared_ptr<const QuantisedFolder> compressed_tensors_folder(const Json& quantization,
                                                                 const std::string& where) {
  const std::string place = where + ": quantization_config";
  const JsonFields fields(quantization, place);
  const std::string format = fields.string_or("format", "pack-quantized");
  if (format != "pack-quantized")
    fail(ExitCode::refused_input, place, ": format: ", format, ": allowed is pack-quantized");
  int64_t group_size = -1, bits = 4;
  const JsonFields groups = fields.object("config_groups");
  for (const auto& [name, group] : fields.value("config_groups").items()) {
    const JsonFields weights = groups.object(name.c_str()).object("weights");
    bits = weights.integer_or("num_bits", 4);
    group_size = weights.integer_or("group_size", -1);
  }
  return std::make_shared<CompressedTensorsFolder>(bits, group_size);
}

}  // namespace isogrid
