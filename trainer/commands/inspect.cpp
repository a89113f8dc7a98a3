#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/format.h"
#include "core/io.h"
#include "core/json.h"
#include "data/kd_cache.h"
#include "models/hub_cache.h"
#include "models/listing.h"
#include "trainer/commands/commands.h"

namespace isogrid {
namespace {

Json listing_json(const TensorListing& listing) {
  Json tensors = Json::array();
  for (const TensorListing::Row& row : listing.rows)
    tensors.push_back(
        {{"name", row.name}, {"dtype", row.dtype}, {"shape", row.shape}, {"bytes", row.bytes}});
  return {{"format", listing.format}, {"metadata", listing.metadata}, {"tensors", tensors}};
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape) text += (text.empty() ? "" : " x ") + std::to_string(size);
  return text.empty() ? "scalar" : text;
}

/// What one dtype amounts to, or all of them.
struct Sum {
  uint64_t tensors = 0, elements = 0, bytes = 0;
  void add(const TensorListing::Row& row) {
    tensors += 1;
    elements += row.elements;
    bytes += row.bytes;
  }
  void print(const std::string& what) const {
    std::printf("%-8s %s %s, %s elements, %s\n", what.c_str(), with_commas(tensors).c_str(),
                tensors == 1 ? "tensor" : "tensors", with_commas(elements).c_str(),
                human_bytes(bytes).c_str());
  }
};

void print_table(const TensorListing& listing) {
  size_t name_width = 4, shape_width = 5;
  for (const TensorListing::Row& row : listing.rows) {
    name_width = std::max(name_width, row.name.size());
    shape_width = std::max(shape_width, shape_text(row.shape).size());
  }
  const auto line = [&](const std::string& name, const std::string& dtype, const std::string& shape,
                        const std::string& size) {
    std::printf("%-*s  %-8s  %-*s  %9s\n", static_cast<int>(name_width), name.c_str(),
                dtype.c_str(), static_cast<int>(shape_width), shape.c_str(), size.c_str());
  };
  line("name", "dtype", "shape", "size");
  for (const TensorListing::Row& row : listing.rows)
    line(row.name, row.dtype, shape_text(row.shape), human_bytes(row.bytes));
}

/// One line: of a long list what it begins with.
std::string brief(const Json& value) {
  constexpr size_t kMostShown = 8;
  if (value.is_string()) return shown_text(value.get<std::string>(), 200);
  if (!value.is_array() || value.size() <= kMostShown) return value.dump();
  std::string text;
  for (size_t i = 0; i < kMostShown; ++i) text += concat(i == 0 ? "" : ",", value[i].dump());
  return concat("[", text, ", ...] (", with_commas(value.size()), " values)");
}

void print_listing(const std::string& path, const TensorListing& listing) {
  std::printf("%s (%s)\n", path.c_str(), listing.format.c_str());
  if (listing.format == "safetensors" || listing.format == "gguf")
    for (const auto& [key, value] : listing.metadata.items())
      std::printf("%s: %s\n", shown_text(key).c_str(), brief(value).c_str());
  std::printf("\n");
  print_table(listing);
  std::map<std::string, Sum> by_dtype;
  Sum total;
  for (const TensorListing::Row& row : listing.rows) {
    by_dtype[row.dtype].add(row);
    total.add(row);
  }
  std::printf("\n");
  for (const auto& [dtype, sum] : by_dtype) sum.print(dtype);
  if (by_dtype.size() != 1) total.print("all");
}

/// Of what is there; whether it is whole and right is for `verify` to say.
TensorListing list_kd_cache(const std::string& path) {
  const InputDirectory files(path);
  const KdMeta meta =
      parse_kd_meta(files.read(kKdMetaName, JsonLimits().max_bytes), files.shown(kKdMetaName));
  TensorListing listing{.format = "kd_cache", .metadata = kd_meta_json(meta), .rows = {}};
  for (int64_t shard = 0; shard < meta.shards(); ++shard) {
    const std::string name = kd_shard_name(shard);
    if (!files.has(name)) continue;
    const SafetensorsFile file(files.open(name), files.shown(name));
    for (const TensorEntry& entry : file.header().tensors())
      listing.rows.push_back({name, name + "/" + entry.name, dtype_name(entry.dtype), entry.shape,
                              entry.bytes(), entry.bytes() * 8 / dtype_bits(entry.dtype)});
  }
  return listing;
}

}  // namespace

int run_inspect(const Invocation& invocation) {
  if (invocation.options.layers) return run_inspect_layers(invocation);
  if (invocation.options.config) return run_inspect_rows(invocation);
  if (invocation.positional.empty())
    fail(ExitCode::usage, "inspect: name a file or a folder: trainer inspect FILE_OR_DIR");
  const std::string path = resolve_model(invocation.positional.front());
  const TensorListing listing = is_kd_cache(path) ? list_kd_cache(path) : list_tensors(path);
  if (invocation.options.json)
    std::fputs(dump_json(listing_json(listing)).c_str(), stdout);
  else
    print_listing(path, listing);
  return 0;
}

}  // namespace isogrid
