// Block formats for the Python comparisons: raw numbers on stdin, raw blocks on stdout, or back.
//   parity_grids encode TYPE COLUMNS BASELINE|AVX2|AVX512 [IMPORTANCE_FILE]
//   parity_grids decode TYPE
//   parity_grids time TYPE COLUMNS ROWS THREADS     seconds of the best of five, on normal numbers
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/io.h"
#include "quant/grids/codecs.h"

namespace isogrid {
namespace {

kernels::Isa isa_named(const std::string& name) {
  if (name == "baseline") return kernels::Isa::baseline;
  return name == "avx2" ? kernels::Isa::avx2 : kernels::Isa::avx512;
}

std::vector<char> all_of_stdin() {
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

void encode(const std::vector<std::string>& words) {
  const GgufType& type = gguf_type(words.at(1));
  const int64_t columns = std::stoll(words.at(2));
  std::vector<float> importance;
  if (words.size() > 4) {
    const std::string text = read_text_file(words[4], 1 << 30);
    importance.resize(text.size() / sizeof(float));
    std::memcpy(importance.data(), text.data(), importance.size() * sizeof(float));
  }
  const std::vector<char> input = all_of_stdin();
  std::vector<float> values(input.size() / sizeof(float));
  std::memcpy(values.data(), input.data(), values.size() * sizeof(float));
  const int64_t rows = static_cast<int64_t>(values.size()) / columns;
  std::vector<std::byte> blocks(rows * *type.row_bytes(columns));
  grids::codec_of(type, isa_named(words.at(3)))
      .encode(values.data(), importance.empty() ? nullptr : importance.data(), rows, columns,
              blocks.data());
  std::fwrite(blocks.data(), 1, blocks.size(), stdout);
}

void decode(const std::vector<std::string>& words) {
  const GgufType& type = gguf_type(words.at(1));
  const std::vector<char> input = all_of_stdin();
  const int64_t count = static_cast<int64_t>(input.size()) / type.bytes;
  std::vector<float> values(count * type.block);
  grids::codec_of(type).decode(reinterpret_cast<const std::byte*>(input.data()), count,
                               values.data());
  std::fwrite(values.data(), sizeof(float), values.size(), stdout);
}

void measure(const std::vector<std::string>& words) {
  const GgufType& type = gguf_type(words.at(1));
  const int64_t columns = std::stoll(words.at(2)), rows = std::stoll(words.at(3));
  const int64_t threads = std::stoll(words.at(4));
  std::mt19937 generator(1);
  std::normal_distribution<float> normal(0.0f, 0.03f);
  std::vector<float> values(static_cast<size_t>(rows * columns));
  for (float& value : values) value = normal(generator);
  const uint64_t row_bytes = *type.row_bytes(static_cast<uint64_t>(columns));
  std::vector<std::byte> blocks(static_cast<uint64_t>(rows) * row_bytes);
  double best = 1e9;
  for (int round = 0; round < 5; ++round) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> workers;
    for (int64_t t = 0; t < threads; ++t) {
      const int64_t first = rows * t / threads, last = rows * (t + 1) / threads;
      workers.emplace_back([&, first, last] {
        grids::codec_of(type).encode(values.data() + first * columns, nullptr, last - first,
                                     columns,
                                     blocks.data() + static_cast<uint64_t>(first) * row_bytes);
      });
    }
    for (std::thread& worker : workers) worker.join();
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    best = std::min(best, spent.count());
  }
  std::printf("%.6f\n", best);
}

}  // namespace
}  // namespace isogrid

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  try {
    if (words.at(0) == "time")
      isogrid::measure(words);
    else
      words[0] == "encode" ? isogrid::encode(words) : isogrid::decode(words);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
