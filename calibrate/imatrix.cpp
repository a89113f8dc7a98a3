#include "calibrate/imatrix.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.h"
#include "core/gguf_names.h"
#include "models/observe.h"

namespace isogrid {
namespace {

/// Linears that share an input share its sums, which are kept in double: pieces are many.
struct SeenInputs {
  at::Tensor squares;  // float64 [in]
  int64_t tokens = 0;
};

using SeenByLinear = std::map<const Linear*, SeenInputs>;

void add_inputs(SeenByLinear& seen, const Projection& projection, const at::Tensor& input) {
  const at::Tensor wide = input.to(at::kFloat);
  const at::Tensor sums = (wide * wide).sum(0, /*keepdim=*/false, at::kDouble);
  SeenInputs& inputs = seen[&projection.linears.front()];
  if (inputs.squares.defined())
    inputs.squares.add_(sums);
  else
    inputs.squares = sums;
  inputs.tokens += input.size(0);
}

ImportanceSums published(const SeenInputs& inputs, const std::string& name) {
  const at::Tensor sums = inputs.squares.to(at::kCPU, at::kFloat).contiguous();
  const float* values = sums.const_data_ptr<float>();
  ImportanceSums result{{values, values + sums.numel()}, static_cast<float>(inputs.tokens)};
  if (!std::all_of(result.squares.begin(), result.squares.end(),
                   [](float value) { return std::isfinite(value); }))
    fail(ExitCode::numeric, name, ": its inputs are not finite on this text");
  return result;
}

/// The first linear of a group stands for all of it.
void name_groups(CausalLm& model, const SeenByLinear& seen, ImportanceMatrix& matrix) {
  std::map<const Linear*, const SeenInputs*> of_linear;
  for (Block& block : model.blocks)
    for (Projection* group : {&block.qkv, &block.output, &block.gate_up, &block.down})
      for (const Linear& linear : group->linears)
        of_linear[&linear] = &seen.at(&group->linears.front());
  visit_linears(model, [&](const std::string& module, Linear& linear) {
    const auto name = gguf_tensor_name(module + ".weight");
    if (!name) fail(ExitCode::internal, module, ": has no name in GGUF");
    matrix.weights[*name] = published(*of_linear.at(&linear), module);
  });
}

}  // namespace

ImportanceMatrix compute_imatrix(CausalLm& model, const std::vector<int32_t>& ids,
                                 const ImatrixText& text,
                                 const std::function<void(int64_t, int64_t)>& progress) {
  const at::NoGradGuard no_grad;
  const auto all = static_cast<int64_t>(ids.size());
  if (all == 0) fail(ExitCode::refused_input, "text_file: holds no token");
  const int64_t size = std::min(text.chunk_size, all), chunks = all / size;
  SeenByLinear seen;
  const InputObserver observer([&](const Projection& projection, const at::Tensor& input) {
    add_inputs(seen, projection, input);
  });
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    std::vector<int64_t> piece(ids.begin() + chunk * size, ids.begin() + (chunk + 1) * size);
    if (text.bos) piece.front() = *text.bos;
    const TokenLayout layout = lay_out(model.config, {size}, {}, model.device);
    forward_hidden(model, at::tensor(piece, at::kLong), layout);
    if (progress) progress(chunk + 1, chunks);
  }
  ImportanceMatrix matrix;
  matrix.chunks = static_cast<uint32_t>(chunks);
  matrix.chunk_size = static_cast<uint32_t>(size);
  name_groups(model, seen, matrix);
  return matrix;
}

}  // namespace isogrid
