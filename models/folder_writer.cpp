#include "models/folder_writer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <map>
#include <utility>

#include "core/error.h"

namespace isogrid {
namespace {

std::string in_folder(const std::string& directory, const std::string& name) {
  return (std::filesystem::path(directory) / name).string();
}

std::string shard_name(const std::string& stem, size_t number, size_t count) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "-%05zu-of-%05zu.safetensors", number, count);
  return stem + text.data();
}

/// <stem>-NNNNN-of-NNNNN.safetensors, as shard_name makes them.
bool is_shard_name(const std::string& name, const std::string& stem) {
  constexpr std::string_view kPattern = "-#####-of-#####.safetensors";
  if (name.size() != stem.size() + kPattern.size() || !name.starts_with(stem)) return false;
  for (size_t i = 0; i < kPattern.size(); ++i) {
    const char c = name[stem.size() + i];
    if (kPattern[i] == '#' ? c < '0' || c > '9' : c != kPattern[i]) return false;
  }
  return true;
}

Json weight_index_json(const std::map<std::string, std::string>& file_of, uint64_t total) {
  Json map = Json::object();
  auto& rows = static_cast<Json::object_t::Container&>(map.get_ref<Json::object_t&>());
  for (const auto& [tensor, file] : file_of) rows.emplace_back(tensor, file);  // sorted, unique
  Json index;
  index["metadata"]["total_size"] = total;
  index["weight_map"] = std::move(map);
  return index;
}

// A stale model.safetensors would win over new shards, stale shards would only waste the disk.
void remove_stale(const std::string& directory, const std::string& stem,
                  const std::vector<std::string>& written, IoCalls& io) {
  const std::string single = stem + ".safetensors", index = single + ".index.json";
  const OutputDirectory folder(directory, io);
  for (const std::string& name : InputDirectory(directory).names()) {
    if (name != single && name != index && !is_shard_name(name, stem)) continue;
    if (std::find(written.begin(), written.end(), name) != written.end()) continue;
    if (io.unlink(folder.fd(), name.c_str(), 0) != 0 && errno != ENOENT)
      fail(ExitCode::io, in_folder(directory, name), ": is stale and cannot be removed");
  }
  folder.sync();
}

}  // namespace

namespace {

/// Bit for bit; the file is opened now, so that it is still the one that was read.
FileToWrite copied_file(const ModelFolder& source, const std::string& name) {
  const auto file =
      std::make_shared<const MappedFile>(source.files->open(name), source.files->shown(name));
  return {name, file->bytes().size(), [file](OutputFile& out) { out.append(file->bytes()); }};
}

}  // namespace

std::vector<FileToWrite> plan_tokenizer_files(const ModelFolder& source) {
  std::vector<FileToWrite> files;
  for (const std::string& name : source.tokenizer_files) files.push_back(copied_file(source, name));
  return files;
}

std::vector<FileToWrite> plan_model_folder_files(const ModelFolder& source, const Json& config) {
  std::vector<FileToWrite> files = plan_tokenizer_files(source);
  if (source.generation_config) files.push_back(copied_file(source, "generation_config.json"));
  files.push_back(text_file("config.json", dump_json(config)));
  return files;
}

void write_model_folder_files(const ModelFolder& source, const Json& config,
                              const std::string& directory, IoCalls& io) {
  make_directories(directory, io);
  for (const FileToWrite& file : plan_model_folder_files(source, config))
    write_file_durably(in_folder(directory, file.name), file.size, file.produce, io);
}

std::vector<std::vector<TensorEntry>> plan_shards(std::vector<TensorEntry> tensors,
                                                  uint64_t max_bytes) {
  std::vector<std::vector<TensorEntry>> shards(1);
  uint64_t filled = 0;
  for (TensorEntry& entry : tensors) {
    const uint64_t bytes = tensor_bytes(entry.dtype, entry.shape).value_or(0);
    if (!shards.back().empty() && filled + bytes > max_bytes) {
      shards.emplace_back();
      filled = 0;
    }
    filled += bytes;
    shards.back().push_back(std::move(entry));
  }
  return shards;
}

std::vector<FileToWrite> plan_weight_files(std::vector<TensorEntry> tensors,
                                           const TensorProducer& produce, double max_gigabytes,
                                           const std::string& stem,
                                           const SafetensorsMetadata& metadata) {
  const auto max_bytes = static_cast<uint64_t>(std::clamp(max_gigabytes, 1e-9, 9e9) * 1e9);
  auto shards = plan_shards(std::move(tensors), max_bytes);
  const bool single = shards.size() == 1;
  std::vector<FileToWrite> files;
  std::map<std::string, std::string> file_of;
  uint64_t total = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name =
        single ? stem + ".safetensors" : shard_name(stem, i + 1, shards.size());
    SafetensorsLayout layout = plan_safetensors(std::move(shards[i]), metadata);
    for (const TensorEntry& entry : layout.tensors) {
      total += entry.bytes();
      if (!file_of.emplace(entry.name, name).second)
        fail(ExitCode::internal, "tensor '", entry.name, "' would be stored twice");
    }
    const uint64_t size = layout.file_size;
    files.push_back({name, size, [layout = std::move(layout), produce](OutputFile& file) {
                       append_safetensors(file, layout, produce);
                     }});
  }
  if (!single)
    files.push_back(
        text_file(stem + ".safetensors.index.json", dump_json(weight_index_json(file_of, total))));
  return files;
}

std::vector<std::string> write_weights(const std::string& directory,
                                       std::vector<TensorEntry> tensors,
                                       const TensorProducer& produce, double max_gigabytes,
                                       const std::string& stem, IoCalls& io,
                                       const SafetensorsMetadata& metadata) {
  make_directories(directory, io);
  std::vector<std::string> written;
  for (const FileToWrite& file :
       plan_weight_files(std::move(tensors), produce, max_gigabytes, stem, metadata)) {
    write_file_durably(in_folder(directory, file.name), file.size, file.produce, io);
    written.push_back(file.name);
  }
  remove_stale(directory, stem, written, io);
  return written;
}

}  // namespace isogrid
