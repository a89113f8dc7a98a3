#pragma once
#include <gtest/gtest.h>

#include <string>

#include "core/error.h"
#include "data/tokenizer/tokenizer.h"

namespace isogrid {

/// A tokenizer.json of which a test changes single sections.
struct TokenizerJson {
  std::string added = "[]";
  std::string normalizer = "null";
  std::string pre_tokenizer = R"({"type": "ByteLevel", "add_prefix_space": false})";
  std::string post_processor = "null";
  std::string decoder = R"({"type": "ByteLevel"})";
  std::string options = R"("type": "BPE", "unk_token": null)";
  std::string vocab = R"({"a": 0, "b": 1, "c": 2, "ab": 3, "bc": 4, "abc": 5, "Ġ": 6, "Ġa": 7})";
  std::string merges = R"([["b", "c"], ["a", "b"], ["a", "bc"], ["Ġ", "a"]])";

  std::string text() const {
    return R"({"version": "1.0", "added_tokens": )" + added + R"(, "normalizer": )" + normalizer +
           R"(, "pre_tokenizer": )" + pre_tokenizer + R"(, "post_processor": )" + post_processor +
           R"(, "decoder": )" + decoder + R"(, "model": {)" + options + R"(, "vocab": )" + vocab +
           R"(, "merges": )" + merges + "}}";
  }
  Tokenizer load() const { return Tokenizer::from_json(text(), "tokenizer.json"); }
};

/// The message with which a file is refused; empty, with a failure, when it is not.
inline std::string refusal_of_tokenizer(const std::string& json) {
  try {
    Tokenizer::from_json(json, "tokenizer.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::refused_input) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "not refused: " << json.substr(0, 400);
  return "";
}

using Ids = std::vector<int32_t>;

}  // namespace isogrid
