#include "quant/lut_folder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/bitwise_right_shift.h>

#include <set>

#include "core/error.h"
#include "core/finite_scan.h"
#include "core/json.h"
#include "core/tensor_file.h"
#include "quant/lut_balanced.h"
#include "quant/lut_v1.h"
#include "quant/lut_v2.h"
#include "quant/packed_codes.h"
#include "quant/stored_parts.h"

namespace isogrid {
namespace {

constexpr int64_t kLutVersion = 1;
constexpr int64_t kMostRank = 1 << 24;

/// A linear of the model that is being read.
struct LutRead {
  const std::string& name;
  int64_t outputs, inputs;
  const LutLayer& layer;
  bool half;
  const TensorLookup& find;
};

const std::vector<at::ScalarType>& number_types() {
  static const std::vector<at::ScalarType> types = {at::kFloat, at::kHalf, at::kBFloat16,
                                                    at::kDouble};
  return types;
}

at::Tensor finite_part(const LutRead& r, const char* part, const std::vector<int64_t>& shape) {
  const std::string name = r.name + part;
  const at::Tensor tensor = required_part(r.find, name, number_types(), shape).contiguous();
  const auto bad =
      first_non_finite(dtype_of(tensor.scalar_type()),
                       {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()});
  if (bad) fail(ExitCode::refused_input, name, ": element ", *bad, " is not finite");
  return tensor;
}

at::Tensor read_table(const LutRead& r) {
  const int64_t count = int64_t{1} << r.layer.bits;
  at::Tensor values = finite_part(r, ".lut", {count});
  const at::Tensor wide = values.to(at::kDouble);
  const double* value = wide.const_data_ptr<double>();
  for (int64_t i = 1; i < count; ++i)
    if (value[i] <= value[i - 1])
      fail(ExitCode::refused_input, r.name, ".lut: value ", i, " is ", value[i], " after ",
           value[i - 1], ": values must rise");
  return values;
}

at::Tensor read_codes(const LutRead& r) {
  const int64_t bytes = packed_bytes(r.inputs, r.layer.bits);
  const at::Tensor codes =
      required_part(r.find, r.name + ".codes", {at::kByte}, {r.outputs, bytes}).contiguous();
  const int64_t used = r.inputs * r.layer.bits - (bytes - 1) * 8;
  if (used < 8 && codes.select(1, bytes - 1).bitwise_right_shift(used).any().item<bool>())
    fail(ExitCode::refused_input, r.name,
         ".codes: a row holds codes beyond its last column; unused bits must be zero");
  return codes;
}

/// An option of the linear that is stored only where something wants it.
at::Tensor optional_latent(const LutRead& r) {
  if (!r.find(r.name + ".weight").defined()) return {};
  return required_part(r.find, r.name + ".weight", number_types(), {r.outputs, r.inputs});
}

std::shared_ptr<WeightSource> read_v2(const LutRead& r) {
  LutV2Parts parts;
  parts.codes = read_codes(r);
  parts.table.values = read_table(r);
  parts.a = finite_part(r, ".scale_A", {r.outputs, r.layer.rank});
  parts.b = finite_part(r, ".scale_B", {r.layer.rank, r.inputs});
  parts.g = finite_part(r, ".rank_magnitude", {r.layer.rank});
  parts.latent = optional_latent(r);
  parts.baked = r.layer.baked;
  if (parts.baked && parts.g.ne(1).any().item<bool>())
    fail(ExitCode::refused_input, r.name,
         ".rank_magnitude: of baked scales every magnitude is 1; it is part of scale_A");
  return std::make_shared<LutV2Weight>(r.name, std::move(parts), LutV2Options{.half = r.half});
}

std::shared_ptr<WeightSource> read_v1(const LutRead& r) {
  LutV1Parts parts;
  parts.latent = required_part(r.find, r.name + ".weight", number_types(), {r.outputs, r.inputs});
  parts.table.values = read_table(r);
  parts.a = finite_part(r, ".scale_A", {r.outputs, r.layer.rank});
  parts.b = finite_part(r, ".scale_B", {r.layer.rank, r.inputs});
  return std::make_shared<LutV1Weight>(r.name, std::move(parts));
}

std::shared_ptr<WeightSource> read_balanced(const LutRead& r) {
  const at::Tensor latent =
      required_part(r.find, r.name + ".weight", number_types(), {r.outputs, r.inputs});
  return std::make_shared<BalancedWeight>(latent, finite_part(r, ".raw_clip", {1}), r.layer.bits,
                                          r.half);
}

/// The three forms of a layer.
struct LutForm {
  std::string_view parameters;
  bool has_rank;
  std::shared_ptr<WeightSource> (*read)(const LutRead&);
};
constexpr LutForm kLutForms[] = {
    {"v2", true, read_v2},
    {"v1", true, read_v1},
    {"balanced", false, read_balanced},
};

const LutForm* find_form(const std::string& parameters) {
  for (const LutForm& form : kLutForms)
    if (form.parameters == parameters) return &form;
  return nullptr;
}

LutLayer layer_settings(const JsonFields& fields) {
  LutLayer layer;
  layer.parameters = fields.string("parameters");
  const LutForm* form = find_form(layer.parameters);
  if (form == nullptr) fields.refuse("parameters", "v2, v1 or balanced");
  const int64_t bits = fields.integer("bits", 2, 4);
  if (bits == 3) fields.refuse("bits", "2 or 4");
  layer.bits = static_cast<int>(bits);
  if (form->has_rank) layer.rank = fields.integer("rank", 1, kMostRank);
  layer.baked = fields.boolean_or("baked", false);
  if (layer.baked && layer.parameters != "v2") fields.refuse("baked", "false: only v2 is baked");
  return layer;
}

class LutFolder final : public QuantisedFolder {
 public:
  LutFolder(LutLayers layers, bool half, std::string where)
      : layers_(std::move(layers)), half_(half), where_(std::move(where)) {}

  std::string_view name() const override { return "lut"; }
  bool trains() const override { return true; }

  std::shared_ptr<WeightSource> read(const std::string& name, int64_t outputs, int64_t inputs,
                                     const TensorLookup& find) const override {
    const auto layer = layers_.find(name);
    if (layer == layers_.end()) return nullptr;
    const int64_t most = std::min(outputs, inputs);
    if (layer->second.rank > most)
      fail(ExitCode::refused_input, where_, ": ", name, ": rank: came ", layer->second.rank,
           ", its shape ", outputs, " x ", inputs, " allows up to ", most);
    return find_form(layer->second.parameters)
        ->read({name, outputs, inputs, layer->second, half_, find});
  }

  void check_linears(const std::set<std::string>& linears) const override {
    for (const auto& [name, unused] : layers_)
      if (linears.count(name) == 0)
        fail(ExitCode::refused_input, where_, ": layers: ", name, " is no linear of this model");
  }

 private:
  LutLayers layers_;
  bool half_;
  std::string where_;
};

}  // namespace

LutLayers lut_layers_of(const Json& quantization, const std::string& where) {
  const std::string place = where + ": quantization_config";
  const JsonFields fields(quantization, place);
  if (fields.integer("version") != kLutVersion)
    fail(ExitCode::refused_input, place, ": version: came ", fields.integer("version"),
         ", this program reads ", kLutVersion, "; use a newer one");
  static_cast<void>(fields.object("layers"));
  LutLayers layers;
  for (const auto& [name, settings] : fields.value("layers").items())
    layers[name] = layer_settings(JsonFields(settings, concat(place, ": layers: ", name)));
  return layers;
}

std::shared_ptr<const QuantisedFolder> lut_folder(const Json& quantization,
                                                  const std::string& where) {
  LutLayers layers = lut_layers_of(quantization, where);
  const std::string place = where + ": quantization_config";
  const bool half = JsonFields(quantization, place).boolean("half");
  return std::make_shared<LutFolder>(std::move(layers), half, place);
}

std::string lut_parameters(const WeightSource& weight) {
  if (dynamic_cast<const LutV2Weight*>(&weight) != nullptr) return "v2";
  if (dynamic_cast<const LutV1Weight*>(&weight) != nullptr) return "v1";
  return dynamic_cast<const BalancedWeight*>(&weight) != nullptr ? "balanced" : "";
}

std::optional<Json> lut_folder_settings(const NamedWeights& linears) {
  Json layers = Json::object();
  std::optional<bool> half;
  const auto serves = [&half](const std::string& name, bool rounded) {
    if (half.value_or(rounded) != rounded)
      fail(ExitCode::internal, name, ": some layers serve float16 factors, others do not");
    half = rounded;
  };
  for (const auto& [name, weight] : linears) {
    Json layer = {{"parameters", lut_parameters(*weight)}};
    if (const auto* v2 = dynamic_cast<const LutV2Weight*>(weight)) {
      layer["bits"] = v2->parts().bits();
      layer["rank"] = v2->parts().g.size(0);
      layer["baked"] = v2->parts().baked;
      serves(name, v2->options().half);
    } else if (const auto* v1 = dynamic_cast<const LutV1Weight*>(weight)) {
      layer["bits"] = v1->bits();
      layer["rank"] = v1->parts().a.size(1);
    } else if (const auto* balanced = dynamic_cast<const BalancedWeight*>(weight)) {
      layer["bits"] = balanced->bits();
      serves(name, balanced->half());
    } else {
      continue;
    }
    layers[name] = std::move(layer);
  }
  if (layers.empty()) return std::nullopt;
  return Json{{"quant_method", kLutMethod},
              {"version", kLutVersion},
              {"half", half.value_or(false)},
              {"layers", std::move(layers)}};
}

}  // namespace isogrid
