#include "trainer/trainables.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

namespace isogrid {
namespace {

constexpr int64_t kAlignment = 16;  // elements; vector kernels and products want whole lines

int64_t aligned(int64_t count) { return (count + kAlignment - 1) / kAlignment * kAlignment; }

bool decays(Role role) {
  return role != Role::norm && role != Role::bias && role != Role::adapter_magnitude &&
         role != Role::table;
}

}  // namespace

at::Tensor Trainables::view(const at::Tensor& flat, const TrainedSlice& slice) const {
  return flat.slice(0, slice.first, slice.first + slice.count).view(slice.shape);
}

const TrainedSlice* Trainables::find(const std::string& name) const {
  const auto found = std::find_if(slices.begin(), slices.end(),
                                  [&](const TrainedSlice& slice) { return slice.name == name; });
  return found == slices.end() ? nullptr : &*found;
}

Trainables lay_out_trainables(CausalLm& model, const MasterPolicy& policy) {
  const at::NoGradGuard no_grad;
  Trainables trainables;
  int64_t size = 0;
  std::vector<TensorSlot> trained;
  model.visit([&](const TensorSlot& slot) {
    if (!slot.tensor->requires_grad()) return;
    TrainedSlice slice{.name = slot.name, .role = slot.role, .shape = slot.tensor->sizes().vec()};
    slice.first = size;
    slice.count = slot.tensor->numel();
    slice.decays = decays(slot.role);
    size += aligned(slice.count);
    trainables.elements += slice.count;
    trainables.slices.push_back(std::move(slice));
    trained.push_back(slot);
  });
  const auto flat = [&](at::ScalarType type) {
    return at::zeros({size}, at::TensorOptions().dtype(type).device(policy.device));
  };
  trainables.master = flat(policy.master);
  trainables.working = policy.compute == policy.master ? trainables.master : flat(policy.compute);
  trainables.gradient = flat(policy.master == at::kDouble ? at::kDouble : at::kFloat);
  for (size_t i = 0; i < trained.size(); ++i) {
    const TrainedSlice& slice = trainables.slices[i];
    at::Tensor& tensor = *trained[i].tensor;
    const at::Tensor value = tensor.detach();
    tensor = trainables.view(trained[i].in_master ? trainables.master : trainables.working, slice);
    tensor.requires_grad_();
    tensor.mutable_grad() = trainables.view(trainables.gradient, slice);
    if (!value.is_meta()) take_stored(trainables, slice.name, value);
  }
  return trainables;
}

bool take_stored(Trainables& trainables, const std::string& name, const at::Tensor& stored) {
  const TrainedSlice* slice = trainables.find(name);
  if (slice == nullptr) return false;
  const at::NoGradGuard no_grad;
  trainables.view(trainables.master, *slice).copy_(stored);
  if (trainables.has_own_working())
    trainables.view(trainables.working, *slice).copy_(trainables.view(trainables.master, *slice));
  return true;
}

void refresh_working(Trainables& trainables) {
  const at::NoGradGuard no_grad;
  if (trainables.has_own_working()) trainables.working.copy_(trainables.master);
}

}  // namespace isogrid
