#include "trainer/provenance.h"

#include <algorithm>

#include "configs/values.h"
#include "core/dtype.h"
#include "core/hash.h"
#include "core/process_memory.h"

namespace isogrid {
namespace {

constexpr uint64_t kBlock = 4096;
constexpr uint64_t kBlocksPerTensor = 16;

void hash_blocks(Sha256& hash, ByteSpan bytes) {
  if (bytes.size() <= kBlock * kBlocksPerTensor) return hash.update(bytes);
  const uint64_t stride = (bytes.size() - kBlock) / (kBlocksPerTensor - 1);
  for (uint64_t i = 0; i < kBlocksPerTensor; ++i) hash.update(bytes.subspan(i * stride, kBlock));
}

}  // namespace

std::string model_fingerprint(const InputDirectory& files) {
  // A mapping of its own: what it touches would stay in memory as long as the run's.
  const WeightIndex weights = open_weights(files);
  Sha256 hash;
  for (const WeightLocation& location : weights.tensors()) {
    std::string head = location.name + " " + std::string(dtype_name(location.entry->dtype));
    for (const int64_t size : location.entry->shape) head += " " + std::to_string(size);
    hash.update(as_bytes(head + "\n"));
    hash_blocks(hash, location.bytes());
    drop_pages(location.bytes());
  }
  return to_hex(hash.finish());
}

Provenance provenance_of(const RunConfig& config, const InputDirectory* files) {
  Provenance provenance;
  RunConfig copy = config;
  for (const Field& field : fields_of(copy))
    provenance.settings[std::string(field.name)] = plain_text_of(field);
  if (files != nullptr) provenance.model_fingerprint = model_fingerprint(*files);
  return provenance;
}

}  // namespace isogrid
