#include <filesystem>

#include "core/error.h"
#include "core/log.h"
#include "core/tensor_file.h"
#include "models/folder_writer.h"
#include "models/random_init.h"
#include "models/registry.h"
#include "trainer/commands/commands.h"

namespace isogrid {
namespace {

at::ScalarType type_named(const std::string& name, const std::string& where) {
  if (name == "float32") return at::kFloat;
  if (name == "bfloat16") return at::kBFloat16;
  if (name == "float16") return at::kHalf;
  fail(ExitCode::refused_input, where, ": torch_dtype is ", name,
       "; allowed are float32, bfloat16 and float16");
}

}  // namespace

int run_init_model(const Invocation& invocation) {
  const std::string &from = invocation.positional[0], &to = invocation.positional[1];
  if (std::filesystem::exists(to) && !std::filesystem::is_empty(to))
    fail(ExitCode::locked, to, ": is not empty; name a folder that is new or empty");
  const ModelFolder source = open_model_folder(from);
  const std::string where = from + "/config.json";
  CausalLm model = build_model(read_decoder_config(source.config, where));
  initialise_randomly(model, static_cast<uint64_t>(invocation.config.run.seed),
                      type_named(model.config.stored_dtype, where));

  std::vector<NamedTensor> tensors;
  int64_t parameters = 0;
  model.visit([&](const TensorSlot& slot) {
    tensors.push_back({slot.name, *slot.tensor});
    parameters += slot.tensor->numel();
  });
  write_model_folder_files(source, source.config, to);
  write_tensors(to + "/model.safetensors", tensors);
  log_info(concat("wrote a ", model.config.architecture, " of ", parameters,
                  " random parameters to ", to));
  return 0;
}

}  // namespace isogrid
