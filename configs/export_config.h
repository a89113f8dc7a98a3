#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace isogrid {

/// What is written for other programs.
struct ExportConfig {
  std::optional<std::string> export_dir;
  std::vector<std::string> export_formats;
  std::string export_layout = "format";
  bool export_report = true;
  int64_t export_size = 5;
  std::string export_device = "cpu";
  std::optional<int64_t> export_quantization_bit;
  std::optional<std::string> export_quantization_dataset;
  int64_t export_quantization_nsamples = 128;
  int64_t export_quantization_maxlen = 1024;
  std::string export_quantization_order = "important";
  bool export_quantization_symmetric = true;
  double export_quantization_damping = 0.01;
  bool export_legacy_format = false;
  std::optional<std::string> export_hub_model_id;
  bool hub_private_repo = false;
  bool push_to_hub = false;
  std::string fp16_overflow = "refuse";
  std::optional<std::string> imatrix;
  bool gguf_pure = false;
  std::vector<std::string> gguf_tensor_types;

  void visit(auto&& field) {
    field("export_dir", export_dir, "Folder the exports go to.");
    field("export_formats", export_formats, "What to write: hf, adapter, bnb:nf4, gguf:q4_0, ...");
    field("export_layout", export_layout,
          "Names: by format; report: merged-fp16, model-int8, model.gguf; repository: int8, int4.")
        .one_of({"format", "report", "repository"});
    field("export_report", export_report,
          "Measure each of export_formats against the model it was made of, and write a report.");
    field("export_size", export_size, "Largest safetensors shard, in GB.").at_least(1);
    field("export_device", export_device, "Where the merge is computed.").one_of({"cpu", "auto"});
    field("export_quantization_bit", export_quantization_bit,
          "Bits of a GPTQ export into export_dir: 2, 3, 4 or 8; export_formats: gptq:4 is another.")
        .at_least(2)
        .at_most(8);
    field("export_quantization_dataset", export_quantization_dataset,
          "Text that GPTQ, AWQ and ct:int4 are calibrated on.")
        .unset("dataset, else a bundled text");
    field("export_quantization_nsamples", export_quantization_nsamples, "Rows of that text.")
        .at_least(1);
    field("export_quantization_maxlen", export_quantization_maxlen, "Tokens per row.").at_least(1);
    field("export_quantization_order", export_quantization_order,
          "Columns GPTQ rounds first: important inputs', or as stored; scattered: groups too.")
        .one_of({"important", "stored", "scattered"});
    field("export_quantization_symmetric", export_quantization_symmetric,
          "GPTQ without zero points, as most kernels want it.");
    field("export_quantization_damping", export_quantization_damping,
          "Added to GPTQ's moments, as a share of their mean.")
        .at_least(0);
    field("export_legacy_format", export_legacy_format,
          "Pickled weights; only false is possible here.")
        .planned();
    field("export_hub_model_id", export_hub_model_id,
          "Repository of push_to_hub and scripts/upload.");
    field("hub_private_repo", hub_private_repo, "Make that repository private.");
    field("push_to_hub", push_to_hub,
          "Upload what was made, with the hub's own command line tool.");
    field("fp16_overflow", fp16_overflow, "On a weight beyond 65504 in a float16 export.")
        .one_of({"refuse", "clamp", "keep-fp32"});
    field("imatrix", imatrix, "Importance matrix for the GGUF quantisers (trainer imatrix).");
    field("gguf_pure", gguf_pure, "One type for every matrix of a GGUF file, no mix.");
    field("gguf_tensor_types", gguf_tensor_types,
          "Types by name, the first that fits: attn_v=q8_0, blk.0.*=f16, ...");
  }
};

}  // namespace isogrid
