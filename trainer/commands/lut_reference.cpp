#include "trainer/commands/lut_reference.h"

#include <map>
#include <memory>

#include "export/source.h"
#include "models/hub_cache.h"

namespace isogrid {

ReferenceWeights reference_weights(const std::optional<std::string>& name) {
  if (!name) return {};
  struct Reference {
    ExportSource source;
    std::map<std::string, std::shared_ptr<WeightSource>> weights;
  };
  const auto reference = std::make_shared<Reference>();
  reference->source = open_export_source(resolve_model(*name), {});
  visit_linears(reference->source.model, [&](const std::string& linear, Linear& each) {
    reference->weights[linear] = each.weight;
  });
  return [reference](const std::string& linear) {
    const auto found = reference->weights.find(linear);
    return found == reference->weights.end() ? at::Tensor()
                                             : whole_weight(*found->second, at::kFloat, at::kCPU);
  };
}

}  // namespace isogrid
