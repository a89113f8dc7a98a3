#pragma once
#include <string>

#include "configs/run_config.h"
#include "models/folder.h"

namespace isogrid {

/// An Ollama Modelfile for the GGUF file of this name: how turns are written, where an answer ends,
/// and how the checkpoint wants to be sampled.
std::string modelfile(const std::string& gguf_name, const RunConfig& config,
                      const ModelFolder& folder);

}  // namespace isogrid
