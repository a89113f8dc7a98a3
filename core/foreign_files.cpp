#include "core/foreign_files.h"

#include <algorithm>
#include <array>
#include <cctype>

#include <unistd.h>

#include "core/error.h"

namespace isogrid {
namespace {

constexpr size_t kBeginning = 64;

constexpr std::array<std::string_view, 11> kPickleEndings{
    ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npy", ".npz", ".nemo", ".mar", ".joblib"};

constexpr std::string_view kHint =
    "Reading such a file can run code hidden in it, so it is never opened here. Where you trust "
    "it, convert it once to safetensors: python -c \"from transformers import "
    "AutoModelForCausalLM as M; M.from_pretrained('DIR').save_pretrained('DIR-safetensors')\"";

struct Signature {
  std::string_view bytes;
  const char* what;
};

using namespace std::string_view_literals;
constexpr std::array<Signature, 10> kSignatures{{
    {"PK\x03\x04"sv, "a zip archive, as torch.save and TorchScript write"},
    {"PK\x05\x06"sv, "an empty zip archive"},
    {"\x93NUMPY"sv, "a NumPy array, which may hold pickled objects"},
    {"\x89HDF\r\n"sv, "an HDF5 file"},
    {"\x1f\x8b"sv, "a gzip archive"},
    {"BZh"sv, "a bzip2 archive"},
    {"\xfd\x37zXZ"sv, "an xz archive"},
    {"\x28\xb5\x2f\xfd"sv, "a zstd archive"},
    {"7z\xbc\xaf\x27\x1c"sv, "a 7z archive"},
    {"\x7f"
     "ELF"sv,
     "a program"},
}};

/// Protocols 2 to 5 start with their number; 0 and 1 with an opcode that JSON cannot follow.
bool looks_like_pickle(std::string_view text) {
  if (text.size() >= 3 && text[0] == '\x80') return text[1] >= 2 && text[1] <= 5;
  return text.starts_with("(dp") || text.starts_with("(lp") || text.starts_with("}q") ||
         text.starts_with("]q") || text.starts_with("ctorch") || text.starts_with("c__builtin__");
}

}  // namespace

bool has_pickle_name(std::string_view path) {
  std::string lower(path);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::any_of(kPickleEndings.begin(), kPickleEndings.end(),
                     [&](std::string_view ending) { return lower.ends_with(ending); });
}

std::string foreign_file_problem(const std::string& path, ByteSpan beginning) {
  const std::string_view text = as_text(beginning.first(std::min(beginning.size(), kBeginning)));
  if (has_pickle_name(path))
    return concat(path, ": is a pickle or an archive by its name; allowed is .safetensors. ",
                  kHint);
  // The length field of a safetensors header may look like anything, the byte after it may not.
  if (text.size() > 8 && text[8] == '{') return {};
  for (const Signature& signature : kSignatures)
    if (text.starts_with(signature.bytes))
      return concat(path, ": is ", signature.what, "; allowed is safetensors. ", kHint);
  if (looks_like_pickle(text))
    return concat(path, ": is a pickle; allowed is safetensors. ", kHint);
  return {};
}

void refuse_foreign_file(const FileDescriptor& file, const std::string& path) {
  std::array<std::byte, kBeginning> beginning{};
  const ssize_t count = ::pread(file.get(), beginning.data(), beginning.size(), 0);
  const ByteSpan read(beginning.data(), static_cast<size_t>(std::max<ssize_t>(count, 0)));
  if (const std::string problem = foreign_file_problem(path, read); !problem.empty())
    fail(ExitCode::refused_input, problem);
}

void refuse_foreign_file(const std::string& path) {
  if (has_pickle_name(path) && ::access(path.c_str(), F_OK) == 0)
    fail(ExitCode::refused_input, foreign_file_problem(path, {}));
  refuse_foreign_file(open_regular_file(path), path);
}

}  // namespace isogrid
