#include <algorithm>
#include <cstdio>
#include <string>

#include "core/error.h"
#include "core/format.h"
#include "core/json.h"
#include "data/kd_rows.h"
#include "data/tokenizer/stream_decoder.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/data_progress.h"
#include "trainer/data_coding.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

std::vector<int32_t> narrow(const std::vector<int64_t>& ids) {
  std::vector<int32_t> narrowed;
  for (const int64_t id : ids) narrowed.push_back(static_cast<int32_t>(id));
  return narrowed;
}

/// One object a line, so that a long list can be looked at.
void print_json(const RowStore& store, const std::vector<uint64_t>& examples,
                const Tokenizer& tokenizer) {
  const char* before = "[\n";
  for (const uint64_t example : examples) {
    const std::vector<int64_t> ids = store.input_ids(example);
    const Json json{{"index", example},
                    {"input_ids", ids},
                    {"labels", store.labels(example)},
                    {"text", tokenizer.decode(narrow(ids))}};
    std::printf("%s%s", before, json.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
    before = ",\n";
  }
  std::puts(examples.empty() ? "[]" : "\n]");
}

/// Text in the ink of what happens to it: read only, trained, a mark of the layout.
class ColouredText {
 public:
  explicit ColouredText(const Tokenizer& tokenizer)
      : tokenizer_(tokenizer), decoder_(tokenizer, /*skip_special=*/false) {}

  void add(int64_t id, bool trained) {
    const Ink ink = tokenizer_.is_added(static_cast<int32_t>(id)) ? Ink::cyan
                    : trained                                     ? Ink::green
                                                                  : Ink::dim;
    const std::string piece = decoder_.push(static_cast<int32_t>(id));
    if (ink != ink_) flush();
    ink_ = ink;
    pending_ += piece;
  }
  std::string finish() {
    pending_ += decoder_.finish();
    flush();
    return std::move(text_);
  }

 private:
  void flush() {
    if (!pending_.empty()) text_ += inked(stdout, ink_, pending_);
    pending_.clear();
  }

  const Tokenizer& tokenizer_;
  StreamDecoder decoder_;
  Ink ink_ = Ink::plain;
  std::string pending_, text_;
};

void print_example(const RowStore& store, uint64_t example, const Tokenizer& tokenizer) {
  const std::vector<int64_t> ids = store.input_ids(example), labels = store.labels(example);
  const auto trained = static_cast<uint64_t>(
      std::count_if(labels.begin(), labels.end(), [](int64_t label) { return label != kNoLabel; }));
  ColouredText text(tokenizer);
  for (size_t i = 0; i < ids.size(); ++i) text.add(ids[i], labels[i] != kNoLabel);
  std::printf("%s\n%s\n\n",
              inked(stdout, Ink::bold,
                    concat("example ", example, " (", store.place(example), "), ",
                           with_commas(ids.size()), " tokens, ", with_commas(trained), " trained"))
                  .c_str(),
              text.finish().c_str());
}

/// The first examples that are trained on, each once, in the order of the data.
std::vector<uint64_t> first_examples(const RowStore& store, int64_t count) {
  std::vector<uint64_t> examples;
  for (int64_t row = 0; row < store.rows(); ++row)
    for (const RowPiece& piece : store.pieces(row)) examples.push_back(piece.example);
  std::sort(examples.begin(), examples.end());
  examples.erase(std::unique(examples.begin(), examples.end()), examples.end());
  examples.resize(std::min(examples.size(), static_cast<size_t>(count)));
  return examples;
}

}  // namespace

int run_inspect_rows(const Invocation& invocation) {
  const DataCoding coding = open_data_coding(invocation.config);
  DataProgress progress(invocation.config);
  const PreparedData data =
      prepare_run_data(invocation.config, coding.coder, *coding.layout, progress.hooks());
  const Tokenizer& tokenizer = coding.coder.tokenizer;
  const std::vector<uint64_t> examples = first_examples(*data.train, invocation.options.examples);
  if (invocation.options.json) {
    print_json(*data.train, examples, tokenizer);
    return 0;
  }
  std::printf("%s, %s, %s\n\n", inked(stdout, Ink::dim, "only read").c_str(),
              inked(stdout, Ink::green, "trained").c_str(),
              inked(stdout, Ink::cyan, "marks").c_str());
  for (const uint64_t example : examples) print_example(*data.train, example, tokenizer);
  std::fputs(report_text(data.report).c_str(), stdout);
  return 0;
}

}  // namespace isogrid
