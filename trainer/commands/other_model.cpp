#include "trainer/commands/other_model.h"

#include <algorithm>

#include "core/error.h"
#include "models/folder.h"
#include "models/registry.h"
#include "trainer/data_coding.h"
#include "trainer/open_model.h"

namespace isogrid {

RunConfig with_model(const RunConfig& config, const std::string& model) {
  RunConfig other = config;
  other.model.model_name_or_path = model;
  other.model.adapter_name_or_path.clear();
  return other;
}

void check_same_tokens(const RunConfig& config, std::string_view key, const RunConfig& other) {
  const TextCoder ours = open_data_coding(config).coder;
  const TextCoder theirs = open_text_coder(model_folder_path(other));
  if (ours.sha256 == theirs.sha256) return;
  const int64_t size = std::max(ours.tokenizer.size(), theirs.tokenizer.size());
  for (int32_t id = 0; id < size; ++id) {
    const std::string_view a = ours.tokenizer.token_of(id), b = theirs.tokenizer.token_of(id);
    if (a != b && !a.empty())
      fail(ExitCode::configuration, key, ": ", *other.model.model_name_or_path,
           ": has another vocabulary than model_name_or_path: token ", id, " is '", shown_text(b),
           "' there and '", shown_text(a), "' here; it needs the same tokens");
  }
}

int64_t vocabulary_of(const RunConfig& config) {
  const ModelFolder folder = open_model_folder(model_folder_path(config));
  return read_decoder_config(folder.config, folder.path + "/config.json").vocabulary;
}

}  // namespace isogrid
