#include "quant/bnb_folder.h"

#include <ATen/TensorOperators.h>

#include <cmath>

#include "core/error.h"
#include "core/json.h"
#include "quant/bnb4.h"
#include "quant/int8_rows.h"
#include "quant/stored_parts.h"

namespace isogrid {
namespace {

using kernels::FourBitCode;

at::ScalarType type_named(const std::string& name, const std::string& where) {
  if (name == "float32") return at::kFloat;
  if (name == "bfloat16") return at::kBFloat16;
  if (name == "float16") return at::kHalf;
  fail(ExitCode::refused_input, where, ": dtype: ", name,
       ": allowed are float32, bfloat16 and float16");
}

/// The JSON that lies beside a weight as a tensor of bytes.
Json state_of(const at::Tensor& bytes, const std::string& name) {
  if (bytes.scalar_type() != at::kByte)
    fail(ExitCode::refused_input, name, ": is ", at::toString(bytes.scalar_type()),
         ", allowed is U8 holding JSON");
  const auto* text = reinterpret_cast<const char*>(bytes.const_data_ptr<uint8_t>());
  return parse_json({text, static_cast<size_t>(bytes.numel())}, name,
                    {.max_bytes = 1 << 16, .max_depth = 8});
}

void check_values(const at::Tensor& values, FourBitCode code, const std::string& name) {
  const float* known = kernels::four_bit_values(code);
  for (int i = 0; i < 16; ++i)
    if (!(std::abs(values.const_data_ptr<float>()[i] - known[i]) <= 1e-6f))
      fail(ExitCode::refused_input, name, ": value ", i, " is ", values.const_data_ptr<float>()[i],
           ", this code's is ", known[i]);
}

void read_statistics(Bnb4Parts& parts, const JsonFields& state, const std::string& weight,
                     const TensorLookup& find) {
  const int64_t blocks = (parts.outputs * parts.inputs + parts.block - 1) / parts.block;
  if (!state.has("nested_blocksize")) {
    parts.scales = required_part(find, weight + ".absmax", {at::kFloat}, {blocks});
    return;
  }
  parts.group = state.integer("nested_blocksize", 1, int64_t{1} << 20);
  parts.offset = static_cast<float>(state.number("nested_offset"));
  const int64_t groups = (blocks + parts.group - 1) / parts.group;
  parts.scales = required_part(find, weight + ".absmax", {at::kByte}, {blocks});
  parts.group_scales = required_part(find, weight + ".nested_absmax", {at::kFloat}, {groups});
  parts.scale_map = required_part(find, weight + ".nested_quant_map", {at::kFloat}, {256});
}

/// FSDP wants the codes to look like numbers of the compute type: the bytes are the same.
at::Tensor as_bytes_of(const at::Tensor& stored) {
  return stored.scalar_type() == at::kByte ? stored : stored.view(at::kByte);
}

std::shared_ptr<WeightSource> read_four_bit(const std::string& name, FourBitCode code,
                                            int64_t outputs, int64_t inputs,
                                            const at::Tensor& state_bytes,
                                            const TensorLookup& find) {
  const std::string weight = name + ".weight";
  const std::string state_name =
      concat(weight, ".quant_state.bitsandbytes__", code == FourBitCode::nf4 ? "nf4" : "fp4");
  const Json json = state_of(state_bytes, state_name);
  const JsonFields state(json, state_name);
  const std::vector<int64_t> wanted = {outputs, inputs};
  if (!state.has("shape") || state.value("shape") != Json(wanted))
    fail(ExitCode::refused_input, state_name, ": shape: came ",
         state.has("shape") ? state.value("shape").dump() : "none", ", config.json asks for [",
         outputs, ", ", inputs, "]");
  Bnb4Parts parts;
  parts.code = code;
  parts.outputs = outputs;
  parts.inputs = inputs;
  parts.block = state.integer("blocksize", 2, int64_t{1} << 20);
  if (parts.block % 2 != 0)
    fail(ExitCode::refused_input, state_name, ": blocksize: came ", parts.block,
         ", allowed are even sizes");
  parts.type = type_named(state.string("dtype"), state_name);
  const at::Tensor codes = find(weight);
  const int64_t bytes = (outputs * inputs + 1) / 2;
  if (static_cast<int64_t>(codes.nbytes()) != bytes || !codes.is_contiguous())
    fail(ExitCode::refused_input, weight, ": holds ", codes.nbytes(), " bytes, the shape asks for ",
         bytes);
  parts.codes = as_bytes_of(codes).reshape({bytes, 1});
  check_values(required_part(find, weight + ".quant_map", {at::kFloat}, {16}), code,
               weight + ".quant_map");
  read_statistics(parts, state, weight, find);
  return std::make_shared<Bnb4Weight>(std::move(parts));
}

std::shared_ptr<WeightSource> read_int8(const std::string& name, int64_t outputs, int64_t inputs,
                                        const TensorLookup& find) {
  const std::string weight = name + ".weight", format = name + ".weight_format";
  const at::Tensor codes = required_part(find, weight, {at::kChar}, {outputs, inputs});
  const at::Tensor layout = find(format);
  if (layout.defined() && (layout.numel() != 1 || layout.scalar_type() != at::kByte ||
                           *layout.const_data_ptr<uint8_t>() != 0))
    fail(
        ExitCode::refused_input, format,
        ": allowed is 0, rows one after the other; save the model again with a newer bitsandbytes");
  return std::make_shared<Int8RowWeight>(
      codes, required_part(find, name + ".SCB", {at::kFloat}, {outputs}));
}

class BnbFolder final : public QuantisedFolder {
 public:
  explicit BnbFolder(std::string name) : name_(std::move(name)) {}
  std::string_view name() const override { return name_; }

  std::shared_ptr<WeightSource> read(const std::string& name, int64_t outputs, int64_t inputs,
                                     const TensorLookup& find) const override {
    if (!find(name + ".weight").defined()) return nullptr;
    for (const FourBitCode code : {FourBitCode::nf4, FourBitCode::fp4}) {
      const char* ending = code == FourBitCode::nf4 ? "nf4" : "fp4";
      const at::Tensor state = find(concat(name, ".weight.quant_state.bitsandbytes__", ending));
      if (state.defined()) return read_four_bit(name, code, outputs, inputs, state, find);
    }
    return find(name + ".SCB").defined() ? read_int8(name, outputs, inputs, find) : nullptr;
  }

 private:
  std::string name_;
};

}  // namespace

std::shared_ptr<const QuantisedFolder> bnb_folder(const Json& quantization,
                                                  const std::string& where) {
  const JsonFields fields(quantization, concat(where, ": quantization_config"));
  if (fields.boolean_or("load_in_8bit", fields.boolean_or("_load_in_8bit", false)))
    return std::make_shared<BnbFolder>("bnb:int8");
  return std::make_shared<BnbFolder>(
      concat("bnb:", fields.string_or("bnb_4bit_quant_type", "fp4")));
}

}  // namespace isogrid
