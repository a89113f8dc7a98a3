#pragma once
#include <memory>
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "data/data_report.h"
#include "data/encode_dataset.h"
#include "data/row_plan.h"
#include "data/row_store.h"
#include "data/text_coder.h"

namespace isogrid {

/// Rows to evaluate on. `name` is empty where there is only one set of them.
struct EvalRows {
  std::string name;
  std::shared_ptr<const RowStore> rows;
};

/// What a run is fed with: everything that stands between its files and its batches is done.
struct PreparedData {
  std::shared_ptr<const RowStore> train;
  std::vector<EvalRows> eval;
  DataReport report;
};

/// From the keys of the config to rows: finds the datasets, tokenises what no cache holds yet,
/// mixes, holds out, packs. A pure function of its arguments and the files: two processes get the
/// same rows, and so does a later start while the files stay. `layout`: the template in use; a
/// template that was only recognised in the model's folder does not change the eos of plain text.
PreparedData prepare_data(const RunConfig& config, const TextCoder& coder,
                          const ChatTemplate& layout, const DataHooks& hooks = {});

/// Whether examples share rows.
bool packs_rows(const RunConfig& config);

/// Counts what the rows hold; what was dropped before is the caller's to say.
void describe_rows(const RowStore& rows, const PackOptions& options, RowsReport& report);

}  // namespace isogrid
