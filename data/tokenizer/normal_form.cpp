#include "data/tokenizer/normal_form.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "data/tokenizer/unicode_data.h"
#include "data/tokenizer/utf8.h"

namespace isogrid {
namespace {

constexpr char32_t kSyllables = 0xAC00, kLead = 0x1100, kVowel = 0x1161, kTail = 0x11A7;
constexpr char32_t kLeads = 19, kVowels = 21, kTails = 28, kSyllableCount = 11172;

bool is_syllable(char32_t code) { return code - kSyllables < kSyllableCount; }

struct Composition {
  uint64_t pair;
  char32_t code;
};

uint64_t pair_key(char32_t first, char32_t second) { return uint64_t{first} << 32 | second; }

/// Per code point below kEnd: the combining class, and whether a form may change the text there.
/// Above kEnd nothing ever changes.
class NormalTable {
 public:
  static const NormalTable& get() {
    static const NormalTable table;
    return table;
  }

  uint8_t combining_class(char32_t code) const { return code < kEnd ? classes_[code] : 0; }
  /// A starter that the form leaves alone and that never joins what stands before it.
  bool is_inert(NormalForm form, char32_t code) const {
    return code >= kEnd || !(active_[code] & (form == NormalForm::nfc ? 1 : 2));
  }

  void decompose(char32_t code, std::vector<char32_t>& out) const {
    if (is_syllable(code)) {
      const char32_t index = code - kSyllables;
      out.push_back(kLead + index / (kVowels * kTails));
      out.push_back(kVowel + index / kTails % kVowels);
      if (index % kTails) out.push_back(kTail + index % kTails);
      return;
    }
    // Only the first part can decompose further, so the seconds come out in reverse.
    std::array<char32_t, 8> seconds;
    size_t count = 0;
    while (const Decomposition* step = find(code)) {
      if (step->second) seconds[count++] = step->second;
      code = step->first;
    }
    out.push_back(code);
    while (count) out.push_back(seconds[--count]);
  }

  /// 0 when the two do not compose.
  char32_t compose(char32_t first, char32_t second) const {
    if (first - kLead < kLeads && second - kVowel < kVowels)
      return kSyllables + ((first - kLead) * kVowels + (second - kVowel)) * kTails;
    if (is_syllable(first) && (first - kSyllables) % kTails == 0 && second > kTail &&
        second < kTail + kTails)
      return first + (second - kTail);
    const uint64_t key = pair_key(first, second);
    const auto place = std::lower_bound(
        compositions_.begin(), compositions_.end(), key,
        [](const Composition& composition, uint64_t wanted) { return composition.pair < wanted; });
    return place != compositions_.end() && place->pair == key ? place->code : 0;
  }

 private:
  static constexpr char32_t kEnd = 0x30000;

  NormalTable() : classes_(kEnd), active_(kEnd) {
    for (const CombiningRange& range : unicode_combining_ranges())
      for (uint32_t code = range.first; code <= range.last; ++code) {
        classes_[code] = range.combining_class;
        active_[code] = 3;
      }
    for (const Decomposition& step : unicode_decompositions()) {
      active_[step.code] |= step.composes ? 2 : 3;
      if (!step.composes) continue;
      active_[step.second] |= 1;
      compositions_.push_back({pair_key(step.first, step.second), step.code});
    }
    std::fill_n(active_.begin() + kSyllables, kSyllableCount, uint8_t{2});
    std::fill_n(active_.begin() + kVowel, kVowels, uint8_t{1});
    std::fill_n(active_.begin() + kTail + 1, kTails - 1, uint8_t{1});
    std::sort(compositions_.begin(), compositions_.end(),
              [](const Composition& a, const Composition& b) { return a.pair < b.pair; });
  }

  const Decomposition* find(char32_t code) const {
    const auto steps = unicode_decompositions();
    const auto place = std::lower_bound(
        steps.begin(), steps.end(), code,
        [](const Decomposition& step, char32_t wanted) { return step.code < wanted; });
    return place != steps.end() && place->code == code ? &*place : nullptr;
  }

  std::vector<uint8_t> classes_;
  std::vector<uint8_t> active_;
  std::vector<Composition> compositions_;
};

void order_marks(const NormalTable& table, std::vector<char32_t>& codes) {
  const auto before = [&table](char32_t a, char32_t b) {
    return table.combining_class(a) < table.combining_class(b);
  };
  for (size_t i = 0; i < codes.size();) {
    size_t end = i;
    while (end < codes.size() && table.combining_class(codes[end]) != 0) ++end;
    const auto first = codes.begin() + static_cast<std::ptrdiff_t>(i);
    const auto last = codes.begin() + static_cast<std::ptrdiff_t>(end);
    if (!std::is_sorted(first, last, before)) std::stable_sort(first, last, before);
    i = end + 1;
  }
}

void compose_in_place(const NormalTable& table, std::vector<char32_t>& codes) {
  size_t kept = 0;
  size_t starter = codes.size();  // none yet
  uint8_t last_class = 0;
  for (const char32_t code : codes) {
    const uint8_t own_class = table.combining_class(code);
    if (starter < codes.size()) {
      const bool adjacent = starter + 1 == kept;
      const bool blocked = !adjacent && last_class >= own_class;
      const char32_t joined = blocked ? 0 : table.compose(codes[starter], code);
      if (joined) {
        codes[starter] = joined;
        continue;
      }
    }
    if (own_class == 0) starter = kept;
    last_class = own_class;
    codes[kept++] = code;
  }
  codes.resize(kept);
}

}  // namespace

std::string_view normalise(NormalForm form, std::string_view text, std::string& buffer) {
  size_t at = ascii_run_end(text, 0);
  if (at == text.size()) return text;
  const NormalTable& table = NormalTable::get();
  std::vector<char32_t> codes;
  size_t copied = 0;     // everything before is in the buffer
  size_t previous = at;  // the inert character just passed
  if (at > 0) previous = at - 1;
  bool changed = false;
  while (at < text.size()) {
    const Utf8Char here = utf8_char(text, at);
    if (table.is_inert(form, here.code)) {
      previous = at;
      at += here.bytes;
      if (at < text.size() && static_cast<unsigned char>(text[at]) < 0x80) {
        at = ascii_run_end(text, at);
        previous = at - 1;
      }
      continue;
    }
    // A stretch from an inert starter to the next one is normalised on its own.
    codes.clear();
    size_t end = previous;
    while (end < text.size()) {
      const Utf8Char next = utf8_char(text, end);
      if (end > at && table.is_inert(form, next.code)) break;
      table.decompose(next.code, codes);
      end += next.bytes;
    }
    order_marks(table, codes);
    if (form == NormalForm::nfc) compose_in_place(table, codes);
    if (!changed) buffer.clear();
    changed = true;
    buffer.append(text, copied, previous - copied);
    for (const char32_t code : codes) append_utf8(buffer, code);
    copied = previous = at = end;
  }
  if (!changed) return text;
  buffer.append(text, copied, text.size() - copied);
  return buffer;
}

}  // namespace isogrid
