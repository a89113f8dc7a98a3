#include <gtest/gtest.h>
#include <pthread.h>

#include <algorithm>
#include <ctime>
#include <functional>

#include "tests/data/tokenizer_json.h"

namespace isogrid {
namespace {

/// Runs on a thread with a stack of 256 KiB: a matcher or merge that recurses would not survive.
void on_small_stack(const std::function<void()>& work) {
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, 256 << 10), 0);
  pthread_t thread;
  const auto call = [](void* argument) -> void* {
    (*static_cast<const std::function<void()>*>(argument))();
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, call, const_cast<std::function<void()>*>(&work)),
            0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

std::string repeated(const std::string& unit, size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += unit;
  return text;
}

double cpu_now() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double seconds(const Tokenizer& tokenizer, const std::string& text) {
  double best = 1e9;
  for (int i = 0; i < 3; ++i) {
    EncodeScratch scratch;
    Ids ids;
    const double start = cpu_now();
    tokenizer.encode(text, scratch, ids);
    best = std::min(best, cpu_now() - start);
  }
  return best;
}

/// Quadratic work would bring the quotient to 4; small times are all noise.
void expect_linear(const Tokenizer& tokenizer, size_t bytes = 1 << 16) {
  for (const char* unit : {"a", " ", "\n", "\u0301", "e\u0301\u0323", "1", "'", "<", "<|im_start",
                           " a", "\u3000", "aA", "\u02B0A", "\u0345\u0301", "!", "\n ", "abcab"}) {
    on_small_stack([&] {
      const std::string text = repeated(unit, bytes);
      const double once = seconds(tokenizer, text);
      const double twice = seconds(tokenizer, text + text);
      EXPECT_LT(twice, std::max(3 * once, 0.05)) << "of '" << unit << "': " << once << " s";
    });
  }
}

TokenizerJson with_pattern(const std::string& regex) {
  TokenizerJson json;
  json.normalizer = R"({"type": "NFC"})";
  json.pre_tokenizer = R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern":
      {"Regex": ")" + regex +
                       R"("}, "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})";
  json.added = R"([{"id": 8, "content": "<|im_start|>", "normalized": false},
      {"id": 9, "content": "  ", "lstrip": true, "rstrip": true, "normalized": true}])";
  return json;
}

TEST(TokenizerLimits, TheRealFormIsLinearOnASmallStack) {
  expect_linear(Tokenizer::load(ISOGRID_SOURCE_DIR "/data/tiny"), 1 << 19);
}

TEST(TokenizerLimits, EveryPatternIsLinearOnASmallStack) {
  const std::string word = R"([^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}])";
  const std::string small = R"([\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}])";
  const std::string rest =
      R"(|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+)";
  expect_linear(with_pattern(word + "*" + small + "+|" + word + "+" + small + "*" + rest).load());
  expect_linear(with_pattern(R"([^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+)" + rest).load());
  expect_linear(with_pattern(R"(\\p{N})").load());
}

TEST(TokenizerLimits, TextWithoutAnyCutIsMergedInLinearithmicTime) {
  TokenizerJson json;
  json.pre_tokenizer = R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false})";
  expect_linear(json.load());
}

}  // namespace
}  // namespace isogrid
