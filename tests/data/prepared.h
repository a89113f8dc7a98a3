#pragma once
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "core/log.h"
#include "data/rows.h"
#include "tests/core/temporary_directory.h"

namespace isogrid {

/// A folder of data and the settings of a run on them, with the bundled tokenizer.
class DataRun {
 public:
  DataRun() {
    set_log_level(LogLevel::error);
    config.data.dataset_dir = folder.path().string();
    config.data.tokenized_path = folder / "cache";
    config.data.dataset = {"d"};
    config.conversation.chat_template = "qwen3_nothink";
  }

  /// The entry `d`; `more` are its keys beside file_name.
  void describe(const std::string& file, const std::string& more = "") {
    folder.write("dataset_info.json", R"({"d": {"file_name": ")" + file + "\"" +
                                          (more.empty() ? "" : ", " + more) + "}}");
  }
  PreparedData prepare(const DataHooks& hooks = {}) const {
    return prepare_data(config, coder(),
                        chat_template(config.conversation.chat_template.value_or("empty")), hooks);
  }

  static const TextCoder& coder() {
    static const TextCoder tiny = open_text_coder(ISOGRID_SOURCE_DIR "/data/tiny");
    return tiny;
  }

  /// An example as text, what is trained in brackets: "<|im_start|>user\nHi...[Hello<|im_end|>\n]".
  static std::string shape(const RowStore& store, uint64_t example) {
    const std::vector<int64_t> ids = store.input_ids(example), labels = store.labels(example);
    std::string text;
    bool open = false;
    for (size_t i = 0; i < ids.size(); ++i) {
      const bool trained = labels[i] != kNoLabel;
      if (trained != open) text += open ? "]" : "[";
      open = trained;
      if (trained && labels[i] != ids[i]) text += "=" + std::to_string(labels[i]) + "=";
      const auto id = static_cast<int32_t>(ids[i]);
      text += coder().tokenizer.decode({&id, 1});
    }
    return text + (open ? "]" : "");
  }
  std::string shape_of(uint64_t example) const { return shape(*prepare().train, example); }

  TemporaryDirectory folder;
  RunConfig config;
};

}  // namespace isogrid
