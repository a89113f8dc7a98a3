#include <algorithm>

#include "models/attach_adapters.h"
#include "models/registry.h"
#include "models/rounding.h"
#include "models/weights.h"
#include "trainer/anchor.h"
#include "trainer/loss/head_loss.h"
#include "trainer/memory_plan.h"
#include "trainer/open_lut.h"
#include "trainer/open_model.h"
#include "trainer/open_training.h"
#include "trainer/optimizer.h"
#include "trainer/what_trains.h"

namespace isogrid {
namespace {

int64_t element_bytes(at::ScalarType type) { return static_cast<int64_t>(c10::elementSize(type)); }

/// The structure with what would train marked; every weight stays on the meta device.
CausalLm marked_structure(const RunConfig& config, const DecoderConfig& shape) {
  CausalLm model = build_model(shape);
  const std::string& how = config.finetuning.finetuning_type;
  if (how == "full" || config.model.train_from_scratch) {
    train_all(model);
  } else if (how == "freeze") {
    train_some_layers(model, config.finetuning);
  } else {
    AdapterSpec spec = adapter_spec(config.finetuning);
    const auto earlier = open_adapters(config);
    if (!earlier.empty() && !config.finetuning.create_new_adapter) spec = earlier.back().spec;
    attach_fresh_adapters(model, spec, /*seed=*/0, at::kFloat);
    train_adapters(model);
    train_in_full(model, config.finetuning.additional_target);
  }
  return model;
}

void count_parameters(CausalLm& model, RunSizes& sizes) {
  model.visit([&](const TensorSlot& slot) {
    const int64_t count = slot.tensor->numel();
    if (!is_adapter(slot.role)) sizes.parameters += count;
    if (!slot.tensor->requires_grad()) return;
    sizes.trained += count;
    if (!is_adapter(slot.role)) sizes.trained_in_model += count;
  });
  sizes.trains_head = model.head->trains();
}

/// A head that is rounded takes its gradient whole.
int64_t head_gradient(CausalLm& model, const QatConfig& config) {
  const int64_t rows = model.head->outputs(), columns = model.head->inputs();
  const char* name = model.head == model.embedding ? "model.embed_tokens.weight" : "lm_head.weight";
  const bool whole = target_grids(model, config).count(name) != 0;
  return columns * (whole ? rows : std::min(rows, head_gradient_rows(columns)));
}

/// What a labelled token's guesses take: as the cache tells them, and as outcomes of the loss.
int64_t teacher_bytes_per_label(const TeacherTokens& teacher, const KdConfig& kd) {
  const bool takes_negatives = kd.kd_loss == "candidates" || kd.kd_loss == "b";
  const int64_t drawn = kd.kd_sampled_ce > 0 ? kd.kd_sampled_negatives : 0;
  const int64_t outcomes = teacher.top_k + (takes_negatives ? teacher.negatives : 0);
  constexpr int64_t kStored = sizeof(int32_t) + sizeof(float);
  constexpr int64_t kOfOutcome = 3 * sizeof(float);  // weight, log-probability, probability
  return (teacher.top_k + teacher.negatives) * kStored + outcomes * kOfOutcome +
         (outcomes + drawn) * static_cast<int64_t>(sizeof(int64_t));
}

void find_largest_batch(const BatchStream& batches, const RunPlan& plan, const KdConfig& kd,
                        RunSizes& sizes) {
  constexpr int64_t kMostBatches = 2000;  // enough to meet the largest, few enough to be instant
  int64_t looked_at = 0;
  for (int64_t step = 0; step < plan.total_steps && looked_at < kMostBatches; ++step)
    for (int64_t m = 0; m < batches.micro_batches(step); ++m, ++looked_at) {
      const Batch batch = batches.at(step, m);
      sizes.largest_batch = std::max(sizes.largest_batch, batch.tokens());
      sizes.largest_batch_labels =
          std::max(sizes.largest_batch_labels, static_cast<int64_t>(batch.label_rows.size()));
      if (batch.teacher)
        sizes.teacher_bytes =
            sizes.largest_batch_labels * teacher_bytes_per_label(*batch.teacher, kd);
    }
}

}  // namespace

RunSizes sizes_before_loading(const RunConfig& config, const ModelFolder& folder,
                              const BatchStream& batches, const RunPlan& plan) {
  check_quantised_folder(config, folder);
  RunSizes sizes;
  sizes.shape =
      read_decoder_config(training_model_config(config, folder), folder.path + "/config.json");
  CausalLm model = marked_structure(config, sizes.shape);
  count_parameters(model, sizes);
  const QuantisedSize few_bits = quantised_size(model, config.quantisation, folder);
  sizes.quantised = few_bits.parameters;
  sizes.quantised_bytes = few_bits.bytes;
  sizes.largest_quantised = few_bits.largest;
  const at::ScalarType stored =
      config.model.train_from_scratch ? at::kFloat : stored_type(open_weights(*folder.files));
  const Precision precision = precision_of(config, chosen_device(config), stored);
  sizes.compute_bytes = element_bytes(precision.compute);
  sizes.master_bytes = element_bytes(precision.master);
  sizes.stored_bytes = element_bytes(stored);
  sizes.optimizer_bytes = optimizer_bytes_per_number(config.optimizer);
  sizes.head_gradient = head_gradient(model, config.qat);
  sizes.rounding_bytes = rounding_bytes(model, config.qat, sizes.compute_bytes);
  if (trains_lut(lut_run(config, folder))) count_lut_layers(model, config, folder, sizes);
  sizes.averages = config.optimizer.ema_decay > 0;
  find_largest_batch(batches, plan, config.kd, sizes);
  sizes.anchor_bytes =
      anchor_bytes(config.kd, std::min(sizes.largest_batch_labels, config.data.cutoff_len));
  return sizes;
}

}  // namespace isogrid
