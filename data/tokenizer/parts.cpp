#include "data/tokenizer/parts.h"

#include <atomic>

#include "data/tokenizer/limits.h"
#include "data/tokenizer/normal_form.h"

namespace isogrid {

std::string_view normalise(const std::vector<NormalStep>& steps, std::string_view text,
                           std::string (&buffers)[2]) {
  const size_t most = kTokenizerGrown + kTokenizerGrowth * text.size();
  size_t turn = 0;
  for (const NormalStep& step : steps) {
    std::string& buffer = buffers[turn];
    switch (step.kind) {
      case NormalStep::Kind::nfc:
      case NormalStep::Kind::nfd: {
        const bool nfc = step.kind == NormalStep::Kind::nfc;
        text = normalise(nfc ? NormalForm::nfc : NormalForm::nfd, text, buffer);
        break;
      }
      case NormalStep::Kind::prepend:
        if (text.empty()) continue;
        buffer.assign(step.text).append(text);
        text = buffer;
        break;
      case NormalStep::Kind::replace:
        if (text.find(step.replaced) == std::string_view::npos) continue;
        buffer.clear();
        replace_all(text, step.replaced, step.text, most, buffer);
        text = buffer;
        break;
    }
    if (text.data() == buffer.data()) turn ^= 1;
  }
  return text;
}

int32_t TokenizerParts::add(AddedToken token) {
  if (token.content.empty()) return 0;
  const Vocabulary& vocabulary = model.vocabulary();
  const auto known = added_ids.find(token.content);
  token.id = known != added_ids.end() ? known->second : vocabulary.find(token.content);
  if (token.id == Vocabulary::kNone) {
    if (next_id < 0) next_id = static_cast<int32_t>(vocabulary.count());
    token.id = next_id++;
    if (!vocabulary.token(token.id).empty() || added.contains(token.id)) return -1;
  }
  const int32_t id = token.id;
  added_ids[token.content] = id;
  added[id] = std::move(token);
  return id;
}

void TokenizerParts::finish() {
  static std::atomic<uint64_t> next_serial{1};
  serial = next_serial++;
  std::string buffers[2];
  for (const auto& [id, token] : added) {
    if (!token.normalized) {
      raw_finder.add(token.content, token);
      continue;
    }
    const std::string_view spelling = normalise(normalizer, token.content, buffers);
    if (spelling != token.content) decoded_as.emplace(id, spelling);
    if (!spelling.empty()) normalized_finder.add(spelling, token);
  }
  raw_finder.build();
  normalized_finder.build();
}

}  // namespace isogrid
