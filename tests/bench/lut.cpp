// Seconds of a product with a layer of look-up tables, 2048 tokens in bfloat16: the weight formed
// and multiplied once, the rank-by-rank forward it replaces, and a plain product of the same shape.
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <benchmark/benchmark.h>

#include "quant/lut_forward.h"

namespace isogrid {
namespace {

constexpr int64_t kTokens = 2048, kOutputs = 1536, kInputs = 576;

LutFactors layer(int bits, int64_t rank) {
  LutFactors factors;
  factors.bits = bits;
  factors.codes = at::randint(256, {kOutputs, kInputs * bits / 8}, at::kByte);
  factors.table = std::get<0>(at::randn({int64_t{1} << bits}).sort());
  factors.left = at::randn({kOutputs, rank});
  factors.right = at::randn({rank, kInputs});
  return factors;
}

at::Tensor tokens() { return at::randn({kTokens, kInputs}).to(at::kBFloat16); }

void count_tokens(benchmark::State& state) {
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * kTokens);
}

void plain(benchmark::State& state) {
  const at::NoGradGuard no_grad;
  const at::Tensor x = tokens(), weight = at::randn({kOutputs, kInputs}).to(at::kBFloat16);
  for (auto _ : state) benchmark::DoNotOptimize(at::linear(x, weight).data_ptr());
  count_tokens(state);
}

void materialised(benchmark::State& state) {
  const at::NoGradGuard no_grad;
  const LutFactors factors = layer(static_cast<int>(state.range(0)), state.range(1));
  const at::Tensor x = tokens();
  at::Tensor weight = at::empty({kOutputs, kInputs}, at::kBFloat16);
  for (auto _ : state) {
    lut_expand(factors, weight, 0, kOutputs);
    benchmark::DoNotOptimize(at::linear(x, weight).data_ptr());
  }
  count_tokens(state);
}

void rank_by_rank(benchmark::State& state) {
  const at::NoGradGuard no_grad;
  const LutFactors factors = layer(static_cast<int>(state.range(0)), state.range(1));
  const at::Tensor x = tokens();
  for (auto _ : state)
    benchmark::DoNotOptimize(factored_product(factors, x, /*half=*/false).data_ptr());
  count_tokens(state);
}

BENCHMARK(plain)->Unit(benchmark::kMillisecond);
BENCHMARK(materialised)->Unit(benchmark::kMillisecond)->Args({2, 32})->Args({4, 32})->Args({4, 4});
BENCHMARK(rank_by_rank)->Unit(benchmark::kMillisecond)->Args({2, 32})->Args({4, 32})->Args({4, 4});

}  // namespace
}  // namespace isogrid

BENCHMARK_MAIN();
