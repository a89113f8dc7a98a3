#pragma once
#include <functional>

#include "trainer/commands/export_report.h"

namespace isogrid {

/// Writes everything the settings ask for, reads each of it again with the strict readers, and runs
/// it on rows the model was not trained on. With a list of formats the report, a model card and
/// Modelfiles lie beside the exports. What fails its check stays, and a file beside it says why.
/// `done` hears of every record as it is ready.
ExportReport export_everything(const RunConfig& config,
                               const std::function<void(const ExportRecord&)>& done);

/// The settings that export what a run of `config` has left in its output_dir.
RunConfig export_of_result(const RunConfig& config, bool is_adapter);

/// Ends the program's work (74) where something written did not pass its check.
void require_sound(const ExportReport& report);

}  // namespace isogrid
