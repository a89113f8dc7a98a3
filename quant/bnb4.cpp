#include "quant/bnb4.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/mean.h>

#include <cmath>

#include "core/error.h"
#include "kernels/scale_code.h"

namespace isogrid {
namespace {

using kernels::FourBitCode;
using kernels::FourBitTensor;

constexpr int64_t kGroup = 256;

/// Sums of LibTorch depend on how many threads share them.
class OneThread {
 public:
  OneThread() : before_(at::get_num_threads()) {
    if (before_ > 1) at::set_num_threads(1);
  }
  ~OneThread() {
    if (before_ > 1) at::set_num_threads(before_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

const char* code_name(FourBitCode code) { return code == FourBitCode::nf4 ? "nf4" : "fp4"; }

at::TensorOptions of_type(at::ScalarType type) { return at::TensorOptions().dtype(type); }

void check_finite(const std::string& name, const at::Tensor& scales, int64_t block) {
  const float* scale = scales.const_data_ptr<float>();
  for (int64_t b = 0; b < scales.numel(); ++b)
    if (!std::isfinite(scale[b]))
      fail(ExitCode::numeric, name, ": its numbers from ", b * block, " on hold ",
           std::isnan(scale[b]) ? "a NaN" : "an infinity",
           ", which four bits cannot express; repair the weights, or load them unquantised");
}

void quantise_scales(Bnb4Parts& parts) {
  const at::Tensor scales = parts.scales;
  {
    const OneThread one_thread;
    parts.offset = scales.mean().item<float>();
  }
  const at::Tensor shifted = scales - parts.offset;
  const int64_t count = scales.numel();
  parts.group = kGroup;
  parts.scale_map = bnb_scale_map();
  parts.scales = at::empty({count}, of_type(at::kByte));
  parts.group_scales = at::empty({(count + kGroup - 1) / kGroup}, of_type(at::kFloat));
  const kernels::ScaleCoder coder(parts.scale_map.const_data_ptr<float>());
  coder.encode(shifted.const_data_ptr<float>(), count, kGroup,
               parts.scales.mutable_data_ptr<uint8_t>(),
               parts.group_scales.mutable_data_ptr<float>());
}

FourBitTensor kernel_view(const Bnb4Parts& parts) {
  FourBitTensor view;
  view.codes = parts.codes.const_data_ptr<uint8_t>();
  view.values = kernels::four_bit_values(parts.code);
  view.block = parts.block;
  if (!parts.is_nested()) {
    view.scales = parts.scales.const_data_ptr<float>();
    return view;
  }
  view.scale_codes = parts.scales.const_data_ptr<uint8_t>();
  view.scale_map = parts.scale_map.const_data_ptr<float>();
  view.group_scales = parts.group_scales.const_data_ptr<float>();
  view.group = parts.group;
  view.offset = parts.offset;
  return view;
}

}  // namespace

Bnb4Weight::Bnb4Weight(Bnb4Parts parts)
    : FrozenWeight(parts.outputs, parts.inputs), parts_(std::move(parts)) {}

std::string Bnb4Weight::format() const { return concat("bnb:", code_name(parts_.code)); }

void Bnb4Weight::visit(const std::string& prefix, Role, const TensorVisitor& visitor) {
  visitor({prefix + ".weight", &parts_.codes, Role::code});
  visitor({prefix + ".weight.absmax", &parts_.scales, Role::scale});
  if (!parts_.is_nested()) return;
  visitor({prefix + ".weight.nested_absmax", &parts_.group_scales, Role::scale});
  visitor({prefix + ".weight.nested_quant_map", &parts_.scale_map, Role::scale});
}

void Bnb4Weight::to(at::Device device) {
  for (at::Tensor* tensor :
       {&parts_.codes, &parts_.scales, &parts_.group_scales, &parts_.scale_map})
    if (tensor->defined()) *tensor = tensor->to(device);
}

void Bnb4Weight::expand(at::Tensor& out, int64_t first, int64_t last) const {
  const FourBitTensor view = kernel_view(parts_);
  const kernels::Element element = element_of(out);
  auto* to = static_cast<char*>(out.mutable_data_ptr());
  const int64_t begin = first * inputs(), end = last * inputs(), size = out.element_size();
  if (!out.is_cpu())
    return kernels::dequantise_four_bit_on_device(view, element, to, begin, end, stream_of(out));
  constexpr int64_t kShare = 32768;  // numbers; a thread's share begins at a whole one
  at::parallel_for(begin / kShare, (end + kShare - 1) / kShare, 1, [&](int64_t a, int64_t b) {
    const int64_t from = std::max(a * kShare, begin), until = std::min(b * kShare, end);
    kernels::four_bit_kernels().dequantise(view, element, to + (from - begin) * size, from, until);
  });
}

Bnb4Parts quantise_bnb4(const std::string& name, const at::Tensor& dense, FourBitCode code,
                        bool nested, int64_t block) {
  const at::NoGradGuard no_grad;
  const at::Tensor from = dense.to(at::kCPU).contiguous();
  const int64_t count = from.numel(), blocks = (count + block - 1) / block;
  Bnb4Parts parts;
  parts.code = code;
  parts.outputs = dense.size(0);
  parts.inputs = dense.size(1);
  parts.block = block;
  parts.type = dense.scalar_type();
  parts.codes = at::empty({(count + 1) / 2, 1}, of_type(at::kByte));
  parts.scales = at::empty({blocks}, of_type(at::kFloat));
  at::parallel_for(0, blocks, 512, [&](int64_t first, int64_t last) {
    kernels::four_bit_kernels().quantise(code, element_of(from), from.const_data_ptr(), count,
                                         block, parts.codes.mutable_data_ptr<uint8_t>(),
                                         parts.scales.mutable_data_ptr<float>(), first, last);
  });
  check_finite(name, parts.scales, block);
  if (nested && count > 0) quantise_scales(parts);
  return parts;
}

at::Tensor bnb4_values(FourBitCode code) {
  at::Tensor values = at::empty({16}, of_type(at::kFloat));
  std::copy_n(kernels::four_bit_values(code), 16, values.mutable_data_ptr<float>());
  return values;
}

at::Tensor bnb_scale_map() {
  // Seven decades down from one, each with half as many evenly spaced values as the one above.
  std::vector<at::Tensor> parts;
  for (int decade = 0; decade < 7; ++decade) {
    const at::Tensor edges = at::linspace(0.1, 1.0, (1 << decade) + 1, of_type(at::kFloat));
    const at::Tensor middles = (edges.slice(0, 0, -1) + edges.slice(0, 1)) / 2.0;
    const at::Tensor values = middles * std::pow(10.0, decade - 6);
    parts.push_back(values);
    parts.push_back(-values);
  }
  at::Tensor ends = at::empty({2}, of_type(at::kFloat));
  ends.mutable_data_ptr<float>()[0] = 0.0f;
  ends.mutable_data_ptr<float>()[1] = 1.0f;
  parts.push_back(ends);
  return std::get<0>(at::cat(parts).sort());
}

int64_t bnb4_bytes(int64_t numbers, bool nested, int64_t block) {
  const int64_t blocks = (numbers + block - 1) / block;
  const int64_t codes = (numbers + 1) / 2;
  return nested ? codes + blocks + 4 * ((blocks + kGroup - 1) / kGroup) + 1024 : codes + 4 * blocks;
}

}  // namespace isogrid
