#include "data/tokenizer/added_tokens.h"

#include <algorithm>

#include "data/tokenizer/unicode_classes.h"
#include "data/tokenizer/utf8.h"

namespace isogrid {
namespace {

uint8_t added_class(std::string_view text, size_t at) {
  return ClassTable::get()[utf8_char(text, at).code];
}

bool stands_alone(std::string_view text, size_t start, size_t end) {
  const bool word_before = start > 0 && (added_class(text, utf8_before(text, start)) & kWord);
  const bool word_behind = end < text.size() && (added_class(text, end) & kWord);
  return !word_before && !word_behind;
}

size_t spaces_start(std::string_view text, size_t end, size_t floor) {
  while (end > floor) {
    const size_t before = utf8_before(text, end);
    if (!(added_class(text, before) & kSpace)) break;
    end = before;
  }
  return end;
}

size_t spaces_end(std::string_view text, size_t at) {
  while (at < text.size() && (added_class(text, at) & kSpace)) at += utf8_char(text, at).bytes;
  return at;
}

}  // namespace

void AddedTokenFinder::add(std::string_view pattern, const AddedToken& token) {
  patterns_.push_back(
      {std::string(pattern), token.id, token.single_word, token.lstrip, token.rstrip});
}

void AddedTokenFinder::build() {
  std::stable_sort(patterns_.begin(), patterns_.end(),
                   [](const Pattern& a, const Pattern& b) { return a.text < b.text; });
  const auto same = [](const Pattern& a, const Pattern& b) { return a.text == b.text; };
  patterns_.erase(std::unique(patterns_.begin(), patterns_.end(), same), patterns_.end());
  for (const Pattern& pattern : patterns_) starts_[static_cast<uint8_t>(pattern.text[0])] = true;
  if (!patterns_.empty() && patterns_.front().text[0] == patterns_.back().text[0])
    only_start_ = static_cast<uint8_t>(patterns_[0].text[0]);
}

size_t AddedTokenFinder::next_start(std::string_view text, size_t at) const {
  if (patterns_.empty()) return text.size();
  if (only_start_ >= 0) return std::min(text.find(static_cast<char>(only_start_), at), text.size());
  while (at < text.size() && !starts_[static_cast<unsigned char>(text[at])]) ++at;
  return at;
}

// The patterns that share the text's first k bytes are a range of the ordered list: it is narrowed
// byte by byte.
size_t AddedTokenFinder::longest_at(std::string_view text, size_t at, const Pattern*& best) const {
  best = nullptr;
  auto first = patterns_.begin(), last = patterns_.end();
  for (size_t length = 0; first != last; ++length) {
    if (first->text.size() == length) {
      best = &*first;
      ++first;
    }
    if (at + length == text.size()) break;
    const auto wanted = static_cast<unsigned char>(text[at + length]);
    const auto byte = [length](const Pattern& pattern) {
      return static_cast<unsigned char>(pattern.text[length]);
    };
    first = std::partition_point(first, last, [&](const Pattern& p) { return byte(p) < wanted; });
    last = std::partition_point(first, last, [&](const Pattern& p) { return byte(p) == wanted; });
  }
  return best ? best->text.size() : 0;
}

void AddedTokenFinder::find(std::string_view text, std::vector<AddedMatch>& matches) const {
  size_t done = 0;       // text up to here is in the result
  size_t spaces_to = 0;  // a token that strips took white space up to here
  for (size_t at = 0; (at = next_start(text, at)) < text.size();) {
    const Pattern* token = nullptr;
    if (!longest_at(text, at, token)) {
      ++at;
      continue;
    }
    size_t start = at;
    size_t end = at += token->text.size();
    if (token->single_word && !stands_alone(text, start, end)) continue;
    if (token->lstrip) start = start > done ? spaces_start(text, start, done) : done;
    // Inside stripped space the end is known: looking again would be quadratic.
    if (token->rstrip) end = spaces_to = end < spaces_to ? spaces_to : spaces_end(text, end);
    if (done < start) matches.push_back({done, start, -1});
    matches.push_back({start, end, token->id});
    done = end;
  }
  if (done < text.size()) matches.push_back({done, text.size(), -1});
}

}  // namespace isogrid
