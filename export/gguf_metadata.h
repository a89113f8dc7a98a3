#pragma once
#include <string>
#include <vector>

#include "core/gguf_writer.h"
#include "models/decoder_config.h"
#include "models/folder.h"
#include "models/gguf_mix.h"

namespace isogrid {

/// The general.* keys and those of the architecture, as llama.cpp's converter writes them for the
/// same folder. A setting that the engine would silently ignore is refused (78) or warned of.
GgufMetadata model_metadata(const ModelFolder& folder, const DecoderConfig& config,
                            const GgufMix& mix, uint64_t parameters);

/// The first keys of an adapter: whose it is and which architecture it changes.
GgufMetadata adapter_metadata(const ModelFolder& base, const DecoderConfig& config);

/// What each rotation frequency is divided by under llama3 scaling, which GGUF keeps as a tensor;
/// empty for other rotations.
std::vector<float> rope_divisors(const DecoderConfig& config);

/// "1.7B", "135M": two digits at least.
std::string size_label(uint64_t parameters);

}  // namespace isogrid
