#pragma once
#include <span>
#include <string>
#include <string_view>

#include "data/templates/chat_template.h"
#include "data/templates/message.h"

namespace isogrid {

/// The tokenizer's own marks, as text; empty when it has none.
struct EdgeTokens {
  std::string_view bos;
  std::string_view eos;
};

/// The whole conversation as one text that ends where the model has to answer: what the
/// checkpoint's own chat template writes with add_generation_prompt=True. It is encoded in one
/// pass, special tokens recognised and nothing added.
std::string render_prompt(const ChatTemplate& layout, std::span<const Message> messages,
                          const TemplateOptions& options, EdgeTokens edges);

}  // namespace isogrid
