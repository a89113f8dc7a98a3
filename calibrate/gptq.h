#pragma once
#include <functional>
#include <string>
#include <vector>

#include "data/batch.h"
#include "models/causal_lm.h"
#include "quant/group_grid.h"
#include "quant/packed_model.h"

namespace isogrid {

/// In which order GPTQ rounds the columns of a weight.
enum class ColumnOrder {
  stored,     // as they lie
  important,  // the loudest inputs first; groups stay neighbours, their grids are fitted beforehand
  scattered,  // the same, and groups follow that order: the file names every column's group
};

struct GptqOptions {
  GroupRule rule;
  ColumnOrder order = ColumnOrder::important;
  double damping = 0.01;  // of the mean of the second moment's diagonal
};

struct GptqResult {
  PackedGroupParts parts;
  double error = 0;    // what rounding adds to the product, as product_error() counts it, damped
  double damping = 0;  // what it took to make the moments positive definite
};

/// Rounds weight [out, in] column by column, letting the columns that are still free make up for
/// what was lost (Frantar et al. 2022). `moment` is the second moment of the inputs, [in, in].
GptqResult quantise_gptq(const std::string& name, const at::Tensor& weight,
                         const at::Tensor& moment, const GptqOptions& options);

/// Can a container hold a linear of this shape? Empty: any.
using LinearFits = std::function<bool(int64_t outputs, int64_t inputs)>;
/// Hears of what is done and what there is to do.
using CalibrationProgress = std::function<void(int64_t done, int64_t all)>;

/// Every linear of the blocks that `fits` (all, where it is empty), with what came before it
/// already rounded. `format` names the container in reports. The model stays as it is.
PackedModel calibrate_gptq(const CausalLm& model, const std::vector<Batch>& rows,
                           const GptqOptions& options, const char* format,
                           const LinearFits& fits = {}, const CalibrationProgress& progress = {});

/// Remembers the largest relative error of a product, and whose it is.
void note_error(PackedModel& packed, const std::string& name, const at::Tensor& rounded,
                const at::Tensor& dense, const at::Tensor& moment);

/// The blocks' linears become the packed ones, norms and biases what they were changed to. A name
/// that is no linear is an error (70).
void use_packed(CausalLm& model, const PackedModel& packed);

}  // namespace isogrid
