#pragma once
#include <string>
#include <string_view>

namespace isogrid {

enum class NormalForm { nfc, nfd };

/// The normal form by Unicode 9.0, the version Hugging Face tokenizers normalises with: later code
/// points stay as they are. Returns `text` itself when it is in that form already, else a view of
/// `buffer`. The text must be well-formed UTF-8.
std::string_view normalise(NormalForm form, std::string_view text, std::string& buffer);

}  // namespace isogrid
