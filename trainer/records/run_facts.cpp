#include "trainer/records/run_facts.h"

#include <gnu/libc-version.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <clocale>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/error.h"
#include "core/json.h"
#include "core/version.h"

namespace isogrid {
namespace {

// Sorted. What changes numbers, speed or placement.
constexpr auto kVariables = std::to_array<std::string_view>({
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "GOMP_CPU_AFFINITY",
    "GROUP_RANK",
    "ISOGRID_ISA",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
    "LANG",
    "LC_ALL",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MALLOC_ARENA_MAX",
    "MKL_CBWR",
    "MKL_DYNAMIC",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_NUM_THREADS",
    "NCCL_ALGO",
    "NCCL_DEBUG",
    "NCCL_IB_DISABLE",
    "NCCL_P2P_DISABLE",
    "NCCL_PROTO",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_DYNAMIC",
    "OMP_NUM_THREADS",
    "OMP_PLACES",
    "OMP_PROC_BIND",
    "OMP_SCHEDULE",
    "OMP_WAIT_POLICY",
    "OPENBLAS_NUM_THREADS",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "RANK",
    "SLURM_CPUS_PER_TASK",
    "SLURM_JOB_ID",
    "SLURM_NNODES",
    "SLURM_NTASKS",
    "TORCH_NCCL_ASYNC_ERROR_HANDLING",
    "TZ",
    "WORLD_SIZE",
});
static_assert(std::is_sorted(kVariables.begin(), kVariables.end()));

/// Their values are numbers, words and lists. Anything else in them may be a slip of the hand.
bool is_plain_value(std::string_view value) {
  constexpr std::string_view kMarks = "_.,:;=+-/{}() ";
  size_t longest = 0, run = 0;
  for (const char c : value) {
    const bool is_digit = c >= '0' && c <= '9';
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!is_digit && !is_letter && kMarks.find(c) == std::string_view::npos) return false;
    run = is_digit || is_letter ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  return value.size() <= 200 && longest <= 24;
}

Json recorded_variables() {
  Json variables = Json::object();
  for (const std::string_view name : kVariables)
    if (const char* value = std::getenv(std::string(name).c_str()))
      variables[std::string(name)] = is_plain_value(value) ? value : "(withheld)";
  return variables;
}

struct Processor {
  std::string model, features;
};

Processor processor() {
  // The flags that choose code paths in the kernels and libraries we call.
  constexpr auto kFlags = std::to_array<std::string_view>(
      {"amx_bf16", "amx_int8", "amx_tile", "avx", "avx2", "avx512_bf16", "avx512_fp16",
       "avx512_vnni", "avx512bw", "avx512dq", "avx512f", "avx512vl", "avx_vnni", "f16c", "fma",
       "sha_ni", "sse4_2"});
  Processor found;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line) && !line.empty();) {
    const size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    if (line.starts_with("model name")) found.model = line.substr(colon + 2);
    if (!line.starts_with("flags")) continue;
    std::istringstream words(line.substr(colon + 2));
    for (std::string flag; words >> flag;)
      if (std::binary_search(kFlags.begin(), kFlags.end(), flag))
        found.features += (found.features.empty() ? "" : " ") + flag;
  }
  return found;
}

Json machine_json() {
  utsname system{};
  uname(&system);  // its node name is nobody's business
  struct sysinfo memory {};
  sysinfo(&memory);
  const Processor cpu = processor();
  const char* locale = std::setlocale(LC_ALL, nullptr);
  return {{"system", concat(system.sysname, " ", system.release)},
          {"architecture", system.machine},
          {"libc", concat("glibc ", gnu_get_libc_version())},
          {"processor", cpu.model},
          {"processor_features", cpu.features},
          {"processors", sysconf(_SC_NPROCESSORS_ONLN)},
          {"memory_bytes", static_cast<uint64_t>(memory.totalram) * memory.mem_unit},
          {"locale", locale == nullptr ? "" : locale}};
}

/// Clang says its name, GCC only its number.
std::string compiler() {
  const std::string version = __VERSION__;
  return version.front() >= '0' && version.front() <= '9' ? "GCC " + version : version;
}

Json files_json(const std::vector<FileFacts>& files) {
  Json list = Json::array();
  for (const FileFacts& file : files) {
    Json entry = {{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}};
    if (file.sampled) entry["hash_of_samples"] = true;
    if (file.rows >= 0) entry["rows"] = file.rows;
    list.push_back(std::move(entry));
  }
  return list;
}

void write_below(const std::string& folder, const char* name, const std::string& text,
                 IoCalls& io) {
  write_file_durably((std::filesystem::path(folder) / name).string(), as_bytes(text), io);
}

}  // namespace

bool is_recorded_variable(std::string_view name) {
  return std::binary_search(kVariables.begin(), kVariables.end(), name);
}

Json environment_json(const EnvironmentFacts& facts) {
  Json json = {
      {"format_version", 1},          {"run_id", facts.run_id},
      {"trainer", program_version()}, {"commit", program_commit()},
      {"compiler", compiler()},       {"libtorch", facts.libtorch},
      {"blas", facts.blas},           {"cuda", facts.cuda.empty() ? Json() : Json(facts.cuda)},
      {"devices", facts.devices},     {"threads", facts.threads},
      {"machine", machine_json()},    {"variables", recorded_variables()}};
  for (const auto& [name, value] : facts.more) json[name] = value;
  return json;
}

Json data_json(const DataFacts& facts) {
  return {{"format_version", 1},
          {"files", files_json(facts.files)},
          {"tokenizer_sha256", facts.tokenizer_sha256},
          {"template", {{"name", facts.template_name}, {"sha256", facts.template_sha256}}},
          {"counts", facts.counts}};
}

Json model_json(const ModelFacts& facts) {
  return {{"format_version", 1},
          {"name", facts.name},
          {"architecture", facts.architecture},
          {"parameters", facts.parameters},
          {"trainable", facts.trainable},
          {"shapes_sha256", facts.shapes_sha256},
          {"files", files_json(facts.files)}};
}

void write_run_facts(const std::string& output_dir, const EnvironmentFacts& environment,
                     const DataFacts& data, const ModelFacts& model,
                     const std::string& resolved_config, IoCalls& io) {
  write_below(output_dir, "config.resolved.yaml", resolved_config, io);
  write_below(output_dir, "env.json", dump_json(environment_json(environment)), io);
  write_below(output_dir, "data.json", dump_json(data_json(data)), io);
  write_below(output_dir, "model.json", dump_json(model_json(model)), io);
}

}  // namespace isogrid
