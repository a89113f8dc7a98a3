#include "trainer/commands/convert_lut.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>

#include <cstdio>
#include <filesystem>
#include <map>

#include "core/error.h"
#include "core/gguf_names.h"
#include "core/imatrix_file.h"
#include "core/io_writer.h"
#include "core/json.h"
#include "export/balanced_codes.h"
#include "export/source.h"
#include "models/hub_cache.h"
#include "models/lut_conversion.h"
#include "models/model_output.h"
#include "models/weights.h"
#include "trainer/commands/evaluated_rows.h"
#include "trainer/commands/lut_reference.h"
#include "trainer/commands/other_model.h"
#include "trainer/open_model.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

/// The importance of each linear's inputs in a file of `imatrix`; none: nothing is known.
LutImportance importance_of(const std::optional<std::string>& path) {
  if (!path) return {};
  const auto matrix = std::make_shared<const ImportanceMatrix>(read_imatrix(*path));
  return [matrix, path](const std::string& linear) {
    const auto name = gguf_tensor_name(linear + ".weight");
    const auto found = name ? matrix->weights.find(*name) : matrix->weights.end();
    if (found == matrix->weights.end()) return at::Tensor();
    const std::vector<float> means = found->second.means();
    return at::tensor(means, at::kFloat);
  };
}

/// The model in memory, each tensor as it is stored.
struct OpenedFolder {
  ModelFolder folder;
  std::shared_ptr<const WeightIndex> weights;
  CausalLm model;
};

OpenedFolder open_as_stored(const std::string& path) {
  ExportSource source = open_export_source(path, {});
  if (source.codes && source.codes->target != kBalancedTarget)
    fail(ExitCode::configuration, path, ": was trained on the grid of ", source.codes->target,
         "; export it as that, or convert it to a dense folder first");
  return {std::move(source.folder), std::move(source.weights), std::move(source.model)};
}

void check_convertible(const OpenedFolder& from, const std::string& path) {
  const auto kept = quantised_folder(from.folder.config, path + "/config.json");
  if (kept != nullptr && kept->name() != "lut")
    fail(ExitCode::configuration, path, ": is quantised already (", kept->name(),
         "); look-up-table layers are made from dense weights or from other such layers");
  if (!fs::is_directory(path))
    fail(ExitCode::configuration, path,
         ": look-up-table layers are made from folders; convert the file to a folder first");
}

void write_folder(OpenedFolder& model, const std::string& to, double gigabytes) {
  make_directories(to);
  for (const FileToWrite& file :
       model_files(model.model, model.folder, model.weights, /*new_value=*/{}, gigabytes))
    write_file_durably((fs::path(to) / file.name).string(), file.size, file.produce);
}

/// --to, or lut_parameters where it is given.
std::optional<std::string> wanted_form(const Invocation& invocation) {
  if (invocation.options.to) return invocation.options.to;
  if (invocation.config.is_given("lut_parameters")) return invocation.config.lut.lut_parameters;
  return std::nullopt;
}

/// Opened again, every layer serves what it served in memory.
void check_written(CausalLm& model, const std::string& to) {
  ExportSource written = open_export_source(to, {});
  std::map<std::string, const WeightSource*> weights;
  visit_linears(written.model, [&](const std::string& name, Linear& linear) {
    weights[name] = linear.weight.get();
  });
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    if (!at::equal(whole_weight(*weights.at(name), at::kFloat, at::kCPU),
                   whole_weight(*linear.weight, at::kFloat, at::kCPU)))
      fail(ExitCode::io, to, ": ", name, " does not read as it was written");
  });
}

/// Layers of one kind of change together: how many, and the mean of their errors.
struct ChangeSum {
  int64_t layers = 0;
  double error = 0, worst = -1;
  std::string worst_linear = {};
};

using ChangeSums = std::map<std::pair<std::string, std::string>, ChangeSum>;

ChangeSums summed(const std::vector<LutChange>& changes) {
  ChangeSums sums;
  for (const LutChange& change : changes) {
    ChangeSum& sum = sums[{change.from, change.to}];
    ++sum.layers;
    sum.error += change.error;
    if (change.error <= sum.worst) continue;
    sum.worst = change.error;
    sum.worst_linear = change.linear;
  }
  return sums;
}

void print_changes(const std::vector<LutChange>& changes) {
  Table table({"from", "to", "layers", "weight error", "worst", "of"});
  const auto share = [](double error) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4f", error);
    return std::string(text);
  };
  for (const auto& [kind, sum] : summed(changes))
    table.add({kind.first, kind.second, std::to_string(sum.layers),
               share(sum.error / static_cast<double>(sum.layers)), share(sum.worst),
               sum.worst_linear});
  std::fputs(table.text().c_str(), stdout);
}

Json changes_json(const std::vector<LutChange>& changes) {
  Json list = Json::array();
  for (const LutChange& change : changes)
    list.push_back({{"linear", change.linear},
                    {"from", change.from},
                    {"to", change.to},
                    {"weight_error", change.error}});
  return list;
}

Json figures_json(const Evaluation& figures) {
  Json json = {{"loss", figures.loss}, {"tokens", figures.label_tokens}};
  if (figures.divergence) json["kd_loss"] = *figures.divergence;
  if (figures.agreement) json["top1_agreement"] = *figures.agreement;
  return json;
}

}  // namespace

bool converts_to_lut(const Invocation& invocation) {
  const auto form = wanted_form(invocation);
  if (form == "dense" && makes_lut_layers(invocation.config.lut))
    fail(ExitCode::usage,
         "convert: --to dense and settings of look-up-table layers (lut_preset, "
         "lut_mlp_bits, ...): leave one out");
  return makes_lut_layers(invocation.config.lut) || (form && *form != "dense");
}

int convert_to_lut(const Invocation& invocation, const std::string& from, const std::string& to) {
  const RunConfig& config = invocation.config;
  const std::optional<std::string> form = wanted_form(invocation);
  if (invocation.options.outtype)
    fail(ExitCode::usage, "convert: --outtype is for dense folders and GGUF files; --to ",
         form.value_or("..."), " and lut_preset say what look-up-table layers are made");
  if (to.ends_with(".gguf"))
    fail(ExitCode::usage, "convert: ", to, ": look-up-table layers are written as a folder");
  OpenedFolder model = open_as_stored(from);
  check_convertible(model, from);
  const LutLayers layers =
      converted_lut_layers(model.model, stored_lut_layers(model.folder), config.lut, form);
  if (layers.empty())
    fail(ExitCode::configuration, "convert: --to ", form.value_or(""), ": ", from,
         " is dense; give a lut_preset, or bits and ranks (lut_mlp_bits, ...)");
  const ReferenceWeights reference = reference_weights(invocation.options.reference);
  const LutConversion conversion{.config = config.lut,
                                 .seed = static_cast<uint64_t>(config.run.seed),
                                 .importance = importance_of(config.exporting.imatrix),
                                 .wanted = reference};
  std::vector<LutChange> changes;
  {
    ProgressLine line("Converting layers", static_cast<int64_t>(layers.size()));
    changes =
        convert_lut_layers(model.model, layers, conversion, [&](int64_t done) { line.show(done); });
  }
  write_folder(model, to, static_cast<double>(config.exporting.export_size));
  check_written(model.model, to);
  Json result = {{"format", "lut"}, {"path", to}, {"layers", changes_json(changes)}};
  if (invocation.options.eval) result["eval"] = conversion_losses(invocation, from, to);
  if (invocation.options.json) {
    std::fputs(dump_json(result).c_str(), stdout);
    return 0;
  }
  std::printf("lut: %s\n", to.c_str());
  print_changes(changes);
  if (invocation.options.eval) print_losses(result["eval"]);
  return 0;
}

Json conversion_losses(const Invocation& invocation, const std::string& before,
                       const std::string& after) {
  const RunConfig config = with_model(invocation.config, before);
  const std::vector<EvalRows> sets = rows_of_evaluation(config);
  Json unused = Json::object();
  Json both = Json::object();
  for (const auto& [when, path] : {std::pair("before", before), std::pair("after", after)}) {
    const RunConfig each = with_model(invocation.config, path);
    both[when] = figures_json(evaluated_rows(open_model(each).model, each, sets, unused));
  }
  return both;
}

void print_losses(const Json& both) {
  for (const char* when : {"before", "after"}) {
    const Json& figures = both[when];
    std::printf("%-7s loss %.4f", when, figures["loss"].get<double>());
    if (figures.contains("kd_loss"))
      std::printf(", kd loss %.4f, agreement %.3f", figures["kd_loss"].get<double>(),
                  figures["top1_agreement"].get<double>());
    std::printf("\n");
  }
}

}  // namespace isogrid
