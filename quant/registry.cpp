#include "quant/registry.h"

#include "core/error.h"
#include "core/json.h"
#include "quant/bnb4.h"
#include "quant/bnb_folder.h"
#include "quant/int8_rows.h"
#include "quant/lut_folder.h"
#include "quant/packed_folders.h"

namespace isogrid {
namespace {

kernels::FourBitCode code_of(const QuantisationConfig& config) {
  return config.quantization_type == "fp4" ? kernels::FourBitCode::fp4 : kernels::FourBitCode::nf4;
}

std::shared_ptr<WeightSource> make_bnb4(const QuantisationConfig& config, const std::string& name,
                                        const at::Tensor& dense) {
  return std::make_shared<Bnb4Weight>(
      quantise_bnb4(name, dense, code_of(config), config.double_quantization));
}

int64_t bytes_of_bnb4(const QuantisationConfig& config, int64_t outputs, int64_t inputs) {
  return bnb4_bytes(outputs * inputs, config.double_quantization);
}

std::shared_ptr<WeightSource> make_int8(const QuantisationConfig&, const std::string& name,
                                        const at::Tensor& dense) {
  return quantise_int8_rows(name, dense);
}

int64_t bytes_of_int8(const QuantisationConfig&, int64_t outputs, int64_t inputs) {
  return outputs * (inputs + 4);
}

/// One way to make a dense matrix few bits while it is loaded.
struct Method {
  std::string_view name;  // quantization_method
  int64_t bits;           // quantization_bit
  std::shared_ptr<WeightSource> (*make)(const QuantisationConfig&, const std::string& name,
                                        const at::Tensor& dense);
  int64_t (*bytes)(const QuantisationConfig&, int64_t outputs, int64_t inputs);
};

const Method& method_of(const QuantisationConfig& config) {
  static const Method table[] = {
      {"bnb", 4, make_bnb4, bytes_of_bnb4},
      {"bnb", 8, make_int8, bytes_of_int8},
  };
  for (const Method& method : table)
    if (method.name == config.quantization_method && method.bits == config.quantization_bit)
      return method;
  fail(ExitCode::configuration, "quantization_method = ", config.quantization_method,
       " and quantization_bit = ", *config.quantization_bit,
       ": no way is known to quantise a dense folder like that while it is loaded");
}

/// Who may have quantised a folder: quantization_config.quant_method -> its reader.
struct Writer {
  std::string_view name;
  std::shared_ptr<const QuantisedFolder> (*open)(const Json& quantization,
                                                 const std::string& where);
};

}  // namespace

Quantiser make_quantiser(const QuantisationConfig& config) {
  if (!config.quantization_bit) return {};
  const Method& method = method_of(config);
  return [config, &method](const std::string& name, const at::Tensor& dense) {
    // Quantisers know no float64.
    return method.make(config, name,
                       dense.scalar_type() == at::kDouble ? dense.to(at::kFloat) : dense);
  };
}

int64_t quantised_bytes(const QuantisationConfig& config, int64_t outputs, int64_t inputs) {
  return method_of(config).bytes(config, outputs, inputs);
}

std::shared_ptr<const QuantisedFolder> quantised_folder(const Json& config,
                                                        const std::string& where) {
  static const Writer table[] = {
      {"bitsandbytes", bnb_folder}, {"gptq", gptq_folder},
      {"awq", awq_folder},          {"compressed-tensors", compressed_tensors_folder},
      {"torchao", torchao_folder},  {kLutMethod, lut_folder},
  };
  const auto found = config.find("quantization_config");
  if (found == config.end() || found->is_null()) return nullptr;
  const JsonFields fields(*found, where + ": quantization_config");
  const std::string method = fields.string("quant_method");
  std::string known;
  for (const Writer& writer : table) {
    if (writer.name == method) return writer.open(*found, where);
    known += concat(known.empty() ? "" : ", ", writer.name);
  }
  fail(ExitCode::refused_input, where, ": quantization_config: quant_method: ", method,
       ": this folder was quantised in a way that is not known here; known are ", known);
}

}  // namespace isogrid
