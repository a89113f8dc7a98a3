#include "trainer/data_coding.h"

#include "core/error.h"
#include "core/gguf_folder.h"
#include "core/input_directory.h"
#include "core/log.h"
#include "models/folder.h"
#include "models/hub_cache.h"

namespace isogrid {
namespace {

const ChatTemplate& layout_for_training(const RunConfig& config, const std::string& folder) {
  if (config.conversation.chat_template) return chat_template(*config.conversation.chat_template);
  const ChatTemplate& raw = chat_template("empty");
  if (config.finetuning.stage == "pt") return raw;
  const std::optional<std::string> source = read_chat_template(*open_model_directory(folder));
  if (const ChatTemplate* layout = recognised_layout(source)) return *layout;
  log_info(
      concat("template: ", folder,
             source ? " has a chat template this program does not know" : " has no chat template",
             "; questions and answers are joined as raw text, without marks"));
  return raw;
}

}  // namespace

const ChatTemplate* recognised_layout(const std::optional<std::string>& jinja_source) {
  const RecognisedTemplate found = recognise_chat_template(jinja_source.value_or(std::string()));
  if (found.layout != nullptr)
    log_info(concat("template: ", found.layout->name, ", told from the model's own chat template",
                    found.remark.empty() ? "" : "; ", found.remark));
  return found.layout;
}

DataCoding open_data_coding(const RunConfig& config) {
  const std::string folder = resolve_model(required_model(config), config.model.model_revision);
  return {.coder = open_text_coder(folder), .layout = &layout_for_training(config, folder)};
}

}  // namespace isogrid
