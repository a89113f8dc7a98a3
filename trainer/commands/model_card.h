#pragma once
#include <string>

#include "configs/run_config.h"
#include "core/json_fwd.h"
#include "models/folder.h"
#include "trainer/commands/export_report.h"

namespace isogrid {

/// What a card tells beside its report.
struct CardFacts {
  const RunConfig& config;
  const ModelFolder& base;
  const Json& published;  // config.json of what is exported
  int64_t parameters = 0;
  std::string merge = {};        // how the adapter was merged, where there was a choice
  std::string calibration = {};  // what quantisers looked at
};

/// README.md for a repository that holds the exports: what it is, what it was made of and with,
/// what was measured, how to run each file. What is not known is left out, never invented.
std::string model_card(const CardFacts& facts, const ExportReport& report);

}  // namespace isogrid
