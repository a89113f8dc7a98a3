#include "quant/stored_parts.h"

#include <algorithm>

#include "core/error.h"

namespace isogrid {
namespace {

std::string shape_words(at::IntArrayRef shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += concat(i == 0 ? "" : ", ", shape[i] < 0 ? "any" : std::to_string(shape[i]));
  return text + "]";
}

bool fits_shape(at::IntArrayRef shape, const std::vector<int64_t>& wanted) {
  if (shape.size() != wanted.size()) return false;
  for (size_t i = 0; i < wanted.size(); ++i)
    if (wanted[i] >= 0 && shape[i] != wanted[i]) return false;
  return true;
}

}  // namespace

at::Tensor required_part(const TensorLookup& find, const std::string& name,
                         const std::vector<at::ScalarType>& types,
                         const std::vector<int64_t>& shape) {
  const at::Tensor tensor = find(name);
  if (!tensor.defined()) fail(ExitCode::refused_input, name, ": missing from a quantised weight");
  const bool known = std::find(types.begin(), types.end(), tensor.scalar_type()) != types.end();
  if (known && fits_shape(tensor.sizes(), shape)) return tensor;
  std::string allowed;
  for (const at::ScalarType type : types)
    allowed += concat(allowed.empty() ? "" : " or ", at::toString(type));
  fail(ExitCode::refused_input, name, ": is ", at::toString(tensor.scalar_type()), " ",
       shape_words(tensor.sizes()), ", allowed is ", allowed, " ", shape_words(shape));
}

int64_t grouping(const std::string& name, int64_t groups, int64_t inputs, int64_t wanted) {
  const auto fits_with = [&](int64_t size) {
    return size > 0 && (inputs + size - 1) / size == groups;
  };
  if (wanted > 0 && fits_with(wanted)) return wanted;
  const int64_t even = groups > 0 ? (inputs + groups - 1) / groups : 0;
  if (!fits_with(even))
    fail(ExitCode::refused_input, name, ": ", groups, " groups do not share out ", inputs,
         " inputs");
  return even;
}

at::Tensor checked_groups(const TensorLookup& find, const std::string& name, int64_t inputs,
                          int64_t groups) {
  const at::Tensor stored = required_part(find, name, {at::kInt, at::kLong}, {inputs});
  const at::Tensor list = stored.to(at::kInt).contiguous();
  const auto* group = list.const_data_ptr<int32_t>();
  for (int64_t column = 0; column < inputs; ++column)
    if (group[column] < 0 || group[column] >= groups)
      fail(ExitCode::refused_input, name, ": input ", column, " is of group ", group[column],
           ", allowed are 0 to ", groups - 1);
  return list;
}

}  // namespace isogrid
