#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace isogrid {

/// A frozen base held in few bits.
struct QuantisationConfig {
  std::optional<int64_t> quantization_bit;
  std::string quantization_method = "bnb";
  std::string quantization_type = "nf4";
  bool double_quantization = true;
  std::optional<std::string> quantization_device_map;

  void visit(auto&& field) {
    field("quantization_bit", quantization_bit, "Bits per weight of the frozen base.")
        .at_least(1)
        .at_most(8)
        .unset("weights as the folder has them");
    field("quantization_method", quantization_method, "Who quantises the base.")
        .one_of({"bnb", "gptq", "awq"})
        .to_come({"aqlm", "quanto", "eetq", "hqq", "mxfp4", "fp8"})
        .spelled({{"bitsandbytes", "bnb"}});
    field("quantization_type", quantization_type, "Four-bit code book.").one_of({"nf4", "fp4"});
    field("double_quantization", double_quantization, "Quantise the four-bit scales too.");
    field("quantization_device_map", quantization_device_map, "Spread a quantised base.")
        .one_of({"auto"})
        .planned();
  }
};

}  // namespace isogrid
