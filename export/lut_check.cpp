#include "export/lut_check.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include <filesystem>
#include <memory>

#include "core/error.h"
#include "core/io_writer.h"
#include "core/rng.h"
#include "core/tensor_file.h"
#include "quant/lut_forward.h"
#include "quant/lut_v2.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kVectors = 4;

std::string vectors_path(const std::string& directory) {
  return (fs::path(directory) / "check" / "vectors.safetensors").string();
}

/// Even in [-1, 1), of no model in particular.
at::Tensor drawn_inputs(uint64_t layer, int64_t columns) {
  at::Tensor inputs = at::empty({kVectors, columns}, at::kFloat);
  auto* value = inputs.mutable_data_ptr<float>();
  Rng draw(/*seed=*/0, Purpose::check_vectors, {layer});
  for (int64_t i = 0; i < inputs.numel(); ++i) value[i] = 2 * draw.uniform() - 1;
  return inputs.to(at::kHalf);
}

struct LayerVectors {
  at::Tensor input, output, output_half;
};

LayerVectors vectors_of(const LutV2Weight& weight, const at::Tensor& input) {
  const at::Tensor wide = whole_weight(weight, at::kDouble, at::kCPU);
  return {input, at::mm(input.to(at::kDouble), wide.t()).to(at::kFloat),
          factored_product(weight.factors(at::kFloat), input.to(at::kFloat), /*half=*/true)
              .to(at::kHalf)};
}

/// The largest difference over the largest value.
double gap_of(const at::Tensor& found, const at::Tensor& expected) {
  const at::Tensor wide = expected.to(at::kDouble);
  const double largest = wide.abs().max().item<double>();
  const double gap = (found.to(at::kDouble) - wide).abs().max().item<double>();
  return gap == 0 ? 0 : gap / largest;
}

void visit_v2(CausalLm& model,
              const std::function<void(const std::string&, const LutV2Weight&)>& visitor) {
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    if (const auto* v2 = dynamic_cast<const LutV2Weight*>(linear.weight.get())) visitor(name, *v2);
  });
}

}  // namespace

void write_lut_check(CausalLm& model, const std::string& directory) {
  const at::NoGradGuard no_grad;
  std::vector<NamedTensor> tensors;
  uint64_t layer = 0;
  visit_v2(model, [&](const std::string& name, const LutV2Weight& weight) {
    const LayerVectors vectors = vectors_of(weight, drawn_inputs(layer++, weight.inputs()));
    tensors.push_back({name + ".input", vectors.input});
    tensors.push_back({name + ".output", vectors.output});
    tensors.push_back({name + ".output_half", vectors.output_half});
  });
  const std::string path = vectors_path(directory);
  make_directories(fs::path(path).parent_path().string());
  const SafetensorsLayout layout = plan_tensors(tensors);
  write_file_durably(path, layout.file_size, [&](OutputFile& file) {
    append_safetensors(file, layout, tensor_producer(tensors));
  });
}

bool has_lut_check(const std::string& directory) {
  std::error_code ignored;
  return fs::exists(vectors_path(directory), ignored);
}

int64_t check_lut_vectors(CausalLm& model, const std::string& directory) {
  const at::NoGradGuard no_grad;
  const std::string path = vectors_path(directory);
  const auto file = std::make_shared<const SafetensorsFile>(path);
  const auto stored = [&](const std::string& name, at::ScalarType type,
                          const std::vector<int64_t>& shape) {
    const TensorEntry* entry = file->header().find(name);
    if (entry == nullptr) fail(ExitCode::refused_input, path, ": ", name, " is missing");
    const at::Tensor tensor = view_tensor(file, *entry);
    if (tensor.scalar_type() != type || tensor.sizes() != at::IntArrayRef(shape))
      fail(ExitCode::refused_input, path, ": ", name, " is of another type or shape");
    return tensor;
  };
  int64_t layers = 0;
  visit_v2(model, [&](const std::string& name, const LutV2Weight& weight) {
    ++layers;
    const LayerVectors found =
        vectors_of(weight, stored(name + ".input", at::kHalf, {kVectors, weight.inputs()}));
    const std::vector<int64_t> shape = {kVectors, weight.outputs()};
    // Another machine sums in another order.
    if (gap_of(found.output, stored(name + ".output", at::kFloat, shape)) > 1e-6 ||
        gap_of(found.output_half, stored(name + ".output_half", at::kHalf, shape)) > 4e-3)
      fail(ExitCode::refused_input, path, ": ", name,
           ": the layer makes other outputs of these inputs than are written here");
  });
  return layers;
}

}  // namespace isogrid
