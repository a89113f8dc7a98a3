#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace isogrid {

/// A token found in the raw text, before the model sees it.
struct AddedToken {
  int32_t id = -1;
  std::string content;
  bool single_word = false;  // only between characters that are not of words
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and behind it
  bool normalized = false;   // looked for in the normalised text, in its normalised spelling
  bool special = false;
};

/// A stretch of text: an added token (id >= 0), or text to be encoded.
struct AddedMatch {
  size_t start;
  size_t end;
  int32_t id;
};

/// Finds tokens in a text, leftmost first and the longest of those.
class AddedTokenFinder {
 public:
  /// `pattern` is what is looked for; the flags are those of `token`.
  void add(std::string_view pattern, const AddedToken& token);
  void build();
  bool empty() const { return patterns_.empty(); }

  /// Appends the stretches of `text` in order; those without an id are never empty.
  void find(std::string_view text, std::vector<AddedMatch>& matches) const;

 private:
  struct Pattern {
    std::string text;
    int32_t id;
    bool single_word, lstrip, rstrip;
  };
  size_t next_start(std::string_view text, size_t at) const;
  size_t longest_at(std::string_view text, size_t at, const Pattern*& best) const;

  std::vector<Pattern> patterns_;  // ordered by text
  std::array<bool, 256> starts_{};
  int only_start_ = -1;  // the first byte of all patterns, when they share it
};

}  // namespace isogrid
