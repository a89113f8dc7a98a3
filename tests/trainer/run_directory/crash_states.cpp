#include "tests/trainer/run_directory/crash_states.h"

#include <algorithm>
#include <random>
#include <set>
#include <utility>

namespace isogrid {
namespace {

using Kind = Operation::Kind;

/// What is on the disk for certain, and what is on its way.
struct DiskNode {
  bool is_folder = false;
  std::map<std::string, int> entries;     // synced
  std::vector<const Operation*> pending;  // changes of entries since
  std::string content, synced_content;
  bool dirty = false;
};

constexpr uint64_t kDataVariants = 4;  // as synced, half, whole, zeros

std::string data_variant(const DiskNode& file, uint64_t variant) {
  if (variant == 0) return file.synced_content;
  if (variant == 1) return file.content.substr(0, file.content.size() / 2);
  if (variant == 2) return file.content;
  return std::string(file.content.size(), '\0');
}

void apply(std::map<std::string, int>& entries, const Operation& change) {
  entries.erase(change.name);
  if (change.kind == Kind::make) entries[change.name] = change.node;
  // A rename is one change: it never leaves both names or none.
  if (change.kind == Kind::rename) entries[change.to] = change.node;
}

class Disk {
 public:
  Disk() { nodes_[RecordedIo::kRoot].is_folder = true; }

  void run(const Operation& operation) {
    if (operation.kind == Kind::acknowledge) {
      acknowledged_ = operation.step;
    } else if (operation.kind == Kind::sync) {
      sync(nodes_[operation.node]);
    } else if (operation.kind == Kind::change) {
      nodes_[operation.node].content = operation.content;
      nodes_[operation.node].dirty = true;
    } else {
      if (operation.kind == Kind::make) nodes_[operation.node].is_folder = operation.is_folder;
      nodes_[operation.folder].pending.push_back(&operation);
    }
  }

  /// Calls `choose(bits)` for each decision: one of 2^bits ways.
  CrashState state(const std::function<uint64_t(int)>& choose) const {
    CrashState state;
    state.acknowledged = acknowledged_;
    collect(RecordedIo::kRoot, "", choose, state);
    return state;
  }

 private:
  static void sync(DiskNode& node) {
    for (const Operation* change : node.pending) apply(node.entries, *change);
    node.pending.clear();
    node.synced_content = node.content;
    node.dirty = false;
  }

  void collect(int id, const std::string& path, const std::function<uint64_t(int)>& choose,
               CrashState& state) const {
    const DiskNode& node = nodes_.at(id);
    if (!node.is_folder) {
      state.files[path] = node.dirty ? data_variant(node, choose(2)) : node.content;
      return;
    }
    if (!path.empty()) state.files[path + "/"] = "";
    std::map<std::string, int> entries = node.entries;
    for (const Operation* change : node.pending)
      if (choose(1) == 1) apply(entries, *change);
    for (const auto& [name, child] : entries)
      collect(child, path.empty() ? name : path + "/" + name, choose, state);
  }

  std::map<int, DiskNode> nodes_;
  int64_t acknowledged_ = -1;
};
static_assert(kDataVariants == 4, "two bits choose one");

/// Renames name their node, so that one can be applied without the making before it.
std::vector<Operation> with_renamed_nodes(std::vector<Operation> log) {
  std::map<int, std::map<std::string, int>> live;
  for (Operation& operation : log) {
    auto& entries = live[operation.folder];
    if (operation.kind == Kind::make) entries[operation.name] = operation.node;
    if (operation.kind == Kind::unlink) entries.erase(operation.name);
    if (operation.kind != Kind::rename) continue;
    operation.node = entries.at(operation.name);
    entries.erase(operation.name);
    entries[operation.to] = operation.node;
  }
  return log;
}

std::string key_of(const CrashState& state) {
  std::string key = std::to_string(state.acknowledged);
  for (const auto& [path, content] : state.files) key += '\n' + path + '\0' + content;
  return to_hex(sha256(as_bytes(key)));
}

/// All ways to decide, counted up like an odometer; false when the last has been.
class Choices {
 public:
  uint64_t next(int bits) {
    if (at_ == made_.size()) made_.emplace_back(0, uint64_t{1} << bits);
    return made_[at_++].first;
  }
  bool advance() {
    at_ = 0;
    while (!made_.empty() && ++made_.back().first == made_.back().second) made_.pop_back();
    return !made_.empty();
  }

 private:
  std::vector<std::pair<uint64_t, uint64_t>> made_;  // way, number of ways
  size_t at_ = 0;
};

}  // namespace

void for_each_crash_state(const std::vector<Operation>& raw_log, size_t most, uint64_t seed,
                          const std::function<bool(const CrashState&)>& visit) {
  const std::vector<Operation> log = with_renamed_nodes(raw_log);
  std::mt19937_64 random(seed);
  std::set<std::string> seen;
  Disk disk;
  for (const Operation& operation : log) {
    disk.run(operation);
    std::vector<CrashState> states;
    Choices choices;
    bool more = true;
    while (more && states.size() <= most) {
      states.push_back(disk.state([&](int bits) { return choices.next(bits); }));
      more = choices.advance();
    }
    if (more) {
      states.clear();
      states.push_back(disk.state([](int) { return 0u; }));
      states.push_back(disk.state([](int bits) { return bits == 2 ? 2u : 1u; }));
      while (states.size() < most)
        states.push_back(disk.state([&](int bits) { return random() >> (64 - bits); }));
    }
    for (const CrashState& state : states)
      if (seen.insert(key_of(state)).second && !visit(state)) return;
  }
}

}  // namespace isogrid
