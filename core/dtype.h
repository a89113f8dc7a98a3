#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace isogrid {

/// What a tensor in a file is made of. The order is safetensors' own: its writer puts tensors of
/// later types first, so that every tensor is aligned to its element.
enum class Dtype : uint8_t {
  boolean,
  f4,
  f6_e2m3,
  f6_e3m2,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,
  f8_e8m0,
  f8_e4m3fnuz,
  f8_e5m2fnuz,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  c64,
  f64,
  i64,
  u64,
};

inline constexpr size_t kDtypeCount = 22;

const char* dtype_name(Dtype dtype);  // "BF16", as safetensors spells it
uint64_t dtype_bits(Dtype dtype);     // bits of one element
std::optional<Dtype> find_dtype(std::string_view name);
const std::string& all_dtype_names();  // for error messages

}  // namespace isogrid
