// Bytes a second, read and written, of the expansions of quantised weights on one core, beside a
// plain copy of as many bytes: what the memory gives.
#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

#include "kernels/four_bit.h"
#include "kernels/int8_rows.h"
#include "kernels/packed_groups.h"

namespace isogrid::kernels {
namespace {

constexpr int64_t kRows = 4096, kColumns = 8192, kCount = kRows * kColumns;

size_t size_of(Element element) { return element == Element::f32 ? 4 : 2; }

template <typename T>
std::vector<T> filled(int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  auto* bytes = reinterpret_cast<uint8_t*>(values.data());
  for (size_t i = 0; i < values.size() * sizeof(T); ++i)
    bytes[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
  return values;
}

void count_bytes(benchmark::State& state, int64_t read, Element element) {
  const auto written = static_cast<int64_t>(size_of(element)) * kCount;
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * (read + written));
}

/// As many bytes read as written, as much written as by the expansion.
void copy(benchmark::State& state, Element element) {
  const size_t bytes = size_of(element) * kCount;
  const std::vector<uint8_t> from(bytes, 1);
  std::vector<uint8_t> to(bytes);
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), bytes);
    benchmark::ClobberMemory();
  }
  count_bytes(state, static_cast<int64_t>(bytes), element);
}

void four_bit(benchmark::State& state, bool nested, Element element) {
  const auto codes = filled<uint8_t>(kCount / 2), scale_codes = filled<uint8_t>(kCount / 64);
  const std::vector<float> scales(kCount / 64, 0.5f), map(256, 0.25f), groups(kCount / 64 / 256, 1);
  FourBitTensor tensor;
  tensor.codes = codes.data();
  tensor.values = four_bit_values(FourBitCode::nf4);
  if (nested) {
    tensor.scale_codes = scale_codes.data();
    tensor.scale_map = map.data();
    tensor.group_scales = groups.data();
  } else {
    tensor.scales = scales.data();
  }
  std::vector<uint8_t> to(size_of(element) * kCount);
  for (auto _ : state) {
    four_bit_kernels().dequantise(tensor, element, to.data(), 0, kCount);
    benchmark::ClobberMemory();
  }
  count_bytes(state, kCount / 2 + kCount / 64 * (nested ? 1 : 4), element);
}

void int8_rows(benchmark::State& state, Element element) {
  const auto codes = filled<int8_t>(kCount);
  const std::vector<float> scales(kRows, 0.5f);
  std::vector<uint8_t> to(size_of(element) * kCount);
  for (auto _ : state) {
    int8_row_kernels().dequantise(codes.data(), scales.data(), element, to.data(), 0, kRows,
                                  kColumns);
    benchmark::ClobberMemory();
  }
  count_bytes(state, kCount + 4 * kRows, element);
}

void packed_groups(benchmark::State& state, int bits, bool scattered, Element element) {
  const auto codes = filled<uint8_t>(kCount * bits / 8);
  const std::vector<uint16_t> scales(kCount / 128, 0x3800);  // 0.5 in float16
  const std::vector<uint8_t> zeros(kCount / 128, 7);
  std::vector<int32_t> group_of(kColumns);
  for (size_t i = 0; i < group_of.size(); ++i) group_of[i] = static_cast<int32_t>(i * 7 % 64);
  PackedGroups weight;
  weight.bits = bits;
  weight.codes = codes.data();
  weight.row_bytes = kColumns * bits / 8;
  weight.columns = kColumns;
  weight.scales = scales.data();
  weight.zeros = zeros.data();
  weight.groups = kColumns / 128;
  weight.group_size = 128;
  if (scattered) weight.group_of = group_of.data();
  std::vector<uint8_t> to(size_of(element) * kCount);
  for (auto _ : state) {
    packed_group_kernels().dequantise(weight, element, to.data(), 0, kRows);
    benchmark::ClobberMemory();
  }
  count_bytes(state, kCount * bits / 8 + kCount / 128 * 3, element);
}

BENCHMARK_CAPTURE(copy, bf16, Element::bf16);
BENCHMARK_CAPTURE(copy, f32, Element::f32);
BENCHMARK_CAPTURE(four_bit, bf16, false, Element::bf16);
BENCHMARK_CAPTURE(four_bit, nested_bf16, true, Element::bf16);
BENCHMARK_CAPTURE(four_bit, nested_f32, true, Element::f32);
BENCHMARK_CAPTURE(int8_rows, bf16, Element::bf16);
BENCHMARK_CAPTURE(int8_rows, f32, Element::f32);
BENCHMARK_CAPTURE(packed_groups, 4_bits_bf16, 4, false, Element::bf16);
BENCHMARK_CAPTURE(packed_groups, 4_bits_f32, 4, false, Element::f32);
BENCHMARK_CAPTURE(packed_groups, 4_bits_act_order_bf16, 4, true, Element::bf16);
BENCHMARK_CAPTURE(packed_groups, 3_bits_bf16, 3, false, Element::bf16);
BENCHMARK_CAPTURE(packed_groups, 8_bits_bf16, 8, false, Element::bf16);

}  // namespace
}  // namespace isogrid::kernels

BENCHMARK_MAIN();
