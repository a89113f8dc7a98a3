#include <algorithm>
#include <cstdio>

#include "calibrate/lut_inspection.h"
#include "core/error.h"
#include "core/json.h"
#include "models/hub_cache.h"
#include "models/lut_layers.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/lut_reference.h"
#include "trainer/commands/measured_rows.h"
#include "trainer/commands/other_model.h"
#include "trainer/open_model.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

constexpr int64_t kInspectedTokens = 1024;

std::string decimals(double value, int digits = 4) {
  char text[40];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string or_dash(const std::optional<double>& value) { return value ? decimals(*value) : "-"; }

/// Shares in whole percent, lowest value first.
std::string usage_text(const std::vector<double>& usage) {
  std::string text;
  for (const double share : usage)
    text += (text.empty() ? "" : " ") + std::to_string(static_cast<int>(share * 100 + 0.5));
  return text;
}

void print_figures(const std::vector<LutLayerFigures>& figures) {
  Table table({"layer", "form", "bits", "rank", "weight error", "output error", "entropy",
               "at the ends", "usage, %"});
  for (const LutLayerFigures& layer : figures)
    table.add({layer.linear, layer.form, std::to_string(layer.bits), std::to_string(layer.rank),
               or_dash(layer.weight_error), or_dash(layer.output_error), decimals(layer.entropy, 2),
               decimals(layer.outermost, 3), usage_text(layer.usage)});
  std::fputs(table.text().c_str(), stdout);
}

Json or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

Json figures_json(const std::vector<LutLayerFigures>& figures) {
  Json list = Json::array();
  for (const LutLayerFigures& layer : figures)
    list.push_back({{"name", layer.linear},
                    {"form", layer.form},
                    {"bits", layer.bits},
                    {"rank", layer.rank},
                    {"weight_error", or_null(layer.weight_error)},
                    {"output_error", or_null(layer.output_error)},
                    {"entropy", layer.entropy},
                    {"outermost", layer.outermost},
                    {"usage", layer.usage}});
  return list;
}

}  // namespace

int run_inspect_layers(const Invocation& invocation) {
  if (invocation.positional.empty())
    fail(ExitCode::usage, "inspect --layers: name a folder: trainer inspect DIR --layers");
  const RunConfig config = with_model(invocation.config, invocation.positional.front());
  OpenedModel opened = open_model(config);
  if (!has_lut_layers(opened.model))
    fail(ExitCode::configuration, "inspect --layers: ", invocation.positional.front(),
         ": has no look-up-table layers");
  const ReferenceWeights reference = reference_weights(invocation.options.reference);
  MeasuredRows rows;
  if (reference) rows = rows_to_measure(config, kInspectedTokens);
  const auto figures = lut_layer_figures(opened.model, rows.rows, reference);
  if (invocation.options.json)
    std::fputs(dump_json({{"layers", figures_json(figures)}, {"rows", rows.origin}}).c_str(),
               stdout);
  else
    print_figures(figures);
  return 0;
}

}  // namespace isogrid
