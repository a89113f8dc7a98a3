#include <cstdio>

#include "calibrate/imatrix.h"
#include "core/error.h"
#include "core/io.h"
#include "data/text_coder.h"
#include "trainer/commands/commands.h"
#include "trainer/open_model.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

constexpr uint64_t kLargestImatrixText = uint64_t{4} << 30;
constexpr int64_t kTokensAtOnce = 512;

/// The token a tokenizer puts in front of a text; none, if it does not.
std::optional<int32_t> first_token(const TextCoder& coder) {
  if (!coder.edges.bos_before_text || coder.edges.bos.empty()) return std::nullopt;
  return coder.tokenizer.encode_with_specials(coder.edges.bos).at(0);
}

}  // namespace

int run_imatrix(const Invocation& invocation) {
  const CommandOptions& options = invocation.options;
  if (!options.text_file || !options.output)
    fail(ExitCode::usage, "imatrix needs a text and a place: --text_file FILE --output FILE.gguf");
  const std::string text = read_text_file(*options.text_file, kLargestImatrixText);
  const TextCoder coder = open_text_coder(model_folder_path(invocation.config));
  ImatrixText how;
  how.bos = first_token(coder);
  std::vector<int32_t> ids = coder.tokenizer.encode(text);
  if (how.bos) ids.insert(ids.begin(), *how.bos);
  OpenedModel opened = open_model(invocation.config);
  how.chunk_size = std::min(kTokensAtOnce, opened.model.config.max_position);
  ProgressLine line("measuring", static_cast<int64_t>(ids.size()) / how.chunk_size);
  ImportanceMatrix matrix =
      compute_imatrix(opened.model, ids, how, [&](int64_t done, int64_t) { line.show(done); });
  matrix.datasets = {*options.text_file};
  write_imatrix(*options.output, matrix);
  std::printf("%s: %zu weights on %u pieces of %u tokens\n", options.output->c_str(),
              matrix.weights.size(), matrix.chunks, matrix.chunk_size);
  return 0;
}

}  // namespace isogrid
