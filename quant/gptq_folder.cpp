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

/// The bits whose packed columns of `inputs` codes have `words` words, those of the settings
/// before others; 0: none. Three bits come as 32 codes in three words.
int bits_of_column(int64_t words, int64_t inputs, int64_t expected) {
  int found = 0;
  for (const int bits : {2, 3, 4, 8}) {
    const int64_t whole = bits == 3 ? (inputs + 31) / 32 * 3 : (inputs * bits + 31) / 32;
    if (words != whole) continue;
    if (bits == expected) return bits;
    if (found == 0) found = bits;
  }
  return found;
}

/// `stored` [groups, words]: streams along the outputs -> uint8 [outputs, groups]. Files of the
/// first version hold every zero point less one.
at::Tensor zero_points(const at::Tensor& stored, int bits, int64_t outputs, bool first_version) {
  const int64_t groups = stored.size(0);
  at::Tensor zeros = at::empty({outputs, groups}, at::kByte);
  auto* to = zeros.mutable_data_ptr<uint8_t>();
  const at::Tensor words = stored.contiguous();
  for (int64_t group = 0; group < groups; ++group) {
    const auto* row = words.const_data_ptr<int32_t>() + group * words.size(1);
    for (int64_t n = 0; n < outputs; ++n) {
      const uint32_t field = bits_at(row, n * bits, bits) + (first_version ? 1 : 0);
      to[n * groups + group] = static_cast<uint8_t>(field & ((1u << bits) - 1));
    }
  }
  return zeros;
}

class GptqFolder final : public QuantisedFolder {
 public:
  GptqFolder(int64_t bits, int64_t group_size, bool first_version)
      : bits_(bits),
        group_size_(group_size),
        first_version_(first_version),
        name_(concat("gptq:", bits)) {}
  std::string_view name() const override { return name_; }

  std::shared_ptr<WeightSource> read(const std::string& name, int64_t outputs, int64_t inputs,
                                     const TensorLookup& find) const override {
    if (!find(name + ".qweight").defined()) return nullptr;
    const at::Tensor packed = required_part(find, name + ".qweight", {at::kInt}, {-1, outputs});
    PackedGroupParts parts;
    parts.outputs = outputs;
    parts.inputs = inputs;
    parts.bits = bits_of_column(packed.size(0), inputs, bits_);
    if (parts.bits == 0)
      fail(ExitCode::refused_input, name, ".qweight: has ", packed.size(0), " words for ", inputs,
           " inputs, which is none of 2, 3, 4 and 8 bits each");
    const at::Tensor scales = required_part(find, name + ".scales",
                                            {at::kHalf, at::kBFloat16, at::kFloat}, {-1, outputs});
    const int64_t groups = scales.size(0), zero_words = (outputs * parts.bits + 31) / 32;
    parts.group_size = grouping(name, groups, inputs, group_size_);
    const at::Tensor zeros =
        required_part(find, name + ".qzeros", {at::kInt}, {groups, zero_words});
    parts.codes = packed.t().contiguous().view(at::kByte);
    parts.scales = scales.t().contiguous();
    parts.zeros = zero_points(zeros, parts.bits, outputs, first_version_);
    if (find(name + ".g_idx").defined())
      parts.group_of = checked_groups(find, name + ".g_idx", inputs, groups);
    return std::make_shared<PackedGroupWeight>(simplified(std::move(parts)));
  }

 private:
  int64_t bits_, group_size_;
  bool first_version_;
  std::string name_;
};

}  // namespace

std::shared_ptr<const QuantisedFolder> gptq_folder(const Json& quantization,
                                                   const std::string& where) {
  const JsonFields fields(quantization, where + ": quantization_config");
  const std::string format =
      fields.string_or("checkpoint_format", fields.string_or("format", "gptq"));
  if (format != "gptq" && format != "gptq_v2")
    fail(ExitCode::refused_input, where, ": quantization_config: checkpoint_format: ", format,
         ": allowed are gptq and gptq_v2");
  return std::make_shared<GptqFolder>(fields.integer_or("bits", 4),
                                      fields.integer_or("group_size", -1), format == "gptq");
}

}  // namespace isogrid
