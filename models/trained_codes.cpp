#include "models/trained_codes.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <filesystem>

#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/log.h"
#include "core/tensor_file.h"
#include "quant/dense.h"
#include "quant/fake_quant.h"
#include "quant/row_chunks.h"

namespace isogrid {
namespace {

constexpr int64_t kVersion = 1;
constexpr const char* kFacts = "isogrid";  // the key of the facts among the file's metadata

/// A few stretches of a tensor: enough to tell it from any other of its run.
void add_samples(Sha256& hash, const at::Tensor& value) {
  constexpr int64_t kStretch = 1024, kStretches = 16;
  const at::Tensor flat = value.detach().reshape({-1});
  const int64_t count = flat.numel();
  const bool whole = count <= kStretch * kStretches;
  const int64_t stretches = whole ? 1 : kStretches, size = whole ? count : kStretch;
  const int64_t stride = whole ? 0 : (count - kStretch) / (kStretches - 1);
  for (int64_t i = 0; i < stretches; ++i) {
    const at::Tensor part = flat.slice(0, i * stride, i * stride + size).cpu().contiguous();
    hash.update({static_cast<const std::byte*>(part.const_data_ptr()), part.nbytes()});
  }
}

/// Of a weight as it is published, and of an adapter that is rounded into it, in float32.
std::string fingerprint(const at::Tensor& weight, const Adapter* adapter, const at::Tensor& a,
                        const at::Tensor& b) {
  Sha256 hash;
  add_samples(hash, weight);
  if (adapter != nullptr) {
    add_samples(hash, a.to(at::kFloat));
    add_samples(hash, b.to(at::kFloat));
    hash.update(as_bytes(concat(adapter->scale)));
  }
  return to_hex(hash.finish()).substr(0, 32);
}

/// A weight that rounds, and the adapter in it.
struct RoundedWeight {
  const FakeQuantWeight* weight = nullptr;
  const Linear* linear = nullptr;  // null: no adapter is rounded with it
};

std::map<std::string, RoundedWeight> rounded_weights(CausalLm& model) {
  std::map<std::string, RoundedWeight> found;
  visit_weights(
      model, [&](const std::string& name, std::shared_ptr<WeightSource>& weight, Linear* linear) {
        const auto* rounded = dynamic_cast<const FakeQuantWeight*>(weight.get());
        if (rounded == nullptr || !rounded->rounds()) return;
        found[name] = {rounded, linear != nullptr && rounded_change(*linear) ? linear : nullptr};
      });
  return found;
}

/// Fingerprints by weight.
std::map<std::string, std::string> published_fingerprints(
    CausalLm& model, const std::map<std::string, RoundedWeight>& weights,
    const PublishedValue& published) {
  std::map<std::string, at::Tensor> a, b, values;
  model.visit([&](const TensorSlot& slot) {
    const auto under = [&](std::string_view ending) {
      return slot.name.substr(0, slot.name.size() - ending.size()) + ".weight";
    };
    if (slot.role == Role::adapter_a) a[under(".lora_A.weight")] = published(slot);
    if (slot.role == Role::adapter_b) b[under(".lora_B.weight")] = published(slot);
    if (weights.count(slot.name) != 0) values[slot.name] = published(slot);
  });
  std::map<std::string, std::string> prints;
  for (const auto& [name, rounded] : weights) {
    const Adapter* adapter = rounded.linear != nullptr ? &*rounded.linear->adapter : nullptr;
    prints[name] = fingerprint(values.at(name), adapter, a[name], b[name]);
  }
  return prints;
}

at::Tensor records_of(const RoundedWeight& rounded) {
  const auto change = rounded.linear != nullptr ? rounded_change(*rounded.linear) : std::nullopt;
  return rounded.weight->records(change ? &*change : nullptr);
}

std::shared_ptr<const Grid> stored_grid(const std::string& name, const std::string& where) {
  for (const GridRow& row : grid_rows())
    if (row.name == name) return row.make(name);
  fail(ExitCode::refused_input, where, ": grid '", name, "' is not known to this program");
}

TrainedWeight read_weight(const std::shared_ptr<const SafetensorsFile>& file,
                          const std::string& name, const JsonFields& facts) {
  const TensorEntry* entry = file->header().find(name);
  TrainedWeight weight;
  weight.grid = stored_grid(facts.string("grid"), file->name());
  weight.columns = facts.positive("columns");
  weight.fingerprint = facts.string("of");
  const int64_t block = std::max<int64_t>(1, weight.grid->block());
  if (entry == nullptr || entry->dtype != Dtype::u8 || entry->shape.size() != 2 ||
      weight.columns > (int64_t{1} << 31) || weight.columns % block != 0 ||
      entry->shape[1] != weight.grid->row_bytes(weight.columns))
    fail(ExitCode::refused_input, file->name(), ": tensor '", name, "' does not hold rows of ",
         weight.columns, " in ", weight.grid->name());
  weight.records = view_tensor(file, *entry);
  return weight;
}

}  // namespace

std::optional<FileToWrite> trained_codes_file(CausalLm& model, const QatConfig& config,
                                              const PublishedValue& published) {
  const auto weights =
      std::make_shared<const std::map<std::string, RoundedWeight>>(rounded_weights(model));
  if (weights->empty()) return std::nullopt;
  const auto prints = published_fingerprints(model, *weights, published);
  Json facts = {{"version", kVersion}, {"target", *config.qat_target}, {"lora", config.qat_lora}};
  std::vector<TensorEntry> entries;
  for (const auto& [name, rounded] : *weights) {
    const FakeQuantWeight& weight = *rounded.weight;
    TensorEntry entry;
    entry.name = name;
    entry.dtype = Dtype::u8;
    entry.shape = {weight.outputs(), weight.grid().row_bytes(weight.inputs())};
    entries.push_back(std::move(entry));
    facts["weights"][name] = {
        {"grid", weight.grid().name()}, {"columns", weight.inputs()}, {"of", prints.at(name)}};
  }
  const SafetensorsLayout layout = plan_safetensors(std::move(entries), {{kFacts, facts.dump()}});
  return FileToWrite{
      kTrainedCodesFile, layout.file_size, [layout, weights](OutputFile& file) {
        append_safetensors(file, layout, [&](const TensorEntry& entry, OutputFile& to) {
          const at::Tensor records = records_of(weights->at(entry.name));
          to.append({static_cast<const std::byte*>(records.const_data_ptr()), records.nbytes()});
        });
      }};
}

at::Tensor TrainedWeight::decoded() const {
  at::Tensor values = at::empty({records.size(0), columns}, at::kFloat);
  const auto* from = static_cast<const std::byte*>(records.const_data_ptr());
  for_row_chunks(records.size(0), columns, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row)
      grid->decode(from + row * records.size(1), columns,
                   values.mutable_data_ptr<float>() + row * columns);
  });
  return values;
}

const TrainedWeight* TrainedCodes::find(const std::string& name) const {
  const auto found = weights.find(name);
  return found == weights.end() ? nullptr : &found->second;
}

std::shared_ptr<const TrainedCodes> read_trained_codes(const std::string& folder) {
  const std::string path = (std::filesystem::path(folder) / kTrainedCodesFile).string();
  if (!std::filesystem::exists(path)) return nullptr;
  const auto file = std::make_shared<const SafetensorsFile>(path);
  const auto found = file->header().metadata().find(kFacts);
  if (found == file->header().metadata().end())
    fail(ExitCode::refused_input, path, ": does not say what its codes are");
  const Json json = parse_json(found->second, path, {.max_bytes = kMaxSafetensorsHeader});
  const JsonFields facts(json, path);
  if (facts.integer("version") != kVersion)
    fail(ExitCode::refused_input, path, ": is of version ", facts.integer("version"),
         ", this program reads ", kVersion);
  auto codes = std::make_shared<TrainedCodes>();
  codes->path = path;
  codes->target = facts.string("target");
  codes->merged = facts.string("lora") == "merged";
  const JsonFields weights = facts.object("weights");
  for (const auto& [name, unused] : facts.value("weights").items())
    codes->weights[name] = read_weight(file, name, weights.object(name.c_str()));
  return codes;
}

void check_trained_weight(const TrainedCodes& codes, const std::string& name,
                          const at::Tensor& stored, const Adapter* adapter) {
  const Adapter* within = codes.merged ? adapter : nullptr;
  const TrainedWeight& weight = *codes.find(name);
  const bool fits = stored.dim() == 2 && stored.size(0) == weight.records.size(0) &&
                    stored.size(1) == weight.columns;
  if (fits && weight.fingerprint == fingerprint(stored, within,
                                                within != nullptr ? within->a : at::Tensor(),
                                                within != nullptr ? within->b : at::Tensor()))
    return;
  fail(ExitCode::refused_input, codes.path, ": ", name,
       " is not the weight these codes were trained with: another base model, or changed since. "
       "Name the model of the training run, or delete the file to quantise anew");
}

void check_trained_codes(CausalLm& model, const TrainedCodes& codes, const WeightIndex& weights,
                         const std::vector<std::string>& replaced) {
  size_t found = 0;
  visit_weights(model, [&](const std::string& name, std::shared_ptr<WeightSource>&,
                           Linear* linear) {
    if (codes.find(name) == nullptr) return;
    ++found;
    const WeightLocation* location = weights.find(name);
    if (location != nullptr && std::find(replaced.begin(), replaced.end(), name) == replaced.end())
      check_trained_weight(codes, name, view_tensor(location->file, *location->entry),
                           linear != nullptr && linear->adapter ? &*linear->adapter : nullptr);
  });
  if (found != codes.weights.size())
    fail(ExitCode::refused_input, codes.path, ": holds ", codes.weights.size(),
         " weights, of which ", found, " are this model's");
}

void serve_trained_codes(CausalLm& model, const TrainedCodes& codes) {
  visit_weights(
      model, [&](const std::string& name, std::shared_ptr<WeightSource>& weight, Linear* linear) {
        const TrainedWeight* trained = codes.find(name);
        if (trained == nullptr) return;
        weight = std::make_shared<DenseWeight>(trained->decoded().to(model.device, model.compute));
        if (linear != nullptr && codes.merged) linear->adapter.reset();
      });
}

}  // namespace isogrid
