#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "core/tensor_file.h"
#include "trainer/commands/commands.h"
#include "trainer/open_model.h"

namespace isogrid {
namespace {

[[noreturn]] void refuse_ids(const std::string& file, size_t list) {
  fail(ExitCode::refused_input, file, ": entry ", list,
       ": allowed is a list of lists of token ids, for example [[1, 2, 3], [4, 5]]");
}

std::vector<at::Tensor> read_token_lists(const std::string& file) {
  const Json lists = read_json_file(file, {.max_bytes = 1 << 30, .max_depth = 4});
  if (!lists.is_array()) refuse_ids(file, 0);
  std::vector<at::Tensor> sequences;
  for (size_t i = 0; i < lists.size(); ++i) {
    if (!lists[i].is_array()) refuse_ids(file, i);
    at::Tensor ids = at::empty({static_cast<int64_t>(lists[i].size())}, at::kLong);
    for (size_t j = 0; j < lists[i].size(); ++j) {
      if (!lists[i][j].is_number_integer()) refuse_ids(file, i);
      ids.mutable_data_ptr<int64_t>()[j] = lists[i][j].get<int64_t>();
    }
    sequences.push_back(ids);
  }
  return sequences;
}

at::Tensor logits_of(const CausalLm& model, const at::Tensor& ids) {
  if (ids.numel() == 0) return at::empty({0, model.config.vocabulary}, at::kFloat);
  const TokenLayout layout = lay_out(model.config, {ids.numel()}, {}, model.device);
  return head_logits(model, forward_hidden(model, ids, layout)).to(at::kCPU, at::kFloat);
}

}  // namespace

int run_logits(const Invocation& invocation) {
  const at::NoGradGuard no_grad;
  const CommandOptions& options = invocation.options;
  if (!options.token_ids || !options.output)
    fail(ExitCode::usage, "logits needs --token_ids FILE.json and --output FILE.safetensors");
  const auto sequences = read_token_lists(*options.token_ids);
  const OpenedModel opened = open_model(invocation.config);
  std::vector<NamedTensor> results;
  for (size_t i = 0; i < sequences.size(); ++i)
    results.push_back({concat("logits.", i), logits_of(opened.model, sequences[i])});
  write_tensors(*options.output, results);
  log_info(concat("wrote the logits of ", sequences.size(), " sequences to ", *options.output));
  return 0;
}

}  // namespace isogrid
