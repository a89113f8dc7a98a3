#include "trainer/open_model.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <filesystem>
#include <optional>

#include "configs/rules.h"
#include "configs/values.h"
#include "core/error.h"
#include "core/log.h"
#include "models/hub_cache.h"
#include "models/trained_codes.h"
#include "models/weights.h"

namespace isogrid {
namespace {

/// Empty: the type the weights are stored in.
std::optional<at::ScalarType> inference_type(const RunConfig& config) {
  const std::string& name = inference_dtype(config);
  if (name == "float32") return at::kFloat;
  if (name == "bfloat16") return at::kBFloat16;
  if (name == "float16") return at::kHalf;
  if (name == "float64") return at::kDouble;
  return std::nullopt;
}

}  // namespace

std::string model_folder_path(const RunConfig& config) {
  return resolve_model(required_model(config), config.model.model_revision);
}

at::Device chosen_device(const RunConfig& config) {
  const std::string& name = config.run.device;
  const int64_t devices =
      at::hasCUDA() ? static_cast<int64_t>(at::detail::getCUDAHooks().deviceCount()) : 0;
  if (name == "cpu") return at::kCPU;
  if (name == "auto") return devices > 0 ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
  const at::Device device(name);
  if (devices == 0)
    fail(ExitCode::configuration, "device: ", name,
         ": this program or this machine has no CUDA device; allowed are cpu and auto");
  const int64_t index = device.has_index() ? device.index() : 0;
  if (index >= devices)
    fail(ExitCode::configuration, "device: ", name, ": this machine has ", devices, " CUDA device",
         devices == 1 ? "" : "s", ", numbered from 0");
  return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index));
}

std::vector<PeftFolder> open_adapters(const RunConfig& config) {
  std::vector<PeftFolder> folders;
  for (const std::string& name : config.model.adapter_name_or_path) {
    const std::string path =
        config.model.adapter_folder
            ? (std::filesystem::path(*config.model.adapter_folder) / name).string()
            : resolve_model(name, config.model.model_revision);
    folders.push_back(open_peft_folder(path));
  }
  return folders;
}

void check_quantised_folder(const RunConfig& config, const ModelFolder& folder) {
  LoadOptions options;
  set_quantisation(options, {}, folder);
  if (!options.stored_as) return;
  RunConfig asked = config;
  // Linears that train make no frozen base, so training them is no contradiction.
  if (options.stored_as->trains() && asked.finetuning.finetuning_type == "full")
    asked.finetuning.finetuning_type = "lora";
  const auto problems = quantised_base_problems(
      asked, concat("model_name_or_path = ", required_model(config),
                    ", which is quantised already (", options.stored_as->name(), ")"));
  if (!problems.empty()) fail(ExitCode::configuration, joined_problems("", problems));
}

OpenedModel open_model(const RunConfig& config) {
  const std::string path = model_folder_path(config);
  if (config.run.threads > 0) at::set_num_threads(static_cast<int>(config.run.threads));
  LoadOptions options;
  options.device = chosen_device(config);
  options.compute = inference_type(config);
  OpenedModel opened;
  opened.folder = open_model_folder(path);
  set_quantisation(options, config.quantisation, opened.folder);
  opened.model = load_model(opened.folder, options);
  const std::vector<PeftFolder> adapters = open_adapters(config);
  if (options.stored_as && adapters.size() > 1)
    fail(ExitCode::configuration, "adapter_name_or_path: came ", adapters.size(),
         " adapters, and model_name_or_path = ", path, " is quantised already (",
         options.stored_as->name(), "): it takes one adapter; merge them first");
  const auto codes =
      read_trained_codes(adapters.empty() ? opened.folder.path : adapters.back().path);
  // An adapter whose codes are served is read with all its digits: they tell whose codes they are.
  const at::ScalarType type = codes && codes->merged ? at::kFloat : opened.model.compute;
  std::vector<std::string> replaced;
  for (size_t i = 0; i < adapters.size(); ++i) {
    for (std::string& name : attach_peft_adapters(opened.model, adapters[i], type))
      replaced.push_back(std::move(name));
    // The last one stays apart: merging would round the sum to the weights' type.
    if (i + 1 < adapters.size()) merge_adapters(opened.model);
  }
  if (codes) {
    log_info(concat("weights as trained for ", codes->target, ": ", codes->path));
    check_trained_codes(opened.model, *codes, open_weights(*opened.folder.files), replaced);
    serve_trained_codes(opened.model, *codes);
  }
  return opened;
}

}  // namespace isogrid
