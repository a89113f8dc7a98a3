#include "trainer/commands/export_run.h"

#include <chrono>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>

#include "core/error.h"
#include "core/io_writer.h"
#include "core/json.h"
#include "core/log.h"
#include "core/version.h"
#include "export/packed_trained.h"
#include "models/verification.h"
#include "trainer/commands/calibration.h"
#include "trainer/commands/export_plan.h"
#include "trainer/commands/merge_base.h"
#include "trainer/commands/model_card.h"
#include "trainer/commands/modelfile.h"
#include "trainer/open_model.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int64_t kMeasuredTokens = 2048;

/// Everything one export command holds while it works.
struct Exporting {
  const RunConfig& config;
  MergeChoice merge = {};
  ExportSource source;
  CalibrationText text = {};  // opened when the first quantiser wants it
  MeasuredRows rows = {};
  std::unique_ptr<FidelityReference> reference = {};
};

uint64_t bytes_of_weights(const std::string& path) {
  if (!fs::is_directory(path)) return fs::file_size(path);
  uint64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(path))
    if (entry.path().extension() == ".safetensors") bytes += entry.file_size();
  return bytes;
}

/// What cannot be read from the files: what they were calibrated on, and merged into.
std::string calibration_note(const PackedModel& packed) {
  if (packed.text.empty()) return "";
  return concat("Calibrated on ", packed.text, ".\nWorst layer: ", packed.worst_layer,
                ", whose product is off by ", packed.worst_error * 100, " %.\n");
}

void write_note(const Exporting& run, const PlannedExport& plan, const std::string& calibration) {
  if (plan.wanted.format->file_name != nullptr || (calibration.empty() && !run.merge.loss_original))
    return;
  const std::string base = required_model(run.config);
  std::string text = concat("---\nbase_model: ", base, "\n---\n\n# ", plan.wanted.folder_name(),
                            "\n\nWritten by isogrid ", program_version(), " from ", base, ".\n");
  for (const std::string& adapter : run.config.model.adapter_name_or_path)
    text += concat("Adapter: ", adapter, ".\n");
  if (run.merge.loss_original)
    text += concat("\n## Merge\n\nThe adapter is ", run.merge.described(), ".\n");
  if (!calibration.empty()) text += concat("\n## Quantisation\n\n", calibration);
  write_file_durably((fs::path(plan.directory) / "README.md").string(), as_bytes(text));
}

/// Writes one; hands back what its quantiser says of itself.
std::string write_one(Exporting& run, const PlannedExport& plan) {
  ExportRequest request;
  request.format = std::string(plan.wanted.format->name);
  request.variant = plan.wanted.variant;
  request.directory = plan.directory;
  request.file_name = plan.file_name;
  request.config = &run.config.exporting;
  request.double_quantization = run.config.quantisation.double_quantization;
  request.group_size = chosen_group_size(plan.wanted, run.source.model);
  if (const int64_t trained = trained_group_size(run.source);
      trained > 0 && plan.wanted.group_size == 0 && !plan.wanted.format->group_sizes.empty())
    request.group_size = trained;
  request.names_group = plan.wanted.group_size != 0;
  PackedModel packed;
  std::optional<PackedModel> trained;
  if (plan.wanted.format->is_calibrated) trained = trained_model(run.source, plan.wanted);
  if (trained) {
    packed = std::move(*trained);
    request.packed = &packed;
  } else if (plan.wanted.format->is_calibrated) {
    if (run.text.rows.empty()) run.text = open_calibration_text(run.config);
    packed =
        calibrated_model(run.config, plan.wanted, request.group_size, run.source.model, run.text);
    request.packed = &packed;
  }
  plan.wanted.format->write(run.source, request);
  const std::string calibration = calibration_note(packed);
  write_note(run, plan, calibration);
  return calibration;
}

/// The written thing as a user would name it.
RunConfig naming(const RunConfig& config, const ExportRecord& record) {
  RunConfig named = config;
  named.quantisation = {};
  named.model.adapter_name_or_path.clear();
  if (record.format == "adapter")
    named.model.adapter_name_or_path = {record.path};
  else
    named.model.model_name_or_path = record.path;
  return named;
}

std::vector<std::string> as_flags(const RunConfig& named) {
  std::vector<std::string> flags{"--model_name_or_path", required_model(named)};
  for (const std::string& adapter : named.model.adapter_name_or_path) {
    flags.emplace_back("--adapter_name_or_path");
    flags.push_back(adapter);
  }
  if (named.run.threads > 0) {
    flags.emplace_back("--threads");
    flags.push_back(std::to_string(named.run.threads));
  }
  return flags;
}

void require_readable(const std::string& path) {
  const Verification found = verify_model(path);
  std::string problems;
  for (const auto& check : found.checks)
    if (!check.sound) problems += (problems.empty() ? "" : "; ") + check.finding;
  if (!problems.empty()) fail(ExitCode::refused_input, problems);
}

void measure(const Exporting& run, ExportRecord& record) {
  if (record.format == "gguf:lora") {
    record.unmeasured = "llama.cpp lays it over its base; there is nothing to run alone";
    return;
  }
  const RunConfig named = naming(run.config, record);
  const OpenedModel opened = open_model(named);
  if (!run.reference || run.reference->tokens() == 0) return;
  record.fidelity = run.reference->of(opened.model);
  if (!std::isfinite(record.fidelity->kl))
    fail(ExitCode::numeric, record.path, ": its losses are not finite numbers");
  record.generation = measure_generation(as_flags(named));
  if (!record.generation) record.unmeasured = "trainer generate did not end well on it";
}

void mark_failed(const ExportRecord& record) {
  const fs::path path(record.path);
  const fs::path note = fs::is_directory(path) ? path / "VERIFICATION_FAILED.txt"
                                               : fs::path(record.path + ".VERIFICATION_FAILED.txt");
  write_file_durably(note.string(), as_bytes(record.problem + "\n"));
}

/// Opened again, as a stranger's file would be.
void check(const Exporting& run, ExportRecord& record) {
  try {
    require_readable(record.path);
    measure(run, record);
  } catch (const Error& error) {
    record.problem = error.what();
    mark_failed(record);
  }
}

void open_reference(Exporting& run) {
  const ExportConfig& wanted = run.config.exporting;
  if (!wanted.export_report || wanted.export_formats.empty()) return;
  run.rows = rows_to_measure(run.config, kMeasuredTokens);
  run.reference = std::make_unique<FidelityReference>(run.source.model, run.rows);
}

void write_beside(Exporting& run, const ExportReport& report, const std::string& calibration) {
  const std::string& folder = *run.config.exporting.export_dir;
  write_export_report(folder, report);
  const Json published = published_config(run.source);
  const CardFacts facts{.config = run.config,
                        .base = run.source.folder,
                        .published = published,
                        .parameters = parameter_count(run.source.model),
                        .merge = run.merge.described(),
                        .calibration = calibration};
  write_file_durably((fs::path(folder) / "README.md").string(),
                     as_bytes(model_card(facts, report)));
  for (const ExportRecord& record : report.records) {
    if (!record.format.starts_with("gguf:") || record.format == "gguf:lora") continue;
    const std::string text =
        modelfile(fs::path(record.path).filename().string(), run.config, run.source.folder);
    write_file_durably((fs::path(folder) / modelfile_name(report, record)).string(),
                       as_bytes(text));
  }
}

std::string format_text(const WantedExport& wanted) {
  return concat(wanted.format->name, wanted.variant.empty() ? "" : ":", wanted.variant,
                wanted.group_size > 0    ? concat(":g", wanted.group_size)
                : wanted.group_size == 0 ? ""
                                         : ":rows");
}

}  // namespace

ExportReport export_everything(const RunConfig& config,
                               const std::function<void(const ExportRecord&)>& done) {
  const std::vector<PlannedExport> plan = plan_exports(config.exporting);
  MergeChoice merge;
  ExportSource source = open_merged_source(config, merge);
  Exporting run{.config = config, .merge = merge, .source = std::move(source)};
  open_reference(run);

  ExportReport report{.model = required_model(config),
                      .adapters = config.model.adapter_name_or_path,
                      .records = {}};
  const int64_t parameters = parameter_count(run.source.model);
  report.bytes_16_bit = 2 * static_cast<uint64_t>(parameters);
  if (run.reference) {
    report.text = run.rows.origin;
    report.tokens = run.reference->tokens();
    report.original_loss = run.reference->loss();
  }
  std::string calibration;
  for (const PlannedExport& each : plan) {
    ExportRecord record{.format = format_text(each.wanted),
                        .folder_name = each.wanted.folder_name(),
                        .path = written_path(each, run.source)};
    const auto start = Clock::now();
    const std::string note = write_one(run, each);
    if (!note.empty()) calibration += concat(record.format, ": ", note, "\n");
    record.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    record.bytes = bytes_of_weights(record.path);
    if (record.format != "adapter" && record.format != "gguf:lora" && parameters > 0)
      record.bits_per_weight =
          8.0 * static_cast<double>(record.bytes) / static_cast<double>(parameters);
    check(run, record);
    done(record);
    report.records.push_back(std::move(record));
  }
  if (run.reference) write_beside(run, report, calibration);
  return report;
}

RunConfig export_of_result(const RunConfig& config, bool is_adapter) {
  RunConfig wanted = config;
  const std::string& result = config.run.output_dir;
  std::vector<std::string>& adapters = wanted.model.adapter_name_or_path;
  if (!is_adapter) {
    wanted.model.model_name_or_path = result;
    adapters.clear();
  } else {
    // The last one went on training and is in the result, unless a new one was laid over it.
    if (!adapters.empty() && !config.finetuning.create_new_adapter) adapters.pop_back();
    adapters.push_back(result);
  }
  if (!wanted.exporting.export_dir)
    wanted.exporting.export_dir = (fs::path(result) / "export").string();
  return wanted;
}

void require_sound(const ExportReport& report) {
  std::string problems;
  for (const ExportRecord& record : report.records)
    if (!record.problem.empty())
      problems += concat(problems.empty() ? "" : "\n", record.path,
                         ": was written and did not pass its check: ", record.problem);
  if (!problems.empty()) fail(ExitCode::io, problems);
}

}  // namespace isogrid
