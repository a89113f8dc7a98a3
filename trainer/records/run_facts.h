#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/io_writer.h"
#include "core/json_fwd.h"

namespace isogrid {

/// What only the caller can ask: libraries, devices and settings as read back.
struct EnvironmentFacts {
  std::string run_id = {};
  std::string libtorch = {};                     // "2.11.0"
  std::string blas = {};                         // "MKL 2024.2"
  std::string cuda = {};                         // empty: a build without
  std::vector<std::string> devices = {};         // names of the GPUs used
  std::map<std::string, int64_t> threads = {};   // "compute": 2, as the libraries say
  std::map<std::string, std::string> more = {};  // anything else worth keeping
};

/// One input file. A very large one may be hashed by samples, and then says so.
struct FileFacts {
  std::string name;
  uint64_t bytes = 0;
  std::string sha256;
  bool sampled = false;
  int64_t rows = -1;  // -1: not a file of rows
};

struct DataFacts {
  std::vector<FileFacts> files;  // in the order they are read
  std::string tokenizer_sha256 = {};
  std::string template_name = {}, template_sha256 = {};
  std::map<std::string, int64_t> counts = {};  // "examples", "tokens", "trained_tokens", ...
};

struct ModelFacts {
  std::string name = {};          // as the user gave it
  std::string architecture = {};  // "Qwen3ForCausalLM"
  std::vector<FileFacts> files = {};
  int64_t parameters = 0, trainable = 0;
  std::string shapes_sha256 = {};  // of the names and shapes of all tensors
};

/// env.json: versions, the machine, threads, and those environment variables that are known to
/// matter and to hold no secret. Nothing else of the environment is read.
Json environment_json(const EnvironmentFacts& facts);
Json data_json(const DataFacts& facts);
Json model_json(const ModelFacts& facts);

/// Writes env.json, data.json, model.json and config.resolved.yaml.
void write_run_facts(const std::string& output_dir, const EnvironmentFacts& environment,
                     const DataFacts& data, const ModelFacts& model,
                     const std::string& resolved_config, IoCalls& io = IoCalls::system());

/// Names of the variables env.json may hold.
bool is_recorded_variable(std::string_view name);

}  // namespace isogrid
