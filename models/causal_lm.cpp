#include "models/causal_lm.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/autograd.h>
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
  if (!linear.adapter) return;
  visitor({name + ".lora_A.weight", &linear.adapter->a, Role::adapter_a});
  visitor({name + ".lora_B.weight", &linear.adapter->b, Role::adapter_b});
  if (linear.adapter->magnitude.defined())
    visitor({name + ".lora_magnitude_vector", &linear.adapter->magnitude, Role::adapter_magnitude});
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
                         int64_t layer, const CacheSlots& slots, const TrainingNoise* noise) {
  const variable_list qkv = project(block.qkv, x, {}, {}, noise);
  const at::Tensor attended = attend(block.attention, qkv[0], qkv[1], qkv[2], layout, layer, slots);
  const at::Tensor middle = project(block.output, attended, {}, x, noise)[0];
  const variable_list gate_up = project(block.gate_up, middle, {}, {}, noise);
  return project(block.down, gate_up[0], gate_up[1], middle, noise)[0];
}

/// A block that keeps only its input; backward runs it again to get its graph.
class RecomputedBlockFunction : public torch::autograd::Function<RecomputedBlockFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, int64_t block,
                            int64_t layout, int64_t noise) {
    context->save_for_backward({x});
    context->saved_data["block"] = block;
    context->saved_data["layout"] = layout;
    context->saved_data["noise"] = noise;
    return run(x, block, layout, noise);
  }
  static variable_list backward(AutogradContext* context, const variable_list& d_outputs) {
    const at::Tensor x = context->get_saved_variables()[0].detach().requires_grad_();
    {
      const at::AutoGradMode graph(true);
      const at::Tensor y =
          run(x, context->saved_data["block"].toInt(), context->saved_data["layout"].toInt(),
              context->saved_data["noise"].toInt());
      torch::autograd::backward({y}, {d_outputs[0]});
    }
    return {x.grad(), at::Tensor(), at::Tensor(), at::Tensor()};
  }

 private:
  static at::Tensor run(const at::Tensor& x, int64_t block, int64_t layout, int64_t noise) {
    return forward_block(*reinterpret_cast<const Block*>(block), x,
                         *reinterpret_cast<const TokenLayout*>(layout), 0, {},
                         reinterpret_cast<const TrainingNoise*>(noise));
  }
};

at::Tensor looked_up(const WeightSource& source, const at::Tensor& ids, at::ScalarType compute,
                     const TrainingNoise* noise) {
  const at::Tensor rows = source.rows(ids, compute);
  return noise != nullptr && noise->amplitude.defined() ? with_embedding_noise(rows, *noise) : rows;
}

/// The looked-up rows as a node of the graph, for a table that trains.
class EmbeddingFunction : public torch::autograd::Function<EmbeddingFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& anchor,
                            const at::Tensor& ids, int64_t source, int64_t compute, int64_t noise) {
    context->save_for_backward({ids});
    context->saved_data["source"] = source;
    static_cast<void>(anchor);
    return looked_up(*reinterpret_cast<const WeightSource*>(source), ids,
                     static_cast<at::ScalarType>(compute),
                     reinterpret_cast<const TrainingNoise*>(noise));
  }
  static variable_list backward(AutogradContext* context, const variable_list& d_outputs) {
    auto* source = reinterpret_cast<WeightSource*>(context->saved_data["source"].toInt());
    if (source->trains()) source->accumulate_rows(context->get_saved_variables()[0], d_outputs[0]);
    return variable_list(5);
  }
};

at::Tensor embed(const CausalLm& model, const at::Tensor& ids, const TrainingNoise* noise) {
  if (!at::GradMode::is_enabled() || model.graph_from >= 0)
    return looked_up(*model.embedding, ids, model.compute, noise);
  const at::Tensor anchor = at::empty({0}, at::kFloat).requires_grad_();
  return EmbeddingFunction::apply(anchor, ids, reinterpret_cast<int64_t>(model.embedding.get()),
                                  static_cast<int64_t>(model.compute),
                                  reinterpret_cast<int64_t>(noise));
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

namespace {

at::Tensor forward_blocks(const CausalLm& model, at::Tensor x, const TokenLayout& layout,
                          const CacheSlots& slots, const TrainingPass& training) {
  const bool graph = at::GradMode::is_enabled();
  const auto noise = reinterpret_cast<int64_t>(training.noise);
  for (int64_t layer = 0; layer < static_cast<int64_t>(model.blocks.size()); ++layer) {
    const Block& block = model.blocks[layer];
    const at::AutoGradMode mode(graph && layer >= model.graph_from);
    // The projections collect gradients only while their input wants one.
    if (graph && layer == model.graph_from) x = x.detach().requires_grad_();
    if (at::GradMode::is_enabled() && training.recompute_blocks)
      x = RecomputedBlockFunction::apply(x, reinterpret_cast<int64_t>(&block),
                                         reinterpret_cast<int64_t>(&layout), noise);
    else
      x = forward_block(block, x, layout, layer, slots, training.noise);
  }
  return x;
}

}  // namespace

void visit_linears(CausalLm& model,
                   const std::function<void(const std::string&, Linear&)>& visitor) {
  for (size_t layer = 0; layer < model.blocks.size(); ++layer) {
    Block& block = model.blocks[layer];
    const std::string prefix = "model.layers." + std::to_string(layer);
    visitor(prefix + ".self_attn.q_proj", block.qkv.linears[0]);
    visitor(prefix + ".self_attn.k_proj", block.qkv.linears[1]);
    visitor(prefix + ".self_attn.v_proj", block.qkv.linears[2]);
    visitor(prefix + ".self_attn.o_proj", block.output.linears[0]);
    visitor(prefix + ".mlp.gate_proj", block.gate_up.linears[0]);
    visitor(prefix + ".mlp.up_proj", block.gate_up.linears[1]);
    visitor(prefix + ".mlp.down_proj", block.down.linears[0]);
  }
}

void visit_matrices(
    CausalLm& model,
    const std::function<void(const std::string&, std::shared_ptr<WeightSource>&)>& visitor) {
  const bool tied = model.head == model.embedding;
  visitor("model.embed_tokens", model.embedding);
  visit_linears(model,
                [&](const std::string& name, Linear& linear) { visitor(name, linear.weight); });
  if (tied)
    model.head = model.embedding;
  else
    visitor("lm_head", model.head);
}

bool is_frozen_base(WeightSource& weight) {
  bool few_bits = false;
  weight.visit("", Role::weight, [&](const TensorSlot& slot) {
    few_bits = few_bits || (is_ingredient(slot.role) && !slot.of_run);
  });
  return few_bits;
}

int64_t parameter_count(CausalLm& model) {
  int64_t count = 0;
  model.visit([&](const TensorSlot& slot) {
    if (slot.role == Role::norm || slot.role == Role::bias) count += slot.tensor->numel();
  });
  visit_matrices(model, [&](const std::string&, std::shared_ptr<WeightSource>& weight) {
    count += weight->outputs() * weight->inputs();
  });
  return count;
}

void find_trained_depth(CausalLm& model) {
  bool trains = false;
  const TensorVisitor look = [&](const TensorSlot& slot) {
    trains = trains || slot.tensor->requires_grad();
  };
  model.embedding->visit("", Role::embedding, look);
  // A tied table that trains only as head is the same tensor, so it counts here too.
  for (model.graph_from = trains ? -1 : 0;
       !trains && model.graph_from < static_cast<int64_t>(model.blocks.size());) {
    visit_block(model.blocks[model.graph_from], "", look);
    if (!trains) ++model.graph_from;
  }
}

at::Tensor forward_hidden(const CausalLm& model, const at::Tensor& input_ids,
                          const TokenLayout& layout, const CacheSlots& slots,
                          const TrainingPass& training) {
  check_ids(model, input_ids);
  at::Tensor x = embed(model, input_ids.to(model.device), training.noise);
  x = forward_blocks(model, x, layout, slots, training);
  if (slots.cache != nullptr)
    for (int64_t document = 0; document < layout.documents(); ++document)
      slots.cache->advance(slots.sequences[document], layout.length(document));
  if (!at::GradMode::is_enabled()) return rms_norm(x, model.final_norm);
  // With only norm and head training there is no graph yet.
  if (!x.requires_grad()) x = x.detach().requires_grad_();
  return FinalNormFunction::apply(x, reinterpret_cast<int64_t>(&model.final_norm));
}

at::Tensor head_logits(const CausalLm& model, const at::Tensor& rows) {
  const at::NoGradGuard no_grad;
  return multiply(rows, *model.head);
}

}  // namespace isogrid
