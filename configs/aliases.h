#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "configs/yaml.h"

namespace isogrid {

/// How a value under another name becomes the value of our key.
enum class AliasForm {
  same,
  four_if_true,   // load_in_4bit: true -> 4
  eight_if_true,  // load_in_8bit: true -> 8
  false_if_true,  // disable_x: true -> x: false
  cpu_if_true,    // use_cpu: true -> cpu
  ratio,          // warmup_ratio, from 0 to below 1
};

/// Another name of a key: the quantisation guide's, bitsandbytes', Hugging Face's, Axolotl's.
struct Alias {
  std::string_view name;
  std::string_view key;
  AliasForm form = AliasForm::same;
  bool is_quiet = false;  // a short form of our own, not worth a note
};

const std::vector<Alias>& aliases();
const Alias* find_alias(std::string_view name);  // null: not one of them

/// What an alias says: a value for its key, a value the key may not have, or why it says nothing.
struct Translation {
  std::optional<YamlNode> value;
  std::string forbidden;
  std::string problem;
};
Translation translate(const Alias& alias, const YamlNode& node);

}  // namespace isogrid
