#pragma once
#include "data/rows.h"
#include "trainer/memory_plan.h"
#include "trainer/run.h"

namespace isogrid {

/// What is shown before the first step.
std::vector<TableRow> start_table_rows(Run& run, const DataReport& data, const MemoryPlan& memory);

/// env.json, data.json, model.json and config.resolved.yaml: what the run is made of.
void write_facts(Run& run, const DataReport& data, const std::string& run_id);

/// all_results.json and its parts, trainer_state.json, the charts and report.html.
/// `stopped_because`: empty where all steps were done.
void write_summary(Run& run, const DataReport& data, const MemoryPlan& memory,
                   const std::optional<EvalRecord>& evaluation, const std::string& stopped_because);

}  // namespace isogrid
