#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cctype>

#include "core/error.h"
#include "core/json.h"
#include "quant/packed_folders.h"
#include "quant/packed_groups.h"
#include "quant/stored_parts.h"

namespace isogrid {
namespace {

/// Which of eight neighbouring outputs the nibbles of a word hold, from the lowest one on.
constexpr int kAwqOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};

/// `packed` [inputs, outputs / 8] -> streams along the inputs, uint8 [outputs, row_bytes].
at::Tensor turned_codes(const at::Tensor& packed) {
  const at::Tensor words = packed.contiguous();
  const int64_t inputs = words.size(0), across = words.size(1);
  const int64_t row_bytes = packed_row_bytes(inputs, 4);
  at::Tensor codes = at::zeros({across * 8, row_bytes}, at::kByte);
  const auto* from = words.const_data_ptr<int32_t>();
  auto* to = codes.mutable_data_ptr<uint8_t>();
  at::parallel_for(0, across, 16, [&](int64_t first, int64_t last) {
    for (int64_t k = 0; k < inputs; ++k)
      for (int64_t c = first; c < last; ++c) {
        const auto word = static_cast<uint32_t>(from[k * across + c]);
        for (int i = 0; i < 8; ++i) {
          const uint32_t code = word >> (4 * i) & 15u;
          uint8_t& byte = to[(8 * c + kAwqOrder[i]) * row_bytes + k / 2];
          byte = static_cast<uint8_t>(byte | code << (k % 2 == 0 ? 0 : 4));
        }
      }
  });
  return codes;
}

/// `packed` [groups, outputs / 8] -> uint8 [outputs, groups].
at::Tensor turned_zeros(const at::Tensor& packed) {
  const at::Tensor words = packed.contiguous();
  const int64_t groups = words.size(0), across = words.size(1);
  at::Tensor zeros = at::empty({across * 8, groups}, at::kByte);
  auto* to = zeros.mutable_data_ptr<uint8_t>();
  for (int64_t group = 0; group < groups; ++group)
    for (int64_t c = 0; c < across; ++c) {
      const auto word = static_cast<uint32_t>(words.const_data_ptr<int32_t>()[group * across + c]);
      for (int i = 0; i < 8; ++i)
        to[(8 * c + kAwqOrder[i]) * groups + group] = static_cast<uint8_t>(word >> (4 * i) & 15u);
    }
  return zeros;
}

class AwqFolder final : public QuantisedFolder {
 public:
  explicit AwqFolder(int64_t group_size) : group_size_(group_size) {}
  std::string_view name() const override { return "awq:4"; }

  std::shared_ptr<WeightSource> read(const std::string& name, int64_t outputs, int64_t inputs,
                                     const TensorLookup& find) const override {
    if (!find(name + ".qweight").defined()) return nullptr;
    if (outputs % 8 != 0)
      fail(ExitCode::refused_input, name, ".qweight: ", outputs,
           " outputs: AWQ packs eight of them into a word");
    const at::Tensor packed =
        required_part(find, name + ".qweight", {at::kInt}, {inputs, outputs / 8});
    const at::Tensor scales = required_part(find, name + ".scales",
                                            {at::kHalf, at::kBFloat16, at::kFloat}, {-1, outputs});
    const int64_t groups = scales.size(0);
    PackedGroupParts parts;
    parts.format = "awq";
    parts.outputs = outputs;
    parts.inputs = inputs;
    parts.group_size = grouping(name, groups, inputs, group_size_);
    parts.codes = turned_codes(packed);
    parts.scales = scales.t().contiguous();
    parts.zeros =
        turned_zeros(required_part(find, name + ".qzeros", {at::kInt}, {groups, outputs / 8}));
    return std::make_shared<PackedGroupWeight>(simplified(std::move(parts)));
  }

 private:
  int64_t group_size_;
};

}  // namespace

std::shared_ptr<const QuantisedFolder> awq_folder(const Json& quantization,
                                                  const std::string& where) {
  const JsonFields fields(quantization, where + ": quantization_config");
  std::string version = fields.string_or("version", "gemm");
  std::transform(version.begin(), version.end(), version.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (version != "gemm")
    fail(ExitCode::refused_input, where, ": quantization_config: version: ", version,
         ": allowed is gemm");
  const int64_t bits = fields.integer_or("bits", fields.integer_or("w_bit", 4));
  if (bits != 4)
    fail(ExitCode::refused_input, where, ": quantization_config: bits: came ", bits, ", AWQ has 4");
  return std::make_shared<AwqFolder>(
      fields.integer_or("group_size", fields.integer_or("q_group_size", 128)));
}

}  // namespace isogrid
