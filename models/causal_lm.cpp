#include "models/causal_lm.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/error.h"
#include "quant/dense.h"

namespace isogrid {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor unloaded_vector(int64_t size) {
  return at::empty({size}, at::TensorOptions().dtype(at::kFloat).device(at::kMeta));
}

Linear unloaded_linear(int64_t outputs, int64_t inputs, bool biased) {
  return {unloaded_dense(outputs, inputs), biased ? unloaded_vector(outputs) : at::Tensor()};
}

RmsNorm unloaded_norm(int64_t size, double eps) { return {unloaded_vector(size), eps}; }

Projection unloaded_projection(Prologue prologue, std::vector<Linear> linears) {
  Projection projection;
  projection.prologue = prologue;
  projection.linears = std::move(linears);
  return projection;
}

Attention unloaded_attention(const DecoderConfig& config, int64_t layer) {
  Attention attention;
  attention.heads = config.heads;
  attention.kv_heads = config.kv_heads;
  attention.head_dim = config.head_dim;
  attention.window = config.layer_window[layer];
  attention.rotates = config.layer_rotates[layer];
  if (config.qk_norm) {
    attention.q_norm = unloaded_norm(config.head_dim, config.rms_eps);
    attention.k_norm = unloaded_norm(config.head_dim, config.rms_eps);
  }
  return attention;
}

Block build_block(const DecoderConfig& config, int64_t layer) {
  const int64_t q = config.heads * config.head_dim, kv = config.kv_heads * config.head_dim;
  const int64_t h = config.hidden, inner = config.intermediate;
  Block block;
  block.qkv = unloaded_projection(Prologue::rms_norm, {unloaded_linear(q, h, config.qkv_bias),
                                                       unloaded_linear(kv, h, config.qkv_bias),
                                                       unloaded_linear(kv, h, config.qkv_bias)});
  block.qkv.norm = unloaded_norm(h, config.rms_eps);
  block.attention = unloaded_attention(config, layer);
  block.output = unloaded_projection(Prologue::none, {unloaded_linear(h, q, config.output_bias)});
  block.gate_up = unloaded_projection(
      Prologue::rms_norm,
      {unloaded_linear(inner, h, config.mlp_bias), unloaded_linear(inner, h, config.mlp_bias)});
  block.gate_up.norm = unloaded_norm(h, config.rms_eps);
  block.down = unloaded_projection(Prologue::swiglu, {unloaded_linear(h, inner, config.mlp_bias)});
  return block;
}

void visit_linear(Linear& linear, const std::string& name, const TensorVisitor& visitor) {
  linear.weight->visit(name, Role::weight, visitor);
  if (linear.bias.defined()) visitor({name + ".bias", &linear.bias, Role::bias});
}

void visit_norm(RmsNorm& norm, const std::string& name, const TensorVisitor& visitor) {
  if (norm.weight.defined()) visitor({name + ".weight", &norm.weight, Role::norm});
}

void visit_block(Block& block, const std::string& prefix, const TensorVisitor& visitor) {
  const std::string attention = prefix + ".self_attn.", mlp = prefix + ".mlp.";
  visit_norm(block.qkv.norm, prefix + ".input_layernorm", visitor);
  visit_linear(block.qkv.linears[0], attention + "q_proj", visitor);
  visit_linear(block.qkv.linears[1], attention + "k_proj", visitor);
  visit_linear(block.qkv.linears[2], attention + "v_proj", visitor);
  visit_norm(block.attention.q_norm, attention + "q_norm", visitor);
  visit_norm(block.attention.k_norm, attention + "k_norm", visitor);
  visit_linear(block.output.linears[0], attention + "o_proj", visitor);
  visit_norm(block.gate_up.norm, prefix + ".post_attention_layernorm", visitor);
  visit_linear(block.gate_up.linears[0], mlp + "gate_proj", visitor);
  visit_linear(block.gate_up.linears[1], mlp + "up_proj", visitor);
  visit_linear(block.down.linears[0], mlp + "down_proj", visitor);
}

at::Tensor forward_block(const Block& block, const at::Tensor& x, const TokenLayout& layout,
                         int64_t layer, const CacheSlots& slots) {
  const variable_list qkv = project(block.qkv, x);
  const at::Tensor attended = attend(block.attention, qkv[0], qkv[1], qkv[2], layout, layer, slots);
  const at::Tensor middle = project(block.output, attended, {}, x)[0];
  const variable_list gate_up = project(block.gate_up, middle);
  return project(block.down, gate_up[0], gate_up[1], middle)[0];
}

/// The looked-up rows as a node of the graph, also when the table is frozen: the projections below
/// collect gradients only while their input wants one.
class EmbeddingFunction : public torch::autograd::Function<EmbeddingFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& anchor,
                            const at::Tensor& ids, int64_t source, int64_t compute) {
    context->save_for_backward({ids});
    context->saved_data["source"] = source;
    static_cast<void>(anchor);
    return reinterpret_cast<WeightSource*>(source)->rows(ids, static_cast<at::ScalarType>(compute));
  }
  static variable_list backward(AutogradContext* context, const variable_list& d_outputs) {
    auto* source = reinterpret_cast<WeightSource*>(context->saved_data["source"].toInt());
    if (source->trains()) source->accumulate_rows(context->get_saved_variables()[0], d_outputs[0]);
    return {at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

at::Tensor embed(const CausalLm& model, const at::Tensor& ids) {
  if (!at::GradMode::is_enabled()) return model.embedding->rows(ids, model.compute);
  const at::Tensor anchor = at::empty({0}, at::kFloat).requires_grad_();
  return EmbeddingFunction::apply(anchor, ids, reinterpret_cast<int64_t>(model.embedding.get()),
                                  static_cast<int64_t>(model.compute));
}

class FinalNormFunction : public torch::autograd::Function<FinalNormFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, int64_t norm) {
    context->save_for_backward({x});
    context->saved_data["norm"] = norm;
    return rms_norm(x, *reinterpret_cast<const RmsNorm*>(norm));
  }
  static variable_list backward(AutogradContext* context, const variable_list& d_outputs) {
    const auto& norm = *reinterpret_cast<const RmsNorm*>(context->saved_data["norm"].toInt());
    return {rms_norm_backward(context->get_saved_variables()[0], norm, d_outputs[0].contiguous()),
            at::Tensor()};
  }
};

void check_ids(const CausalLm& model, const at::Tensor& ids) {
  if (ids.numel() == 0) return;
  const int64_t lowest = ids.min().item<int64_t>(), highest = ids.max().item<int64_t>();
  if (lowest < 0 || highest >= model.config.vocabulary)
    fail(ExitCode::refused_input, "token id ", lowest < 0 ? lowest : highest,
         ": the model's vocabulary holds ids 0 to ", model.config.vocabulary - 1);
}

}  // namespace

CausalLm build_model(const DecoderConfig& config) {
  CausalLm model;
  model.config = config;
  model.embedding = unloaded_dense(config.vocabulary, config.hidden);
  for (int64_t layer = 0; layer < config.layers; ++layer)
    model.blocks.push_back(build_block(config, layer));
  model.final_norm = unloaded_norm(config.hidden, config.rms_eps);
  model.head =
      config.tied_head ? model.embedding : unloaded_dense(config.vocabulary, config.hidden);
  return model;
}

void CausalLm::visit(const TensorVisitor& visitor) {
  embedding->visit("model.embed_tokens", Role::embedding, visitor);
  for (size_t layer = 0; layer < blocks.size(); ++layer)
    visit_block(blocks[layer], "model.layers." + std::to_string(layer), visitor);
  visit_norm(final_norm, "model.norm", visitor);
  if (head != embedding) head->visit("lm_head", Role::weight, visitor);
}

at::Tensor forward_hidden(const CausalLm& model, const at::Tensor& input_ids,
                          const TokenLayout& layout, const CacheSlots& slots) {
  check_ids(model, input_ids);
  at::Tensor x = embed(model, input_ids.to(model.device));
  for (size_t layer = 0; layer < model.blocks.size(); ++layer)
    x = forward_block(model.blocks[layer], x, layout, static_cast<int64_t>(layer), slots);
  if (slots.cache != nullptr)
    for (int64_t document = 0; document < layout.documents(); ++document)
      slots.cache->advance(slots.sequences[document], layout.length(document));
  if (!at::GradMode::is_enabled()) return rms_norm(x, model.final_norm);
  return FinalNormFunction::apply(x, reinterpret_cast<int64_t>(&model.final_norm));
}

at::Tensor head_logits(const CausalLm& model, const at::Tensor& rows) {
  const at::NoGradGuard no_grad;
  return multiply(rows, *model.head);
}

}  // namespace isogrid
