#include "export/balanced_codes.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Half.h>

#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/log.h"
#include "quant/gguf_grid.h"
#include "quant/lut_balanced.h"
#include "quant/row_chunks.h"

namespace isogrid {
namespace {

constexpr int64_t kSuperBlock = 256;
/// Halves of smaller ones lose digits in float16.
constexpr double kLeastScale = 0x1p-13;

void put_float16(std::byte* to, double value) {
  const c10::Half half(static_cast<float>(value));
  std::memcpy(to, &half.x, sizeof half.x);
}

/// 256 codes of 2 bits as a block of Q2_K: relative scales and minima, codes, d, dmin.
void put_q2_k(const uint8_t* codes, double scale, std::byte* to) {
  constexpr std::byte kTwoAndThree{0x32};
  std::fill_n(to, 16, kTwoAndThree);
  for (int64_t half = 0; half < 2; ++half)
    for (int64_t i = 0; i < 32; ++i) {
      unsigned packed = 0;
      for (unsigned j = 0; j < 4; ++j) packed |= unsigned{codes[128 * half + 32 * j + i]} << 2 * j;
      to[16 + 32 * half + i] = static_cast<std::byte>(packed);
    }
  put_float16(to + 80, scale / 2);
  put_float16(to + 82, scale / 2);
}

/// 256 codes of 4 bits as a block of Q4_K: d, dmin, relative scales and minima of 6 bits, codes.
void put_q4_k(const uint8_t* codes, double scale, std::byte* to) {
  put_float16(to, scale / 2);
  put_float16(to + 2, scale / 2);
  std::fill_n(to + 4, 4, std::byte{2});
  std::fill_n(to + 8, 4, std::byte{15});
  std::fill_n(to + 12, 4, std::byte{0xf2});
  for (int64_t part = 0; part < 4; ++part)
    for (int64_t i = 0; i < 32; ++i) {
      const unsigned low = codes[64 * part + i], high = codes[64 * part + 32 + i];
      to[16 + 32 * part + i] = static_cast<std::byte>(low | high << 4);
    }
}

/// Why blocks cannot hold the layer exactly; empty: they can.
std::string why_not(const BalancedWeight& weight) {
  if (weight.inputs() % kSuperBlock != 0)
    return concat("rows of ", weight.inputs(), " weights are no whole blocks of ", kSuperBlock);
  const double scale = weight.scale();
  if (scale < kLeastScale || static_cast<double>(c10::Half(static_cast<float>(scale))) != scale)
    return concat("the scale ", scale, " is no number of float16 (lut_ste_fp16: true rounds it)");
  return "";
}

TrainedWeight as_blocks(const std::string& name, const BalancedWeight& weight) {
  const bool two_bits = weight.bits() == 2;
  TrainedWeight blocks;
  blocks.grid = make_gguf_grid(two_bits ? "gguf:q2_k" : "gguf:q4_k");
  blocks.columns = weight.inputs();
  const int64_t rows = weight.outputs(), bytes = blocks.grid->row_bytes(blocks.columns);
  const int64_t per_row = blocks.columns / kSuperBlock, block_bytes = bytes / per_row;
  blocks.records = at::zeros({rows, bytes}, at::kByte);
  const at::Tensor codes = weight.codes().cpu().contiguous();
  const uint8_t* code = codes.const_data_ptr<uint8_t>();
  auto* record = static_cast<std::byte*>(blocks.records.data_ptr());
  for (int64_t block = 0; block < rows * per_row; ++block)
    (two_bits ? put_q2_k : put_q4_k)(code + block * kSuperBlock, weight.scale(),
                                     record + block * block_bytes);
  if (!at::equal(blocks.decoded(), whole_weight(weight, at::kFloat, at::kCPU)))
    fail(ExitCode::internal, name, ": its blocks do not decode to the balanced levels");
  return blocks;
}

}  // namespace

std::shared_ptr<const TrainedCodes> balanced_codes(CausalLm& model) {
  const at::NoGradGuard no_grad;
  auto codes = std::make_shared<TrainedCodes>();
  codes->target = kBalancedTarget;
  codes->path = kBalancedTarget;
  std::string problem;
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    const auto* balanced = dynamic_cast<const BalancedWeight*>(linear.weight.get());
    if (balanced == nullptr || linear.adapter || !problem.empty()) return;
    if (const std::string why = why_not(*balanced); !why.empty())
      problem = concat(name, ": ", why);
    else
      codes->weights[name + ".weight"] = as_blocks(name, *balanced);
  });
  if (!problem.empty()) {
    log_info(concat("Q2_K and Q4_K cannot hold these balanced levels as they are: ", problem));
    return nullptr;
  }
  return codes->weights.empty() ? nullptr : codes;
}

bool holds_balanced_codes(const TrainedCodes& codes, const GgufMix& mix) {
  size_t of_two_bits = 0;
  for (const auto& [name, weight] : codes.weights)
    if (weight.grid->name() == "gguf:q2_k") ++of_two_bits;
  return mix.base == (2 * of_two_bits >= codes.weights.size() ? "Q2_K" : "Q4_K");
}

}  // namespace isogrid
