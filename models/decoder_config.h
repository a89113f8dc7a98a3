#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace isogrid {

/// How positions become rotation frequencies. Names are those of config.json.
struct RopeSettings {
  std::string type = "default";  // default, linear, dynamic, yarn, llama3
  double theta = 10000.0;
  double factor = 1.0;
  int64_t original_max_position = 0;  // yarn, llama3: the length the frequencies were trained for
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  // llama3
  double beta_fast = 32.0, beta_slow = 1.0;              // yarn
  double attention_factor = 0.0;                         // yarn; 0: from the factor
  double mscale = 0.0, mscale_all_dim = 0.0;             // yarn
  bool truncate = true;                                  // yarn
};

/// The shape of a decoder, read from config.json and nowhere else. Every architecture we know is
/// this struct; an architecture file only decides how its config fills it.
struct DecoderConfig {
  std::string architecture;  // model_type
  int64_t vocabulary = 0;
  int64_t hidden = 0;
  int64_t intermediate = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_position = 0;
  double rms_eps = 1e-6;
  double initializer_range = 0.02;
  bool tied_head = false;
  bool qkv_bias = false;
  bool output_bias = false;  // of o_proj
  bool mlp_bias = false;
  bool qk_norm = false;
  RopeSettings rope;
  std::vector<bool> layer_rotates;       // [layers]; false: a layer without positions
  std::vector<int64_t> layer_window;     // [layers]; 0: full attention
  std::string stored_dtype = "float32";  // config's torch_dtype / dtype
};

}  // namespace isogrid
