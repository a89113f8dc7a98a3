#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace isogrid {

/// The member a setting lives in. An empty optional is YAML's null: nothing chosen.
using FieldPointer =
    std::variant<bool*, int64_t*, double*, std::string*, std::vector<std::string>*,
                 std::vector<double>*, std::map<std::string, double>*, std::optional<bool>*,
                 std::optional<int64_t>*, std::optional<double>*, std::optional<std::string>*>;

/// Another way to write one value, such as `bitsandbytes` for `bnb`.
struct Spelling {
  std::string_view written;
  std::string_view meant;
};

/// Numbers that mean a share of the whole below 1 and a count from there on.
enum class Counting { plain, share_or_count, share_or_count_not_one };

/// One setting: where it lives, what may be written, what it does. Built in a struct's `visit`.
struct Field {
  std::string_view name;
  FieldPointer value;
  std::string_view help;
  int group = 0;

  std::optional<double> least = {}, most = {};
  bool least_excluded = false, most_excluded = false;
  Counting counting = Counting::plain;
  std::vector<std::string_view> choices = {};          // empty: anything of the type
  std::vector<std::string_view> choices_to_come = {};  // known elsewhere, no code here yet
  std::vector<Spelling> spellings = {};
  std::string_view unset_means = {};                          // for optionals: what null stands for
  std::string (*problem_with)(const std::string&) = nullptr;  // "" = fine
  std::string_view allowed = {};                              // what that check lets through
  bool takes_bool = false;  // a text that may also be true or false, as in `auto`
  bool is_planned = false;  // known, no code yet

  Field& at_least(double bound) { return least = bound, *this; }
  Field& above(double bound) { return least = bound, least_excluded = true, *this; }
  Field& at_most(double bound) { return most = bound, *this; }
  Field& below(double bound) { return most = bound, most_excluded = true, *this; }
  Field& share_or_count() { return counting = Counting::share_or_count, at_least(0); }
  Field& share_or_count_not_one() {
    return counting = Counting::share_or_count_not_one, at_least(0);
  }
  Field& one_of(std::vector<std::string_view> names) { return choices = std::move(names), *this; }
  Field& to_come(std::vector<std::string_view> names) {
    return choices_to_come = std::move(names), *this;
  }
  Field& spelled(std::vector<Spelling> others) { return spellings = std::move(others), *this; }
  Field& unset(std::string_view meaning) { return unset_means = meaning, *this; }
  Field& checked(std::string (*check)(const std::string&), std::string_view lets_through) {
    return problem_with = check, allowed = lets_through, *this;
  }
  Field& or_bool() { return takes_bool = true, *this; }
  Field& planned() { return is_planned = true, *this; }
};

/// What `visit` of a config struct is given: collects its fields in order.
class FieldList {
 public:
  template <typename Member>
  Field& operator()(std::string_view name, Member& member, std::string_view help) {
    fields_.push_back({.name = name, .value = &member, .help = help, .group = group_});
    return fields_.back();
  }
  void start_group(int group) { group_ = group; }
  std::vector<Field> take() { return std::move(fields_); }

 private:
  std::vector<Field> fields_;
  int group_ = 0;
};

}  // namespace isogrid
