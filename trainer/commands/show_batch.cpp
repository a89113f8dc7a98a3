#include <cstdio>
#include <filesystem>

#include "configs/load.h"
#include "core/error.h"
#include "core/json.h"
#include "data/kd_rows.h"
#include "data/tokenizer/tokenizer.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/data_progress.h"
#include "trainer/data_coding.h"
#include "trainer/run_plan.h"

namespace isogrid {
namespace {

std::vector<int32_t> narrowed(const std::vector<int64_t>& ids, int64_t begin, int64_t end) {
  return {ids.begin() + begin, ids.begin() + end};
}

Json documents_json(const Batch& batch, const Tokenizer& tokenizer) {
  Json documents = Json::array();
  int64_t begin = 0;
  for (size_t i = 0; i < batch.document_ends.size(); ++i) {
    const int64_t end = batch.document_ends[i];
    const auto part = [&](const std::vector<int64_t>& all) {
      return std::vector<int64_t>(all.begin() + begin, all.begin() + end);
    };
    documents.push_back({{"sample_id", batch.sample_ids[i]},
                         {"input_ids", part(batch.input_ids)},
                         {"labels", part(batch.labels)},
                         {"text", tokenizer.decode(narrowed(batch.input_ids, begin, end))}});
    begin = end;
  }
  return documents;
}

void print_documents(const Json& micro_batches) {
  int64_t number = 0;
  for (const Json& documents : micro_batches) {
    std::printf("micro-batch %lld\n", static_cast<long long>(++number));
    for (const Json& document : documents)
      std::printf("  example %lld, %zu tokens\n    %s\n", document["sample_id"].get<long long>(),
                  document["input_ids"].size(), document["text"].dump().c_str());
  }
}

}  // namespace

int run_show_batch(const Invocation& invocation) {
  const std::string& run = invocation.positional.front();
  const std::string file = (std::filesystem::path(run) / "config.resolved.yaml").string();
  if (!std::filesystem::exists(file))
    fail(ExitCode::missing_input, file, ": is missing; name the output_dir of a run");
  const RunConfig config = load_run_config(file, {});
  const DataCoding coding = open_data_coding(config);
  PreparedData data;
  {
    DataProgress progress(config);
    data = prepare_run_data(config, coding.coder, *coding.layout, progress.hooks());
  }
  const BatchStream batches(data.train, make_batch_plan(config));
  const RunPlan plan = make_run_plan(config, batches.steps_per_epoch(), !data.eval.empty());
  const int64_t step = invocation.options.step;
  if (step < 1 || step > plan.total_steps)
    fail(ExitCode::usage, "--step ", step, ": this run has the steps 1 to ", plan.total_steps);
  Json micro_batches = Json::array();
  for (int64_t m = 0; m < batches.micro_batches(step - 1); ++m)
    micro_batches.push_back(documents_json(batches.at(step - 1, m), coding.coder.tokenizer));
  if (invocation.options.json)
    std::fputs(dump_json({{"step", step},
                          {"epoch", batches.epoch_of(step - 1)},
                          {"label_tokens", batches.label_tokens(step - 1)},
                          {"micro_batches", micro_batches}})
                   .c_str(),
               stdout);
  else
    print_documents(micro_batches);
  return 0;
}

}  // namespace isogrid
