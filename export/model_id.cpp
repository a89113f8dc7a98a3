#include "export/model_id.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace isogrid {
namespace {

bool is_digit_char(char c) { return c >= '0' && c <= '9'; }
bool is_letter_char(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
char lower_char(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
char upper_char(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }

std::string all_lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), lower_char);
  return text;
}

/// Moves past digits; false if there is none.
bool skip_digits(std::string_view& text) {
  const size_t before = text.size();
  while (!text.empty() && is_digit_char(text[0])) text.remove_prefix(1);
  return text.size() < before;
}

bool skip(std::string_view& text, std::string_view what) {
  if (!text.starts_with(what)) return false;
  text.remove_prefix(what.size());
  return true;
}

/// 2, v1.5, iter3
bool is_version(std::string_view text) {
  if (!skip(text, "v")) skip(text, "iter");
  if (!skip_digits(text)) return false;
  while (skip(text, "."))
    if (!skip_digits(text)) return false;
  return text.empty();
}

/// q4_k_m, bf16
bool is_quantisation(std::string_view text) {
  std::string_view rest = text;
  skip(rest, "i");
  if (skip(rest, "q") && !rest.empty() && is_digit_char(rest[0])) {
    rest.remove_prefix(1);
    while (rest.size() >= 2 && rest[0] == '_' && rest[1] != '-') rest.remove_prefix(2);
    if (rest.empty()) return true;
  }
  skip(text, "b");
  return skip(text, "f") && (skip(text, "p") || true) && (text == "16" || text == "32");
}

/// 7b, 0.5b, 8x7b, a3b, 7b1, small
bool is_size(std::string_view text) {
  for (const char* word : {"small", "mini", "medium", "large", "xl", "xxl"})
    if (text == word) return true;
  if (!skip(text, "a")) {
    std::string_view experts = text;
    if (skip_digits(experts) && skip(experts, "x")) text = experts;
  }
  if (!skip_digits(text)) return false;
  if (!text.empty() && (text[0] == '.' || text[0] == '_')) {
    text.remove_prefix(1);
    if (!skip_digits(text)) return false;
  }
  if (text.empty() || std::string_view("kmbt").find(text[0]) == std::string_view::npos)
    return false;
  text.remove_prefix(1);
  return text.empty() || (text.size() == 1 && is_digit_char(text[0]));
}

bool is_finetune(std::string_view text) {
  return text == "chat" || text == "instruct" || text == "vision" || text == "lora";
}

struct IdPart {
  std::string text;
  bool base_name = false, size = false, finetune = false, version = false, type = false;
  bool is_marked() const { return size || finetune || version || type; }
};

/// "7b1" is 7.1B; the unit is a capital.
std::string normal_size(std::string text) {
  std::replace(text.begin(), text.end(), '_', '.');
  if (is_digit_char(text.back())) {
    const char digit = text.back(), unit = text[text.size() - 2];
    text.resize(text.size() - 2);
    text += {'.', digit, unit};
  }
  if (text.size() > 1 && is_digit_char(text[text.size() - 2]))
    text.back() = upper_char(text.back());
  return text;
}

/// Is a size so far from the model's that it must be something else, a context length?
bool is_far_off(const std::string& size, uint64_t parameters) {
  const std::string number = size.substr(0, size.size() - 1);
  const size_t unit = std::string_view(" KMBT").find(size.back());
  if (parameters == 0 || unit == std::string_view::npos || number.empty() ||
      number.find_first_not_of("0123456789.") != std::string::npos)
    return false;
  const double label = std::strtod(number.c_str(), nullptr) * std::pow(1000.0, unit);
  return std::abs(label - static_cast<double>(parameters)) >
         static_cast<double>(7 * parameters / 8);
}

void mark(IdPart& part, bool first, uint64_t parameters) {
  const std::string lower = all_lower(part.text);
  if (is_version(lower)) {
    part.version = true;
  } else if (is_quantisation(lower)) {
    part.type = true;
    std::transform(part.text.begin(), part.text.end(), part.text.begin(), upper_char);
  } else if (!first && is_size(lower)) {
    part.text = normal_size(part.text);
    part.finetune = is_far_off(part.text, parameters);
    part.size = !part.finetune;
    if (part.finetune) part.text.back() = lower_char(part.text.back());
  } else if (!first && is_finetune(lower)) {
    part.finetune = true;
  }
}

/// Words such as "small" say nothing beside a number.
void drop_words_beside_numbers(std::vector<IdPart>& parts) {
  const auto has_digit = [](const IdPart& part) {
    return part.size && std::any_of(part.text.begin(), part.text.end(), is_digit_char);
  };
  if (!std::any_of(parts.begin(), parts.end(), has_digit)) return;
  for (IdPart& part : parts)
    if (std::all_of(part.text.begin(), part.text.end(), is_letter_char)) part.size = false;
}

/// The parts before the first that means something else are the base name; versions at its end are
/// only versions.
void find_base_name(std::vector<IdPart>& parts) {
  bool at_start = true;
  for (IdPart& part : parts) {
    const bool plain = !part.is_marked() && is_letter_char(part.text[0]);
    if (at_start && (plain || part.version)) {
      part.base_name = true;
    } else {
      at_start = false;
      if (!part.is_marked()) part.finetune = true;
    }
  }
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (!part->base_name || !part->is_marked()) break;
    part->base_name = false;
  }
}

template <typename Wanted>
std::string joined(const std::vector<IdPart>& parts, Wanted wanted, bool each_once = false) {
  std::vector<std::string> chosen;
  for (const IdPart& part : parts)
    if (wanted(part) &&
        !(each_once && std::find(chosen.begin(), chosen.end(), part.text) != chosen.end()))
      chosen.push_back(part.text);
  std::string text;
  for (const std::string& each : chosen) text += (text.empty() ? "" : "-") + each;
  return text;
}

std::vector<std::string> split_at(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::string part;
  for (const char c : text + separator) {
    if (c != separator) {
      part += c;
    } else if (!part.empty()) {
      parts.push_back(std::move(part));
      part.clear();
    }
  }
  return parts;
}

}  // namespace

ModelId parse_model_id(const std::string& id, uint64_t parameters) {
  ModelId found;
  if (id.find(' ') != std::string::npos) {
    found.name = id;
    return found;
  }
  const size_t slash = id.find('/');
  if (slash != std::string::npos) found.organisation = id.substr(0, slash);
  if (found.organisation.starts_with('.')) found.organisation.clear();
  found.name = slash == std::string::npos ? id : id.substr(slash + 1);
  std::vector<IdPart> parts;
  for (std::string& text : split_at(found.name, '-')) {
    parts.push_back({.text = std::move(text)});
    mark(parts.back(), parts.size() == 1, parameters);
  }
  drop_words_beside_numbers(parts);
  find_base_name(parts);
  found.base_name = joined(parts, [](const IdPart& part) { return part.base_name; });
  found.size_label = joined(
      parts, [](const IdPart& part) { return part.size; }, true);
  found.finetune = joined(parts, [](const IdPart& part) { return part.finetune; });
  found.version = joined(parts, [](const IdPart& part) { return part.version && !part.base_name; });
  if (found.size_label.empty() && found.finetune.empty() && found.version.empty())
    found.base_name.clear();  // too little to tell the parts apart
  return found;
}

std::string title_of(const std::string& id) {
  std::string title, spaced = id;
  std::replace(spaced.begin(), spaced.end(), '-', ' ');
  for (std::string word : split_at(spaced, ' ')) {
    const bool small =
        std::any_of(word.begin(), word.end(), is_letter_char) && word == all_lower(word);
    const bool stays = is_digit_char(word[0]) || (word[0] == 'v' && is_version(word));
    bool after_letter = false;
    for (char& c : word) {
      if (small && !stays && !after_letter) c = upper_char(c);
      after_letter = is_letter_char(c);
    }
    title += (title.empty() ? "" : " ") + word;
  }
  return title;
}

}  // namespace isogrid
