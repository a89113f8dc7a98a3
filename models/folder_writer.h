#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/io_writer.h"
#include "core/safetensors_writer.h"
#include "models/folder.h"

namespace isogrid {

/// Beside the weights: `config` with every key it came with, generation_config.json and the
/// tokenizer's files bit for bit from `source`. The folder is made if need be.
void write_model_folder_files(const ModelFolder& source, const Json& config,
                              const std::string& directory, IoCalls& io = IoCalls::system());

/// Cuts tensors, in the order given, into files of at most `max_bytes` of data; a larger tensor
/// has a file of its own. Nothing is left out: at least one file, perhaps empty.
std::vector<std::vector<TensorEntry>> plan_shards(std::vector<TensorEntry> tensors,
                                                  uint64_t max_bytes);

/// The files write_weights() makes, to be written together with others.
std::vector<FileToWrite> plan_weight_files(
    std::vector<TensorEntry> tensors, const TensorProducer& produce, double max_gigabytes,
    const std::string& stem = "model", const SafetensorsMetadata& metadata = {{"format", "pt"}});

/// config.json with every key it came with, generation_config.json and the tokenizer's files bit
/// for bit from `source`.
std::vector<FileToWrite> plan_model_folder_files(const ModelFolder& source, const Json& config);

/// The tokenizer's files alone.
std::vector<FileToWrite> plan_tokenizer_files(const ModelFolder& source);

/// Writes <stem>.safetensors or, where `max_gigabytes` (10^9 bytes) asks for several files,
/// <stem>-00001-of-0000K.safetensors and <stem>.safetensors.index.json. Files of the same stem
/// that an earlier write left are removed when the new ones are in place.
std::vector<std::string> write_weights(const std::string& directory,
                                       std::vector<TensorEntry> tensors,
                                       const TensorProducer& produce, double max_gigabytes,
                                       const std::string& stem = "model",
                                       IoCalls& io = IoCalls::system(),
                                       const SafetensorsMetadata& metadata = {{"format", "pt"}});

}  // namespace isogrid
