#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/mm.h>

#include <filesystem>

#include "core/error.h"
#include "core/log.h"
#include "core/rng.h"
#include "core/tensor_file.h"
#include "export/lut_check.h"
#include "export/registry.h"
#include "models/model_output.h"
#include "quant/lut_folder.h"
#include "quant/lut_forward.h"
#include "quant/lut_v2.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

constexpr double kFirstBeyondHalf = 65520.0;  // rounds to infinity

/// What float16 cannot hold is refused by name, before anything is written.
void check_fits_half(const std::string& name, const LutV2Weight& weight) {
  const LutFactors exact =
      LutV2Weight(name, weight.parts(), LutV2Options{.half = false}).factors(at::kFloat);
  const std::pair<const char*, const at::Tensor*> parts[] = {
      {".scale_A", &exact.left}, {".scale_B", &exact.right}, {".lut", &exact.table}};
  for (const auto& [part, tensor] : parts) {
    const double largest = tensor->abs().max().item<double>();
    if (largest >= kFirstBeyondHalf)
      fail(ExitCode::numeric, name, part, ": holds ", largest,
           " once the magnitudes are in it, and float16 ends at 65504; train on with "
           "lut_ste_fp16: true, or export hf:float32");
  }
}

/// The layer as a device has it: magnitudes in scale_A, everything in float16. Its codes are those
/// it had, and it serves what it served, where it served float16 factors before.
std::shared_ptr<LutV2Weight> baked(const std::string& name, const LutV2Weight& from) {
  check_fits_half(name, from);
  LutV2Parts parts = from.parts();
  parts.latent = at::Tensor();
  parts.table = {parts.table.values.clone(), parts.table.logits};
  auto weight = std::make_shared<LutV2Weight>(name, std::move(parts), LutV2Options{.half = true});
  weight->bake();
  LutV2Parts half = weight->parts();
  half.table = {half.table.values.to(at::kHalf), {}};
  half.a = half.a.to(at::kHalf);
  half.b = half.b.to(at::kHalf);
  half.g = half.g.to(at::kHalf);
  auto result = std::make_shared<LutV2Weight>(name, std::move(half), LutV2Options{.half = true});
  if (!at::equal(result->parts().codes, from.parts().codes))
    fail(ExitCode::internal, name, ": baking changed a code");
  if (from.options().half && !at::equal(whole_weight(*result, at::kFloat, at::kCPU),
                                        whole_weight(from, at::kFloat, at::kCPU)))
    fail(ExitCode::internal, name, ": baking changed what the layer serves");
  return result;
}

/// Puts other weights into a model for as long as it lives.
class BakedLayers {
 public:
  explicit BakedLayers(CausalLm& model) {
    const at::NoGradGuard no_grad;
    visit_linears(model, [&](const std::string& name, Linear& linear) {
      const std::string form = lut_parameters(*linear.weight);
      if (form.empty()) return;
      if (linear.adapter)
        fail(ExitCode::configuration, "export_formats: lut:fp16: ", name,
             " has an adapter, which a table cannot take in; leave adapter_name_or_path out and "
             "export the adapter beside it");
      if (form != "v2")
        fail(ExitCode::configuration, "export_formats: lut:fp16: ", name, " is of form ", form,
             "; make it one of directions and magnitudes first: trainer convert FROM TO --to v2");
      saved_.emplace_back(&linear, linear.weight);
      linear.weight = baked(name, dynamic_cast<const LutV2Weight&>(*linear.weight));
    });
    if (saved_.empty())
      fail(ExitCode::configuration,
           "export_formats: lut:fp16: this model has no look-up-table layers; train some "
           "(lut_preset), or make them with trainer convert");
  }
  BakedLayers(const BakedLayers&) = delete;
  BakedLayers& operator=(const BakedLayers&) = delete;
  ~BakedLayers() {
    for (auto& [linear, weight] : saved_) linear->weight = weight;
  }

 private:
  std::vector<std::pair<Linear*, std::shared_ptr<WeightSource>>> saved_;
};

}  // namespace

void write_lut(ExportSource& source, const ExportRequest& request) {
  const BakedLayers layers(source.model);
  ModelFolder base = source.folder;
  base.config = published_config(source);
  make_directories(request.directory);
  for (const FileToWrite& file : model_files(source.model, base, source.weights, /*new_value=*/{},
                                             static_cast<double>(request.config->export_size)))
    write_file_durably((fs::path(request.directory) / file.name).string(), file.size, file.produce);
  write_lut_check(source.model, request.directory);
}

}  // namespace isogrid
