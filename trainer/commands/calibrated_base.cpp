#include "trainer/commands/calibrated_base.h"

#include <filesystem>

#include "core/error.h"
#include "core/io_writer.h"
#include "core/json.h"
#include "core/log.h"
#include "core/phase.h"
#include "models/weight_index.h"
#include "quant/registry.h"
#include "trainer/commands/calibration.h"
#include "trainer/open_model.h"
#include "trainer/provenance.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

/// Written last: what the base beside it was made from.
constexpr const char* kBaseRecord = "calibrated.json";

bool is_dense(const ModelFolder& folder) {
  return !folder.files->gguf() &&
         quantised_folder(folder.config, folder.path + "/config.json") == nullptr;
}

Json record_of(const RunConfig& config, const ModelFolder& folder, const CalibrationText& text) {
  const ExportConfig& how = config.exporting;
  Json record;
  record["model_fingerprint"] = model_fingerprint(*folder.files);
  record["bits"] = *config.quantisation.quantization_bit;
  record["calibration"] = text.origin;
  record["order"] = how.export_quantization_order;
  record["symmetric"] = how.export_quantization_symmetric;
  record["damping"] = how.export_quantization_damping;
  return record;
}

bool holds_base(const fs::path& base, const Json& record) {
  std::error_code ignored;
  const fs::path file = base / kBaseRecord;
  return fs::exists(file, ignored) && read_json_file(file.string()) == record;
}

void write_base(const RunConfig& config, const std::string& path, const fs::path& base,
                const CalibrationText& text, const Json& record) {
  set_phase("calibrating the base");
  ExportSource source = open_export_source(path, {});
  const WantedExport wanted = wanted_export(concat("gptq:", *config.quantisation.quantization_bit));
  ExportRequest request;
  request.format = "gptq";
  request.variant = wanted.variant;
  request.directory = base.string();
  request.config = &config.exporting;
  request.group_size = chosen_group_size(wanted, source.model);
  const PackedModel packed =
      calibrated_model(config, wanted, request.group_size, source.model, text);
  request.packed = &packed;
  write_gptq(source, request);
  write_file_durably((base / kBaseRecord).string(), as_bytes(dump_json(record)));
}

}  // namespace

ModelFolder open_base(const RunConfig& config) {
  const std::string path = model_folder_path(config);
  ModelFolder folder = open_model_folder(path);
  const QuantisationConfig& wanted = config.quantisation;
  if (!wanted.quantization_bit || wanted.quantization_method != "gptq" || !is_dense(folder))
    return folder;
  const fs::path base =
      fs::path(config.run.output_dir) / concat("base-gptq-", *wanted.quantization_bit);
  const CalibrationText text = open_calibration_text(config);
  const Json record = record_of(config, folder, text);
  if (!holds_base(base, record)) {
    // A record of other settings must not outlive the files it spoke of.
    std::error_code ignored;
    fs::remove(base / kBaseRecord, ignored);
    write_base(config, path, base, text, record);
  }
  log_info(concat("quantization_method: gptq: training on ", base.string()));
  return open_model_folder(base.string());
}

}  // namespace isogrid
