#include "quant/gguf_weight.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "quant/grids/codecs.h"

namespace isogrid {
namespace {

/// Values one thread decodes at a time.
constexpr int64_t kShareOfBlocks = 1 << 15;

/// Rounds float32 to the type of 16 bits that is wanted; null: it stays.
const grids::BlockCodec* rounding_to(kernels::Element element) {
  if (element == kernels::Element::f32) return nullptr;
  return &grids::codec_of(gguf_type(element == kernels::Element::bf16 ? "BF16" : "F16"));
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return lower;
}

}  // namespace

GgufWeight::GgufWeight(const GgufType& type, at::Tensor blocks, int64_t inputs,
                       int64_t alternating_heads)
    : FrozenWeight(blocks.size(0), inputs),
      type_(type),
      blocks_(std::move(blocks)),
      alternating_heads_(alternating_heads) {
  const bool whole_rows = inputs % type.block == 0 && blocks_.is_contiguous() &&
                          blocks_.size(1) == inputs / type.block * type.bytes;
  if (!whole_rows || (alternating_heads > 0 && outputs() % (2 * alternating_heads) != 0))
    fail(ExitCode::internal, "a weight of ", type.name, " blocks has no whole rows or heads");
}

std::string GgufWeight::format() const { return "gguf:" + lower_case(type_.name); }

void GgufWeight::visit(const std::string& prefix, Role, const TensorVisitor& visitor) {
  visitor({prefix + ".weight", &blocks_, Role::code});
}

void GgufWeight::to(at::Device) {}

int64_t GgufWeight::stored_row(int64_t row) const {
  if (alternating_heads_ == 0) return row;
  const int64_t size = outputs() / alternating_heads_, half = size / 2;
  const int64_t within = row % size;
  return row - within + 2 * (within % half) + within / half;
}

void GgufWeight::expand(at::Tensor& out, int64_t first, int64_t last) const {
  if (!out.is_cpu()) {
    at::Tensor here = at::empty(out.sizes(), out.options().device(at::kCPU));
    expand(here, first, last);
    out.copy_(here);
    return;
  }
  const grids::BlockCodec& codec = grids::codec_of(type_);
  const grids::BlockCodec* rounding = rounding_to(element_of(out));
  const auto* from = static_cast<const std::byte*>(blocks_.const_data_ptr());
  auto* to = static_cast<std::byte*>(out.mutable_data_ptr());
  const int64_t row_bytes = blocks_.size(1), out_bytes = inputs() * out.element_size();
  const int64_t grain = std::max<int64_t>(1, kShareOfBlocks / std::max<int64_t>(1, inputs()));
  at::parallel_for(first, last, grain, [&](int64_t begin, int64_t end) {
    std::vector<float> wide(rounding == nullptr ? 0 : static_cast<size_t>(inputs()));
    for (int64_t row = begin; row < end; ++row) {
      const std::byte* blocks = from + stored_row(row) * row_bytes;
      std::byte* place = to + (row - first) * out_bytes;
      float* values = rounding == nullptr ? reinterpret_cast<float*>(place) : wide.data();
      codec.decode(blocks, inputs() / type_.block, values);
      if (rounding != nullptr) rounding->encode(values, nullptr, 1, inputs(), place);
    }
  });
}

}  // namespace isogrid
