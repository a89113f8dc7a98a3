#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "models/attention.h"
#include "models/decoder_config.h"
#include "models/kv_cache.h"
#include "models/projection.h"
#include "models/rope.h"

namespace isogrid {

/// One decoder block: four projections around one attention.
struct Block {
  Projection qkv;  // input norm -> q, k, v
  Attention attention;
  Projection output;   // o
  Projection gate_up;  // post-attention norm -> gate, up
  Projection down;     // swiglu -> down
};

/// A decoder with its weights. Plain data: the maths is forward_hidden() and whoever uses the head.
struct CausalLm {
  DecoderConfig config;
  std::shared_ptr<WeightSource> embedding;  // [vocabulary, hidden]
  std::vector<Block> blocks;
  RmsNorm final_norm;
  std::shared_ptr<WeightSource> head;  // [vocabulary, hidden]; the embedding itself when tied
  at::ScalarType compute = at::kFloat;
  at::Device device = at::kCPU;
  /// Blocks below this one hold nothing that trains, nor does the embedding: no graph is kept for
  /// them. -1: the graph begins at the embedding. See find_trained_depth().
  int64_t graph_from = -1;

  /// The one list of tensors, under the names of the published checkpoint. A tied head is the
  /// embedding and appears once.
  void visit(const TensorVisitor& visitor);
};

/// The structure for a config, every tensor on the meta device until weights are loaded.
CausalLm build_model(const DecoderConfig& config);

/// Sets graph_from by what requires a gradient. To be called when that has changed.
void find_trained_depth(CausalLm& model);

/// Every linear of the blocks, under its name in the published checkpoint.
void visit_linears(CausalLm& model,
                   const std::function<void(const std::string& name, Linear& linear)>& visitor);

/// Every matrix: the embedding, the linears' weights, and a head of its own.
void visit_matrices(CausalLm& model,
                    const std::function<void(const std::string& name,
                                             std::shared_ptr<WeightSource>& weight)>& visitor);

/// Is it made of codes and scales, so that it is no matrix that could train as it is?
bool is_frozen_base(WeightSource& weight);

/// Numbers in the model, however many bits each takes; adapters apart.
int64_t parameter_count(CausalLm& model);

/// What a training pass has beyond an ordinary one.
struct TrainingPass {
  const TrainingNoise* noise = nullptr;
  bool recompute_blocks = false;  // keep only what enters each block, run it again in backward
};

/// input_ids int64 [tokens], documents laid end to end as `layout` says. Returns the normed hidden
/// states [tokens, hidden]; logits are their product with `head`, which the caller makes in
/// chunks of the rows it needs. With grad mode on, a graph is kept for backward(); the model, the
/// layout and the noise must outlive it. With `slots.cache` the tokens are appended to the cache.
at::Tensor forward_hidden(const CausalLm& model, const at::Tensor& input_ids,
                          const TokenLayout& layout, const CacheSlots& slots = {},
                          const TrainingPass& training = {});

/// rows [n, hidden] -> logits [n, vocabulary] in the compute type.
at::Tensor head_logits(const CausalLm& model, const at::Tensor& rows);

}  // namespace isogrid
