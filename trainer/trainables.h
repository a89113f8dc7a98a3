#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "models/causal_lm.h"

namespace isogrid {

/// One trained tensor's place in the flat stores.
struct TrainedSlice {
  std::string name;
  Role role;
  std::vector<int64_t> shape;
  int64_t first = 0;  // element of the flat stores, a multiple of 16
  int64_t count = 0;
  double rate = 1.0;   // its learning rate over the schedule's
  bool decays = true;  // norms, biases and tables do not
  bool moves = true;   // false: held where it is from some step on
};

/// Everything that trains, laid end to end in the order of the model's visit. The model's own
/// tensors are views of `working`, or of `master` where they ask for it, and their .grad() views of
/// `gradient`: one kernel updates all, one collective sums all. Gaps between slices stay zero.
struct Trainables {
  std::vector<TrainedSlice> slices;
  at::Tensor master;     // [n] float32 (the compute type itself in pure_bf16 and float64)
  at::Tensor working;    // [n] in the compute type; `master` itself where the types agree
  at::Tensor gradient;   // [n] float32, or float64
  int64_t elements = 0;  // without the gaps

  bool has_own_working() const { return !working.is_same(master); }
  at::Tensor view(const at::Tensor& flat, const TrainedSlice& slice) const;
  const TrainedSlice* find(const std::string& name) const;
};

/// How masters are kept beside what is computed with.
struct MasterPolicy {
  at::ScalarType compute = at::kFloat;
  at::ScalarType master = at::kFloat;
  at::Device device = at::kCPU;
};

/// Lays out every tensor of the model that requires a gradient and puts views in its place, with
/// the values it has; one that is not loaded yet gets its value by take_stored().
Trainables lay_out_trainables(CausalLm& model, const MasterPolicy& policy);

/// A stored value for a trained tensor; false: `name` does not train.
bool take_stored(Trainables& trainables, const std::string& name, const at::Tensor& stored);

/// working = master, rounded.
void refresh_working(Trainables& trainables);

}  // namespace isogrid
