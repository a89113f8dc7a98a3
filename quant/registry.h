#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "configs/quantisation_config.h"
#include "core/json_fwd.h"
#include "quant/weight_source.h"

namespace isogrid {

/// Makes a dense matrix [out, in] of one of the floating types few bits. `name` is for messages.
using Quantiser =
    std::function<std::shared_ptr<WeightSource>(const std::string& name, const at::Tensor& dense)>;

/// A stored tensor by its name; undefined where there is none. Marks it as used.
using TensorLookup = std::function<at::Tensor(const std::string& name)>;

/// How a folder that was quantised by somebody keeps its linears.
class QuantisedFolder {
 public:
  virtual ~QuantisedFolder() = default;
  virtual std::string_view name() const = 0;  // "bnb:nf4", for messages and the memory plan
  /// Can its linears themselves train? Else they are a frozen base.
  virtual bool trains() const { return false; }

  /// The linear `name` [outputs, inputs] as this folder keeps it; null where it was left dense.
  virtual std::shared_ptr<WeightSource> read(const std::string& name, int64_t outputs,
                                             int64_t inputs, const TensorLookup& find) const = 0;

  /// Refuses (65) settings for a linear that is none of the model's.
  virtual void check_linears(const std::set<std::string>& /*linears*/) const {}
};

/// What quantization_bit and its companions ask for; empty when nothing is to be quantised.
Quantiser make_quantiser(const QuantisationConfig& config);

/// Bytes a weight of `outputs` rows and `inputs` columns takes once it is quantised that way.
int64_t quantised_bytes(const QuantisationConfig& config, int64_t outputs, int64_t inputs);

/// From the quantization_config of a config.json; null: the folder is dense. What no reader knows
/// is refused (65). `where` names the file.
std::shared_ptr<const QuantisedFolder> quantised_folder(const Json& config,
                                                        const std::string& where);

}  // namespace isogrid
