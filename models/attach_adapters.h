#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "models/causal_lm.h"

namespace isogrid {

/// Which linears get an adapter and of what size, in the terms of PEFT's adapter_config.json.
struct AdapterSpec {
  int64_t rank = 8;
  double alpha = 16;
  double dropout = 0;
  bool rank_stabilised = false;  // rsLoRA: alpha / sqrt(rank)
  bool dora = false;
  std::vector<std::string> targets = {"all"};  // name endings; all: every linear of the blocks
  std::map<std::string, int64_t> rank_pattern = {};  // name ending -> rank
  std::map<std::string, double> alpha_pattern = {};
};

double adapter_scale(double alpha, int64_t rank, bool rank_stabilised);

/// Is `name` the module that `ending` means: itself, or the end of it after a dot?
bool ends_module_name(const std::string& name, const std::string& ending);

/// Fresh adapters: a uniform in +-1/sqrt(in), b zero, drawn by the linear's name. The structure is
/// enough; the weights need not be loaded. A target that names no linear is refused (78).
void attach_fresh_adapters(CausalLm& model, const AdapterSpec& spec, uint64_t seed,
                           at::ScalarType type);

/// What needs the loaded weights: DoRA's magnitudes (the lengths of the rows).
void initialise_magnitudes(CausalLm& model);

/// PiSSA: a and b from the largest singular triples, which are taken out of the weight.
/// `power_iterations` -1: the exact decomposition.
void initialise_by_singular_vectors(CausalLm& model, int64_t power_iterations, uint64_t seed);

/// W + scale * b a (rows brought to the magnitude with DoRA), summed in float32 (float64 for a
/// float64 weight), rounded to the weight's own type.
at::Tensor merged_weight(const Linear& linear, at::ScalarType type);

/// Every adapter becomes part of its weight.
void merge_adapters(CausalLm& model);

void refresh_row_lengths(CausalLm& model);

}  // namespace isogrid
