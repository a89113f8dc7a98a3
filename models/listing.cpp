#include "models/listing.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>

#include "core/gguf_folder.h"
#include "models/folder.h"
#include "models/weight_index.h"

namespace isogrid {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

Json metadata_json(const SafetensorsFile& file) {
  Json metadata = Json::object();
  for (const auto& [key, value] : file.header().metadata()) metadata[key] = value;
  return metadata;
}

void add_rows(TensorListing& listing, const SafetensorsFile& file) {
  const std::string name = std::filesystem::path(file.name()).filename().string();
  for (const TensorEntry& entry : file.header().tensors())
    listing.rows.push_back({name, entry.name, dtype_name(entry.dtype), entry.shape, entry.bytes(),
                            entry.bytes() * 8 / dtype_bits(entry.dtype)});
}

Json plain_text(std::string_view text) {
  // Bytes that are no UTF-8 would stop the printing of everything else.
  return Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace));
}

Json number_json(bool integer, double value, const GgufValue& from) {
  if (!integer) return value;
  if (const auto natural = from.natural(); natural && from.kind != GgufKind::array) return *natural;
  return static_cast<int64_t>(value);
}

Json value_json(const GgufValue& value) {
  if (const auto text = value.text()) return plain_text(*text);
  if (const auto boolean = value.boolean()) return *boolean;
  if (const auto number = value.number()) return number_json(value.is_integer(), *number, value);
  Json list = Json::array();
  if (value.element == GgufKind::string)
    for (const std::string_view text : value.texts()) list.push_back(plain_text(text));
  else if (value.element == GgufKind::boolean)
    for (const std::byte each : value.bytes) list.push_back(each != std::byte{0});
  else
    for (const double number : value.numbers())
      list.push_back(number_json(value.element != GgufKind::f32 && value.element != GgufKind::f64,
                                 number, value));
  return list;
}

void add_gguf(TensorListing& listing, const GgufFile& file) {
  listing.format = "gguf";
  if (listing.metadata.is_null()) listing.metadata = Json::object();
  for (const GgufValue& value : file.header().values()) {
    const std::string key = plain_text(value.key);
    if (!listing.metadata.contains(key)) listing.metadata[key] = value_json(value);
  }
  const std::string name = std::filesystem::path(file.name()).filename().string();
  for (const GgufTensor& tensor : file.header().tensors())
    listing.rows.push_back({name, tensor.name, std::string(tensor.type->name), tensor.shape(),
                            tensor.bytes, static_cast<uint64_t>(tensor.rows() * tensor.columns())});
}

/// The weights of the folder; without the usual names, every safetensors file in it.
WeightIndex weights_of(const InputDirectory& files) {
  for (const std::string stem : {"model", "adapter_model"})
    if (files.has(stem + ".safetensors") || files.has(stem + ".safetensors.index.json"))
      return open_weights(files, stem);
  std::vector<std::shared_ptr<const SafetensorsFile>> all;
  for (const std::string& name : files.names())
    if (name.ends_with(".safetensors"))
      all.push_back(std::make_shared<const SafetensorsFile>(files.open(name), files.shown(name)));
  if (all.empty()) return open_weights(files);  // says what is missing
  return WeightIndex(std::move(all));
}

TensorListing list_folder(const std::string& path) {
  TensorListing listing;
  const auto directory = open_model_directory(path);
  const InputDirectory& files = *directory;
  if (files.gguf()) {
    for (const auto& file : files.gguf()->files) add_gguf(listing, *file);
    return listing;
  }
  const bool is_adapter = !files.has("config.json") && files.has("adapter_config.json");
  const char* config = is_adapter ? "adapter_config.json" : "config.json";
  listing.format = is_adapter ? "adapter" : "hf";
  listing.metadata = Json::object();
  if (files.has(config))
    listing.metadata["config"] =
        parse_json(files.read(config, JsonLimits{}.max_bytes), files.shown(config));
  const WeightIndex weights = weights_of(files);
  for (const auto& file : weights.files()) {
    const std::string name = std::filesystem::path(file->name()).filename().string();
    listing.metadata["files"][name] = {{"bytes", file->file_size()},
                                       {"metadata", metadata_json(*file)}};
    add_rows(listing, *file);
  }
  return listing;
}

TensorListing list_file(const std::string& path) {
  TensorListing listing;
  if (is_gguf_file(path)) {
    add_gguf(listing, GgufFile(path));
    return listing;
  }
  const SafetensorsFile file(path);
  listing.format = "safetensors";
  listing.metadata = metadata_json(file);
  add_rows(listing, file);
  return listing;
}

}  // namespace

bool natural_less(std::string_view a, std::string_view b) {
  size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (!is_digit(a[i]) || !is_digit(b[j])) {
      if (a[i] != b[j]) return a[i] < b[j];
      ++i, ++j;
      continue;
    }
    const auto number = [](std::string_view text, size_t& at) {
      while (at + 1 < text.size() && text[at] == '0' && is_digit(text[at + 1])) ++at;
      const size_t start = at;
      while (at < text.size() && is_digit(text[at])) ++at;
      return text.substr(start, at - start);
    };
    const std::string_view x = number(a, i), y = number(b, j);
    if (x.size() != y.size()) return x.size() < y.size();
    if (x != y) return x < y;
  }
  if (a.size() - i != b.size() - j) return a.size() - i < b.size() - j;
  return a < b;  // equal but for leading zeros
}

TensorListing list_tensors(const std::string& path) {
  TensorListing listing = std::filesystem::is_directory(path) ? list_folder(path) : list_file(path);
  std::sort(listing.rows.begin(), listing.rows.end(),
            [](const auto& a, const auto& b) { return natural_less(a.name, b.name); });
  return listing;
}

}  // namespace isogrid
