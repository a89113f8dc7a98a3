#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace isogrid {

std::string problem_with_device(const std::string& device);  // "" = fine

/// What every command shares: where it computes, in what numbers, how much it says.
struct RunSettings {
  std::string output_dir;  // load_run_config fills it: output/<config name>
  bool overwrite_output_dir = false;
  std::string device = "auto";
  std::string compute_dtype = "auto";
  std::string infer_dtype = "auto";
  int64_t threads = 0;
  int64_t seed = 42;
  bool full_determinism = false;
  std::string log_level = "info";
  double grace_s = 30;
  std::string disk_full = "stop";
  bool sandbox = false;

  void visit(auto&& field) {
    const auto dtypes = [](auto& dtype) -> auto& {
      return dtype.one_of({"auto", "float32", "bfloat16", "float16", "float64"})
          .spelled({{"fp32", "float32"},
                    {"bf16", "bfloat16"},
                    {"fp16", "float16"},
                    {"torch.float32", "float32"},
                    {"torch.bfloat16", "bfloat16"},
                    {"torch.float16", "float16"}});
    };
    field("output_dir", output_dir, "Where a run writes; output/<config name> when not given.");
    field("overwrite_output_dir", overwrite_output_dir,
          "Start afresh in an output_dir of ours, unless this very run is in it, unfinished.");
    field("device", device, "Where it computes; auto: a GPU if there is one.")
        .checked(problem_with_device, "auto, cpu, cuda, cuda:<n>");
    dtypes(
        field("compute_dtype", compute_dtype,
              "Number type of the computation; auto follows bf16 and fp16, else the checkpoint."));
    dtypes(field("infer_dtype", infer_dtype,
                 "As compute_dtype, for chat, generate, eval, logits and export only."));
    field("threads", threads, "Processor threads; 0 = one per core.").at_least(0).at_most(1024);
    field("seed", seed, "Seed of every random draw.").at_least(0).at_most(4294967295.0);
    field("full_determinism", full_determinism, "Only kernels that give equal bits every time.")
        .planned();
    field("log_level", log_level, "How much is said on stderr.")
        .one_of({"debug", "info", "warning", "error"})
        .spelled({{"passive", "info"}, {"warn", "warning"}, {"critical", "error"}});
    field("grace_s", grace_s, "Seconds between SIGTERM and SIGKILL on this machine.")
        .above(0)
        .planned();
    field("disk_full", disk_full, "On a full disk: end with exit code 74, or wait for space.")
        .one_of({"stop", "wait"})
        .planned();
    field("sandbox", sandbox, "Let the kernel hold the process to its inputs and output_dir.")
        .planned();
  }
};

}  // namespace isogrid
