// A config.json from a stranger: refused with exit code 65, or a value that survives being
// written and read again. The reader that builds nothing must agree on what is JSON.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/error.h"
#include "core/json.h"
#include "core/json_reader.h"

namespace {

bool is_json(std::string_view text) {
  try {
    isogrid::JsonReader reader(text, "f");
    reader.skip();
    reader.finish();
    return true;
  } catch (const isogrid::Error&) {
    return false;
  }
}

/// Asks for every key as everything.
void ask(const isogrid::Json& json) {
  const isogrid::JsonFields fields(json, "config.json");
  const auto attempt = [](auto read) {
    try {
      read();
    } catch (const isogrid::Error& error) {
      if (error.code() != isogrid::ExitCode::refused_input) std::abort();
    }
  };
  for (const auto& [name, ignored] : json.items()) {
    const char* key = name.c_str();
    attempt([&] { fields.positive(key); });
    attempt([&] { fields.integer(key, -5, 5); });
    attempt([&] { fields.number(key); });
    attempt([&] { fields.boolean(key); });
    attempt([&] { fields.string(key); });
    attempt([&] { fields.strings(key); });
    attempt([&] { fields.object(key); });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const isogrid::Json json = isogrid::parse_json(text, "config.json");
    if (!is_json(text)) std::abort();
    if (isogrid::parse_json(isogrid::dump_json(json), "again") != json) std::abort();
    if (json.is_object()) ask(json);
  } catch (const isogrid::Error& error) {
    if (error.code() != isogrid::ExitCode::refused_input) std::abort();
  }
  return 0;
}
