#pragma once
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/json_fwd.h"

namespace isogrid {

struct JsonLimits {
  uint64_t max_bytes = 16 << 20;
  int max_depth = 64;
};

/// Parses strictly: duplicate keys, invalid UTF-8, NaN, depth and size beyond the limits are
/// refused (65) with `name`:line:column. Integers that fit 64 bits stay integers.
Json parse_json(std::string_view text, const std::string& name, const JsonLimits& limits = {});
Json read_json_file(const std::string& path, const JsonLimits& limits = {});

/// Two spaces, keys in their order, a newline at the end: the same value gives the same bytes.
std::string dump_json(const Json& value);

/// Reads the fields of one object; each error names file, key, what came and what is allowed.
/// A field that is null counts as absent. Keeps references: a short-lived helper.
class JsonFields {
 public:
  JsonFields(const Json& object, std::string where);

  bool has(const char* key) const;
  bool is_null(const char* key) const;       // there, and null
  const Json& value(const char* key) const;  // must be present
  int64_t integer(const char* key, int64_t least = std::numeric_limits<int64_t>::min(),
                  int64_t most = std::numeric_limits<int64_t>::max()) const;
  int64_t positive(const char* key) const { return integer(key, 1); }
  double number(const char* key) const;
  bool boolean(const char* key) const;
  std::string string(const char* key) const;
  std::vector<std::string> strings(const char* key) const;
  JsonFields object(const char* key) const;

  int64_t integer_or(const char* key, int64_t fallback,
                     int64_t least = std::numeric_limits<int64_t>::min()) const {
    return has(key) ? integer(key, least) : fallback;
  }
  double number_or(const char* key, double fallback) const {
    return has(key) ? number(key) : fallback;
  }
  bool boolean_or(const char* key, bool fallback) const {
    return has(key) ? boolean(key) : fallback;
  }
  std::string string_or(const char* key, const std::string& fallback) const {
    return has(key) ? string(key) : fallback;
  }

  /// "config.json: key 'hidden_size': came "abc", allowed is an integer" with exit code 65.
  [[noreturn]] void refuse(const char* key, const std::string& allowed) const;

 private:
  const Json& object_;
  std::string where_;   // the file
  std::string prefix_;  // "rope_scaling." inside that object
};

}  // namespace isogrid
