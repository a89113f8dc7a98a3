#include <filesystem>

#include "core/error.h"
#include "core/tensor_file.h"
#include "export/registry.h"
#include "models/folder_writer.h"

namespace isogrid {

void write_adapter(ExportSource& source, const ExportRequest& request) {
  if (source.adapters.size() != 1)
    fail(ExitCode::configuration, "export_formats: adapter: adapter_name_or_path names ",
         source.adapters.size(),
         " adapters; one can be written as it is, several only merged (hf)");
  const PeftFolder& adapter = source.adapters.front();
  const StoredValue value = [](const TensorSlot& slot) { return *slot.tensor; };
  const std::vector<NamedTensor> tensors = peft_tensors(source.model, source.replaced, value);
  const Json config = peft_config(source.model, adapter.spec, adapter.base_model, source.replaced);
  make_directories(request.directory);
  const auto in_folder = [&](const std::string& name) {
    return (std::filesystem::path(request.directory) / name).string();
  };
  write_tensors(in_folder("adapter_model.safetensors"), tensors);
  for (const FileToWrite& file : plan_tokenizer_files(source.folder))
    write_file_durably(in_folder(file.name), file.size, file.produce);
  write_file_durably(in_folder("adapter_config.json"), as_bytes(dump_json(config)));
}

}  // namespace isogrid
