#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/gguf_writer.h"

namespace isogrid {

/// How loud the inputs of one weight were.
struct ImportanceSums {
  std::vector<float> squares;  // summed over tokens, one for each column of the weight
  float tokens = 0;

  std::vector<float> means() const;  // ones where no token was seen
};

/// What quantisers weigh errors by, measured on some text: llama.cpp's imatrix.
struct ImportanceMatrix {
  std::map<std::string, ImportanceSums> weights;  // by GGUF's names: "blk.0.attn_q.weight"
  std::vector<std::string> datasets;              // the text, as its user named it
  uint32_t chunks = 0;                            // pieces the text was cut into
  uint32_t chunk_size = 512;                      // tokens of each
};

/// The form of today, a GGUF file, or that of before 2025, told apart by their beginning. Anything
/// malformed, not finite or negative is refused (65).
ImportanceMatrix read_imatrix(const std::string& path);
ImportanceMatrix parse_imatrix(ByteSpan file, const std::string& name);

/// As a GGUF file; a name that ends in .dat gets the form of before 2025.
void write_imatrix(const std::string& path, const ImportanceMatrix& matrix,
                   IoCalls& io = IoCalls::system());

}  // namespace isogrid
