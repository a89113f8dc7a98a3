#include "trainer/commands/compare.h"

#include <cmath>
#include <cstdio>
#include <filesystem>

#include "core/error.h"
#include "core/json.h"
#include "models/rounding.h"
#include "models/trained_codes.h"

namespace isogrid {
namespace {

/// Rounded once, as a quantiser would do it with the finished weights.
QatConfig rounding_once(QatConfig config) {
  config.qat_scale_mode = "derived";
  config.qat_start_step = 0;
  return config;
}

/// The run's result: its adapter over the same base, or its model.
RunConfig with_result(const RunConfig& config) {
  RunConfig result = config;
  const std::filesystem::path output(config.run.output_dir);
  if (std::filesystem::exists(output / "adapter_config.json"))
    result.model.adapter_name_or_path = {config.run.output_dir};
  else
    result.model.model_name_or_path = config.run.output_dir;
  result.model.adapter_folder.reset();
  return result;
}

}  // namespace

std::vector<Measured> compare_quantised(const RunConfig& config, const Measured& plain,
                                        const MeasureModel& measure) {
  std::vector<Measured> rows = {plain};
  const auto add = [&](const std::string& name, const CausalLm& model) {
    rows.push_back(measure(model));
    rows.back().name = name;
  };
  {
    OpenedModel opened = open_model(config);
    round_to_target(opened.model, rounding_once(config.qat));
    begin_step(opened.model, {});
    add(concat(*config.qat.qat_target, " afterwards"), opened.model);
  }
  if (read_trained_codes(config.run.output_dir) != nullptr)
    add(concat(*config.qat.qat_target, " trained"), open_model(with_result(config)).model);
  return rows;
}

std::string comparison_table(const std::vector<Measured>& rows) {
  std::string text = "model                        loss   perplexity   over float\n";
  for (const Measured& row : rows) {
    char line[128];
    std::snprintf(line, sizeof line, "%-24s %8.4f %12.4f %11.2f %%\n", row.name.c_str(), row.loss,
                  std::exp(row.loss), 100 * std::expm1(row.loss - rows.front().loss));
    text += line;
  }
  return text;
}

Json comparison_json(const std::vector<Measured>& rows) {
  Json list = Json::array();
  for (const Measured& row : rows)
    list.push_back({{"model", row.name},
                    {"loss", row.loss},
                    {"perplexity", std::exp(row.loss)},
                    {"tokens", row.tokens}});
  return list;
}

}  // namespace isogrid
