#include "core/imatrix_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"

namespace isogrid {
namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";
constexpr int64_t kMostNumbers = 1 << 24;

std::vector<float> floats_in(ByteSpan bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

void check_sums(const std::string& file, const std::string& weight, const ImportanceSums& sums) {
  for (size_t i = 0; i < sums.squares.size(); ++i)
    if (!std::isfinite(sums.squares[i]) || sums.squares[i] < 0)
      fail(ExitCode::refused_input, file, ": '", weight, "': column ", i, " is ", sums.squares[i],
           ", allowed is a sum of squares");
  if (!std::isfinite(sums.tokens) || sums.tokens < 0)
    fail(ExitCode::refused_input, file, ": '", weight, "': its count is ", sums.tokens,
         ", allowed is a number of tokens");
}

/// The two tensors of a weight. Several experts have a count each; equal ones are one weight.
ImportanceSums sums_of(const GgufHeader& header, ByteSpan file, const GgufTensor& squares,
                       const std::string& weight) {
  const GgufTensor* counts = header.find_tensor(weight + std::string(kCounts));
  if (counts == nullptr)
    fail(ExitCode::refused_input, header.name(), ": tensor '", weight, kCounts, "' is missing");
  for (const GgufTensor* tensor : {&squares, counts})
    if (tensor->type->name != "F32")
      fail(ExitCode::refused_input, header.name(), ": tensor '", tensor->name, "': type: came ",
           tensor->type->name, ", allowed is F32");
  const auto values = [&](const GgufTensor& tensor) {
    return floats_in(file.subspan(header.data_begin() + tensor.begin, tensor.bytes));
  };
  const std::vector<float> tokens = values(*counts);
  ImportanceSums sums{values(squares), tokens.front()};
  if (std::any_of(tokens.begin(), tokens.end(), [&](float n) { return n != tokens.front(); }))
    fail(ExitCode::refused_input, header.name(), ": tensor '", counts->name,
         "': counts differ; experts are not supported");
  check_sums(header.name(), weight, sums);
  return sums;
}

ImportanceMatrix parse_gguf_form(ByteSpan file, const std::string& name) {
  const GgufHeader header = parse_gguf(file, name);
  if (header.text_or("general.type", "imatrix") != "imatrix")
    header.refuse("general.type", "imatrix: this file holds something else");
  ImportanceMatrix matrix;
  if (header.find("imatrix.datasets") != nullptr)
    for (const std::string_view text : header.texts("imatrix.datasets"))
      matrix.datasets.emplace_back(text);
  matrix.chunks = static_cast<uint32_t>(header.natural("imatrix.chunk_count"));
  matrix.chunk_size = static_cast<uint32_t>(header.natural("imatrix.chunk_size"));
  for (const GgufTensor& tensor : header.tensors()) {
    if (!tensor.name.ends_with(kSums)) continue;
    const std::string weight = tensor.name.substr(0, tensor.name.size() - kSums.size());
    matrix.weights[weight] = sums_of(header, file, tensor, weight);
  }
  return matrix;
}

/// Numbers and strings of the old form, one after the other.
class OldFormReader {
 public:
  OldFormReader(ByteSpan file, const std::string& name) : file_(file), name_(name) {}

  bool at_end() const { return at_ == file_.size(); }
  int32_t integer(const char* what, int32_t least, int64_t most) {
    int32_t value = 0;
    std::memcpy(&value, take(sizeof value, what).data(), sizeof value);
    if (value < least || value > most)
      fail(ExitCode::refused_input, name_, ": ", what, ": came ", value, ", allowed are ", least,
           " to ", most);
    return value;
  }
  ByteSpan take(uint64_t bytes, const char* what) {
    if (bytes > file_.size() - at_)
      fail(ExitCode::refused_input, name_, ": ", what, ": needs ", bytes, " bytes, but only ",
           file_.size() - at_, " follow; is this an importance matrix?");
    at_ += bytes;
    return file_.subspan(at_ - bytes, bytes);
  }
  std::string text(const char* what) {
    return std::string(as_text(take(static_cast<uint64_t>(integer(what, 0, 4096)), what)));
  }

 private:
  ByteSpan file_;
  const std::string& name_;
  uint64_t at_ = 0;
};

/// Here sums were divided by the tokens and multiplied by the number of pieces.
ImportanceMatrix parse_old_form(ByteSpan file, const std::string& name) {
  OldFormReader reader(file, name);
  ImportanceMatrix matrix;
  const int32_t entries = reader.integer("number of weights", 1, kMaxGgufTensors);
  for (int32_t i = 0; i < entries; ++i) {
    const std::string weight = reader.text("name of a weight");
    ImportanceSums sums;
    sums.tokens = static_cast<float>(reader.integer("number of pieces", 0, INT32_MAX));
    const int32_t columns = reader.integer("number of columns", 1, kMostNumbers);
    sums.squares = floats_in(
        reader.take(static_cast<uint64_t>(columns) * sizeof(float), "values of a weight"));
    check_sums(name, weight, sums);
    if (!matrix.weights.emplace(weight, std::move(sums)).second)
      fail(ExitCode::refused_input, name, ": '", shown_text(weight), "' appears twice");
  }
  if (reader.at_end()) return matrix;
  matrix.chunks = static_cast<uint32_t>(reader.integer("number of pieces", 0, INT32_MAX));
  if (!reader.at_end()) matrix.datasets.push_back(reader.text("name of the text"));
  return matrix;
}

template <typename T>
void append_value(std::string& bytes, T value) {
  char text[sizeof(T)];
  std::memcpy(text, &value, sizeof value);
  bytes.append(text, sizeof text);
}

void append_sized(std::string& bytes, const std::string& text) {
  append_value(bytes, static_cast<int32_t>(text.size()));
  bytes += text;
}

std::string old_form(const ImportanceMatrix& matrix) {
  std::string bytes;
  append_value(bytes, static_cast<int32_t>(matrix.weights.size()));
  for (const auto& [name, sums] : matrix.weights) {
    const float pieces = std::ceil(sums.tokens / static_cast<float>(matrix.chunk_size));
    append_sized(bytes, name);
    append_value(bytes, static_cast<int32_t>(pieces));
    append_value(bytes, static_cast<int32_t>(sums.squares.size()));
    for (const float mean : sums.means()) append_value(bytes, mean * pieces);
  }
  append_value(bytes, static_cast<int32_t>(matrix.chunks));
  append_sized(bytes, matrix.datasets.empty() ? "" : matrix.datasets.back());
  return bytes;
}

GgufTensor float_rows(const std::string& name, size_t columns) {
  GgufTensor tensor;
  tensor.name = name;
  tensor.type = &gguf_type("F32");
  tensor.rank = 2;
  tensor.dims[0] = static_cast<int64_t>(columns);
  return tensor;
}

void write_gguf_form(const std::string& path, const ImportanceMatrix& matrix, IoCalls& io) {
  GgufMetadata metadata;
  metadata.add("general.type", "imatrix");
  metadata.add("imatrix.datasets", matrix.datasets);
  metadata.add("imatrix.chunk_count", matrix.chunks);
  metadata.add("imatrix.chunk_size", matrix.chunk_size);
  std::vector<GgufTensor> tensors;
  std::map<std::string, ByteSpan> values;
  const auto add = [&](const std::string& name, const float* from, size_t count) {
    tensors.push_back(float_rows(name, count));
    values[name] = {reinterpret_cast<const std::byte*>(from), count * sizeof(float)};
  };
  for (const auto& [name, sums] : matrix.weights) {
    add(name + std::string(kSums), sums.squares.data(), sums.squares.size());
    add(name + std::string(kCounts), &sums.tokens, 1);
  }
  const GgufLayout layout = plan_gguf(metadata, std::move(tensors));
  const GgufProducer produce = [&](const GgufTensor& tensor, OutputFile& file) {
    file.append(values.at(tensor.name));
  };
  write_file_durably(
      path, layout.file_size, [&](OutputFile& file) { append_gguf(file, layout, produce); }, io);
}

}  // namespace

std::vector<float> ImportanceSums::means() const {
  std::vector<float> values(squares.size(), 1.0f);
  if (tokens > 0)
    std::transform(squares.begin(), squares.end(), values.begin(),
                   [this](float sum) { return sum / tokens; });
  return values;
}

ImportanceMatrix parse_imatrix(ByteSpan file, const std::string& name) {
  return begins_like_gguf(file) ? parse_gguf_form(file, name) : parse_old_form(file, name);
}

ImportanceMatrix read_imatrix(const std::string& path) {
  const MappedFile file(path);
  return parse_imatrix(file.bytes(), path);
}

void write_imatrix(const std::string& path, const ImportanceMatrix& matrix, IoCalls& io) {
  if (path.ends_with(".dat"))
    write_file_durably(path, as_bytes(old_form(matrix)), io);
  else
    write_gguf_form(path, matrix, io);
}

}  // namespace isogrid
