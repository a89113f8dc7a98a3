#include "calibrate/block_walk.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include "core/error.h"
#include "models/attach_adapters.h"
#include "models/rope.h"
#include "quant/dense.h"

namespace isogrid {
namespace {

constexpr int kGroupsOfBlock = 4;

at::Tensor widened_or_none(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.detach().to(at::kFloat) : tensor;
}

void widen(Projection& projection) {
  projection.norm.weight = widened_or_none(projection.norm.weight);
  for (Linear& linear : projection.linears) {
    linear.weight = std::make_shared<DenseWeight>(
        linear.adapter ? merged_weight(linear, at::kFloat)
                       : whole_weight(*linear.weight, at::kFloat, at::kCPU));
    linear.adapter.reset();
    linear.bias = widened_or_none(linear.bias);
  }
}

Block own_block(const Block& stored) {
  Block block = stored;
  for (Projection* projection : {&block.qkv, &block.output, &block.gate_up, &block.down})
    widen(*projection);
  block.attention.q_norm.weight = widened_or_none(block.attention.q_norm.weight);
  block.attention.k_norm.weight = widened_or_none(block.attention.k_norm.weight);
  return block;
}

/// The rows and where they have come to.
class Walk {
 public:
  Walk(const CausalLm& model, const std::vector<Batch>& rows,
       const std::function<void(SeenGroup&)>& visit, std::function<void(int64_t, int64_t)> progress)
      : model_(model), visit_(visit), progress_(std::move(progress)) {
    for (const Batch& row : rows) {
      if (row.tokens() == 0) continue;
      layouts_.push_back(lay_out(model.config, row.document_ends, {}, at::kCPU));
      const at::Tensor ids = at::tensor(row.input_ids, at::TensorOptions().dtype(at::kLong));
      states_.push_back(model.embedding->rows(ids, at::kFloat));
    }
    if (states_.empty())
      fail(ExitCode::configuration, "export_quantization_dataset: gives no rows to calibrate on");
  }

  void run() {
    for (int64_t layer = 0; layer < static_cast<int64_t>(model_.blocks.size()); ++layer) {
      Block block = own_block(model_.blocks[layer]);
      run_attention(layer, block);
      run_mlp(layer, block);
    }
  }

 private:
  /// `input(row)` is what the group's weights multiply. Returns the group's input_factor.
  template <typename Input>
  at::Tensor see(int64_t layer, LinearGroup group, Block& block, const Input& input) {
    InputMoments moments;
    for (size_t row = 0; row < states_.size(); ++row) moments.add(input(row));
    SeenGroup seen{layer, group, block, moments};
    visit_(seen);
    if (progress_)
      progress_(layer * kGroupsOfBlock + static_cast<int64_t>(group) + 1,
                static_cast<int64_t>(model_.blocks.size()) * kGroupsOfBlock);
    return seen.input_factor;
  }

  void run_attention(int64_t layer, Block& block) {
    see(layer, LinearGroup::qkv, block,
        [&](size_t row) { return rms_norm(states_[row], block.qkv.norm); });
    std::vector<at::Tensor> attended(states_.size());
    const at::Tensor factor = see(layer, LinearGroup::output, block, [&](size_t row) {
      const auto qkv = project(block.qkv, states_[row]);
      return attended[row] = attend(block.attention, qkv[0], qkv[1], qkv[2], layouts_[row], layer);
    });
    for (size_t row = 0; row < states_.size(); ++row) {
      if (factor.defined()) attended[row].mul_(factor);
      states_[row] = project(block.output, attended[row], {}, states_[row])[0];
      attended[row] = at::Tensor();
    }
  }

  // Gate and up are made twice: keeping them for all rows would take most of the memory.
  void run_mlp(int64_t layer, Block& block) {
    see(layer, LinearGroup::gate_up, block,
        [&](size_t row) { return rms_norm(states_[row], block.gate_up.norm); });
    see(layer, LinearGroup::down, block, [&](size_t row) {
      const auto gate_up = project(block.gate_up, states_[row]);
      return swiglu(gate_up[0], gate_up[1]);
    });
    for (at::Tensor& state : states_) {
      const auto gate_up = project(block.gate_up, state);
      state = project(block.down, gate_up[0], gate_up[1], state)[0];
    }
  }

  const CausalLm& model_;
  const std::function<void(SeenGroup&)>& visit_;
  std::function<void(int64_t, int64_t)> progress_;
  std::vector<TokenLayout> layouts_;
  std::vector<at::Tensor> states_;  // float32 [tokens, hidden] of each row
};

}  // namespace

Projection& SeenGroup::projection() const {
  switch (group) {
    case LinearGroup::qkv:
      return block.qkv;
    case LinearGroup::output:
      return block.output;
    case LinearGroup::gate_up:
      return block.gate_up;
    case LinearGroup::down:
      break;
  }
  return block.down;
}

std::string SeenGroup::prefix() const { return concat("model.layers.", layer, "."); }

std::vector<std::string> SeenGroup::names() const {
  const std::string attention = prefix() + "self_attn.", mlp = prefix() + "mlp.";
  switch (group) {
    case LinearGroup::qkv:
      return {attention + "q_proj", attention + "k_proj", attention + "v_proj"};
    case LinearGroup::output:
      return {attention + "o_proj"};
    case LinearGroup::gate_up:
      return {mlp + "gate_proj", mlp + "up_proj"};
    case LinearGroup::down:
      break;
  }
  return {mlp + "down_proj"};
}

void walk_blocks(const CausalLm& model, const std::vector<Batch>& rows,
                 const std::function<void(SeenGroup&)>& visit,
                 const std::function<void(int64_t, int64_t)>& progress) {
  const at::NoGradGuard no_grad;
  Walk(model, rows, visit, progress).run();
}

}  // namespace isogrid
