#include "data/tokenizer/gguf_splitter.h"

namespace isogrid {
namespace {

/// The pre-tokeniser's steps boiled down to what the table asks about.
struct Cuts {
  std::string pattern;
  bool single_digits = false;
  bool gpt2 = false;
  bool other = false;
};

void read_split(const SectionFields& step, Cuts& cuts) {
  const SectionFields pattern(step.at("pattern"), step.path() + ".pattern");
  const bool plain = pattern.has("Regex") && step.text("behavior") == "Isolated" &&
                     !step.flag("invert", false) && cuts.pattern.empty();
  if (plain)
    cuts.pattern = pattern.text("Regex");
  else
    cuts.other = true;
}

Cuts read_cuts(const SectionFields& file) {
  Cuts cuts;
  if (!file.has("pre_tokenizer")) return cuts;
  for (const SectionFields& step :
       read_steps(file.at("pre_tokenizer"), "pre_tokenizer", "pretokenizers")) {
    const std::string type = step.text("type");
    if (type == "Split") {
      read_split(step, cuts);
    } else if (type == "Digits") {
      cuts.single_digits = step.flag("individual_digits", false);
      cuts.other |= !cuts.single_digits;
    } else if (type == "ByteLevel") {
      cuts.gpt2 = step.flag("use_regex", true);
      cuts.other |= step.flag("add_prefix_space", true);
    } else {
      cuts.other = true;
    }
  }
  return cuts;
}

}  // namespace

const GgufSplitter& gguf_splitter_of(const SectionFields& file, bool frames_text) {
  const Cuts cuts = read_cuts(file);
  const GgufSplitter* found = nullptr;
  for (const GgufSplitter& row : gguf_splitters()) {
    const bool alike = row.pattern == cuts.pattern && row.single_digits == cuts.single_digits &&
                       row.pattern.empty() == cuts.gpt2;
    if (!alike || cuts.other) continue;
    if (found == nullptr || (found->adds_bos && !frames_text)) found = &row;
  }
  if (found == nullptr)
    file.refuse("pre_tokenizer", concat(": GGUF has no name for this way of cutting text; it has ",
                                        gguf_splitter_names()));
  return *found;
}

}  // namespace isogrid
