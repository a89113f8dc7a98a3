#pragma once
#include <ATen/Context.h>

#include <memory>
#include <string>
#include <vector>

#include "models/attach_adapters.h"
#include "models/random_init.h"
#include "tests/data/example_store.h"
#include "trainer/step.h"
#include "trainer/what_trains.h"

namespace isogrid::test {

inline DecoderConfig small_decoder() {
  DecoderConfig config;
  config.architecture = "qwen3";
  config.vocabulary = 61;
  config.hidden = 32;
  config.intermediate = 48;
  config.layers = 3;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 8;
  config.max_position = 128;
  config.tied_head = true;
  config.qk_norm = true;
  config.initializer_range = 0.1;
  config.layer_rotates.assign(3, true);
  config.layer_window.assign(3, 0);
  return config;
}

enum class Trains { all, adapters };

/// A small random model, its trainables and an optimizer, as a run would open them.
inline Training small_training(Trains what, at::ScalarType compute = at::kFloat) {
  Training training;
  training.model = build_model(small_decoder());
  initialise_randomly(training.model, 3, compute == at::kDouble ? at::kDouble : at::kFloat);
  training.model.compute = compute;
  if (what == Trains::all) {
    train_all(training.model);
  } else {
    training.model.visit([&](const TensorSlot& slot) { *slot.tensor = slot.tensor->to(compute); });
    AdapterSpec spec;
    spec.rank = 4;
    attach_fresh_adapters(training.model, spec, 1, at::kFloat);
    at::manual_seed(5);
    visit_linears(training.model, [](const std::string&, Linear& linear) {
      linear.adapter->b.uniform_(-0.2, 0.2);
    });
    train_adapters(training.model);
  }
  const auto master = compute == at::kDouble ? at::kDouble : at::kFloat;
  training.trainables = lay_out_trainables(training.model, {compute, master, at::kCPU});
  find_trained_depth(training.model);
  OptimizerConfig optimizer;
  training.optimizer = make_optimizer(optimizer, training.trainables);
  training.schedule = {.shape = "constant", .highest = 1e-3, .total = 10};
  return training;
}

/// Eight examples of different lengths, half of their tokens labelled.
inline std::shared_ptr<const RowStore> small_rows(ExampleStore& store,
                                                  const std::vector<std::vector<uint64_t>>& rows) {
  for (int64_t example = 0; example < 8; ++example) {
    std::vector<int64_t> ids, labels;
    for (int64_t i = 0; i < 5 + 3 * example; ++i) {
      ids.push_back((7 * example + 11 * i + 3) % 61);
      labels.push_back(i > example ? ids.back() : kNoLabel);
    }
    store.add(ids, labels);
  }
  return store.rows(rows);
}

}  // namespace isogrid::test
