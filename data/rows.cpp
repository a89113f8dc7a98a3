#include "data/rows.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/log.h"
#include "data/dataset_cache.h"
#include "data/row_plan.h"
#include "data/templates/tools.h"

namespace isogrid {
namespace {

bool is_plain_text(const RunConfig& config) { return config.finetuning.stage == "pt"; }

uint64_t seed_of(const RunConfig& config) { return static_cast<uint64_t>(config.run.seed); }

/// Plain text ends with the tokenizer's eos unless a template was asked for by name.
std::string effective_eos(const RunConfig& config, const TextCoder& coder,
                          const ChatTemplate& layout) {
  const bool is_named = config.conversation.chat_template.has_value();
  if (is_plain_text(config) && is_named && layout.name == "llama3") return "<|end_of_text|>";
  if (!layout.replaces_eos || (is_plain_text(config) && !is_named)) return coder.edges.eos;
  const std::string wanted(layout.stop_tokens[0]);
  if (coder.tokenizer.id_of(wanted)) return wanted;
  log_warning(concat("template: ", layout.name, " ends an answer with ", wanted,
                     ", which this model's tokenizer does not have; another template may fit "
                     "better"));
  return coder.edges.eos;
}

EncodeOptions encode_options(const RunConfig& config, const TextCoder& coder,
                             const ChatTemplate& layout, const DataHooks& hooks) {
  EncodeOptions options;
  options.layout = &layout;
  options.turns.enable_thinking = config.conversation.enable_thinking;
  options.turns.preserve_thinking = config.conversation.preserve_thinking;
  options.turns.default_system = config.conversation.default_system;
  if (config.conversation.tool_format)
    options.turns.tool_dialect = tool_dialect(*config.conversation.tool_format);
  options.turns.mask_history = config.data.mask_history;
  options.turns.train_on_prompt = config.data.train_on_prompt;
  if (!is_plain_text(config) && tells_the_date(layout, options.turns))
    options.turns.today = hooks.today.value_or(local_day());
  options.bos = coder.edges.bos;
  options.eos = effective_eos(config, coder, layout);
  options.bos_before_text = coder.edges.bos_before_text;
  options.cutoff_len = config.data.cutoff_len;
  options.whole_texts = is_plain_text(config) && packs_rows(config);
  return options;
}

/// Tokenised datasets whose examples are numbered through.
class DatasetGroup {
 public:
  DatasetGroup(const RunConfig& config, const TextCoder& coder, const CacheSettings& settings,
               const DataHooks& hooks, const std::vector<std::string>& names)
      : config_(config) {
    const std::optional<int64_t> most = config.data.max_samples;
    for (const DatasetEntry& entry : find_datasets(names, config.data.dataset_dir)) {
      CacheSettings own = settings;
      own.most_records = entry.num_samples ? 0 : most.value_or(0);
      datasets_.push_back(open_dataset(entry, coder, own, hooks));
      const CachedDataset& dataset = datasets_.back();
      ExampleList list(static_cast<size_t>(dataset.examples->examples()));
      std::iota(list.begin(), list.end(), first_);
      first_ += list.size();
      files_.push_back(dataset.examples);
      if (entry.num_samples)
        list = draw_examples(list, std::min(*entry.num_samples, most.value_or(INT64_MAX)),
                             seed_of(config) + datasets_.size());
      lists_.push_back(std::move(list));
    }
  }

  const std::vector<ExampleList>& lists() const { return lists_; }
  const std::vector<CachedDataset>& datasets() const { return datasets_; }

  std::shared_ptr<const RowStore> rows(const ExampleList& examples, RowsReport& report) const {
    const bool is_text = is_plain_text(config_);
    const PackOptions options{.packed = packs_rows(config_),
                              .cut_texts = is_text,
                              .cutoff_len = config_.data.cutoff_len,
                              .window = config_.data.preprocessing_batch_size};
    RowPlan plan = plan_rows(
        examples, [&](uint64_t example) { return length_of(example); }, options);
    report.dropped_tokens = plan.dropped_tokens;
    auto store =
        std::make_shared<const RowStore>(files_, std::move(plan.pieces), std::move(plan.row_ends));
    describe_rows(*store, options, report);
    return store;
  }

 private:
  int64_t length_of(uint64_t example) const {
    for (const auto& file : files_) {
      if (const auto count = static_cast<uint64_t>(file->examples()); example >= count)
        example -= count;
      else
        return static_cast<int64_t>(file->words(static_cast<int64_t>(example)).size());
    }
    fail(ExitCode::internal, "example ", example, " is in no dataset");
  }

  const RunConfig& config_;
  std::vector<CachedDataset> datasets_;
  std::vector<std::shared_ptr<const ExampleFile>> files_;
  std::vector<ExampleList> lists_;
  uint64_t first_ = 0;
};

void add_datasets(const DatasetGroup& group, DataReport& report) {
  for (const CachedDataset& dataset : group.datasets()) {
    DatasetReport one{.name = dataset.entry.name,
                      .files = {},
                      .counts = dataset.examples->counts(),
                      .was_cached = dataset.was_there,
                      .cache_path = dataset.cache_path};
    for (size_t i = 0; i < dataset.files.size(); ++i) {
      const CachedDataset::File& file = dataset.files[i];
      const std::vector<int64_t>& records = one.counts.records_of_file;
      one.files.push_back({.path = file.path,
                           .bytes = file.bytes,
                           .sha256 = file.sha256,
                           .records = i < records.size() ? records[i] : 0});
    }
    report.datasets.push_back(std::move(one));
  }
}

void add_eval(const DatasetGroup& group, const ExampleList& examples, const std::string& name,
              PreparedData& data) {
  RowsReport report{.name = name};
  data.eval.push_back({.name = name, .rows = group.rows(examples, report)});
  data.report.eval.push_back(std::move(report));
}

/// Evaluation sees every example once, so sets are joined, never mixed by chance.
void prepare_eval(const RunConfig& config, const DatasetGroup& group, PreparedData& data) {
  if (!config.data.eval_on_each_dataset)
    return add_eval(group, mix_examples(group.lists(), {}), "", data);
  for (size_t i = 0; i < group.lists().size(); ++i)
    add_eval(group, group.lists()[i], group.datasets()[i].entry.name, data);
}

}  // namespace

bool packs_rows(const RunConfig& config) {
  return config.data.packing.value_or(is_plain_text(config)) || config.data.neat_packing;
}

void describe_rows(const RowStore& rows, const PackOptions& options, RowsReport& report) {
  report.packed = options.packed;
  report.cutoff_len = options.cutoff_len;
  report.rows = rows.rows();
  report.examples = rows.documents();
  report.tokens = rows.tokens();
  report.label_tokens = rows.label_tokens();
  for (int64_t row = 0; row < rows.rows(); ++row)
    report.longest_row = std::max(report.longest_row, rows.row_tokens(row));
}

PreparedData prepare_data(const RunConfig& config, const TextCoder& coder,
                          const ChatTemplate& layout, const DataHooks& hooks) {
  if (config.data.dataset.empty())
    fail(ExitCode::configuration, "dataset: name what to train on: an entry of ",
         config.data.dataset_dir, "/dataset_info.json, a file or a folder");
  CacheSettings settings{.options = encode_options(config, coder, layout, hooks),
                         .plain_text = is_plain_text(config),
                         .most_records = 0,
                         .most_bad_records = config.data.max_bad_rows,
                         .folder = cache_folder(config.data.tokenized_path.value_or("")),
                         .overwrites = config.data.overwrite_cache};
  PreparedData data;
  data.report.chat_template = is_plain_text(config) ? "" : std::string(layout.name);
  data.report.tokenizer_sha256 = coder.sha256;
  data.report.today = settings.options.turns.today;
  const DatasetGroup group(config, coder, settings, hooks, config.data.dataset);
  add_datasets(group, data.report);
  ExampleList examples = mix_examples(group.lists(), {.strategy = config.data.mix_strategy,
                                                      .chances = config.data.interleave_probs,
                                                      .seed = seed_of(config)});
  if (config.data.val_size > 0) {
    HeldOut split = hold_out(examples, config.data.val_size, seed_of(config));
    examples = std::move(split.train);
    add_eval(group, split.held_out, "", data);
  }
  data.train = group.rows(examples, data.report.train);
  data.report.train_fingerprint = data.train->fingerprint();
  if (!config.data.eval_dataset.empty()) {
    const DatasetGroup eval(config, coder, settings, hooks, config.data.eval_dataset);
    add_datasets(eval, data.report);
    prepare_eval(config, eval, data);
  }
  return data;
}

}  // namespace isogrid
