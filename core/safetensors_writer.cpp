#include "core/safetensors_writer.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/json.h"

namespace isogrid {
namespace {

std::string json_header(const std::vector<TensorEntry>& tensors,
                        const SafetensorsMetadata& metadata) {
  std::string text = "{";
  const auto quoted = [](const std::string& value) { return Json(value).dump(); };
  if (!metadata.empty()) {
    text += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) text += quoted(key) + ":" + quoted(value) + ",";
    text.back() = '}';
    text += ',';
  }
  for (const TensorEntry& entry : tensors) {
    text += quoted(entry.name) + ":{\"dtype\":\"" + dtype_name(entry.dtype) + "\",\"shape\":[";
    for (size_t i = 0; i < entry.shape.size(); ++i)
      text += (i == 0 ? "" : ",") + std::to_string(entry.shape[i]);
    text += "],\"data_offsets\":[" + std::to_string(entry.begin) + "," + std::to_string(entry.end) +
            "]},";
  }
  if (text.size() > 1) text.pop_back();
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data section starts aligned
  return text;
}

}  // namespace

SafetensorsLayout plan_safetensors(std::vector<TensorEntry> tensors,
                                   const SafetensorsMetadata& metadata) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return a.dtype != b.dtype ? a.dtype > b.dtype : a.name < b.name;
  });
  uint64_t offset = 0;
  for (TensorEntry& entry : tensors) {
    const std::optional<uint64_t> bytes = tensor_bytes(entry.dtype, entry.shape);
    if (!bytes || entry.shape.size() > kMaxTensorRank || !is_tensor_name(entry.name) ||
        entry.name == "__metadata__")
      fail(ExitCode::internal, "tensor '", entry.name, "' cannot be stored as safetensors");
    entry.begin = offset;
    if (__builtin_add_overflow(offset, *bytes, &offset))
      fail(ExitCode::internal, "tensor '", entry.name, "': the file would exceed 64-bit offsets");
    entry.end = offset;
  }
  const std::string json = json_header(tensors, metadata);
  SafetensorsLayout layout;
  for (uint64_t i = 0; i < 8; ++i)
    layout.header += static_cast<char>(uint64_t{json.size()} >> (8 * i) & 0xff);
  layout.header += json;
  layout.file_size = layout.header.size() + offset;
  const SafetensorsHeader check(tensors, {}, layout.header.size());
  if (const std::string* twice = check.duplicate_name())
    fail(ExitCode::internal, "tensor '", *twice, "' would be stored twice in one file");
  layout.tensors = std::move(tensors);
  return layout;
}

void append_safetensors(OutputFile& file, const SafetensorsLayout& layout,
                        const TensorProducer& produce) {
  const uint64_t start = file.bytes_so_far();
  file.append(as_bytes(layout.header));
  for (const TensorEntry& entry : layout.tensors) {
    produce(entry, file);
    const uint64_t came = file.bytes_so_far() - start - layout.header.size() - entry.begin;
    if (came != entry.bytes())
      fail(ExitCode::internal, "tensor '", entry.name, "': ", came, " bytes produced, ",
           entry.bytes(), " announced");
  }
}

WrittenFile write_safetensors(const std::string& path, const SafetensorsLayout& layout,
                              const TensorProducer& produce, IoCalls& io) {
  return write_file_durably(
      path, layout.file_size, [&](OutputFile& file) { append_safetensors(file, layout, produce); },
      io);
}

}  // namespace isogrid
