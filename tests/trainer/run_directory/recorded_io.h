#pragma once
#include <map>
#include <string>
#include <vector>

#include "core/io_writer.h"

namespace isogrid {

/// One change of a disk, in terms of nodes (files and folders) rather than names, so that it can be
/// replayed, dropped or moved without its surroundings.
struct Operation {
  enum class Kind { make, change, sync, rename, unlink, acknowledge };
  Kind kind = Kind::make;
  int node = 0;    // made, changed, synced
  int folder = 0;  // whose entries change
  bool is_folder = false;
  std::string name{};     // the entry; for rename the old one
  std::string to{};       // for rename the new one
  std::string content{};  // for change: of the whole file afterwards
  int64_t step = 0;       // for acknowledge
};

/// Does what it is told below `root`, and writes down what that means for a disk.
class RecordedIo : public IoCalls {
 public:
  static constexpr int kRoot = 0;

  explicit RecordedIo(std::string root) : root_(std::move(root)), live_(1) {}
  const std::vector<Operation>& log() const { return log_; }
  /// The caller has been told that `step` is safe.
  void acknowledge(int64_t step) {
    log_.push_back({.kind = Operation::Kind::acknowledge, .step = step});
  }

  int open(int directory, const char* name, int flags, mode_t mode) override;
  ssize_t write(int fd, const void* data, size_t size) override;
  int truncate(int fd, uint64_t size) override;
  int fsync(int fd) override;
  int rename(int directory, const char* from, const char* to) override;
  int rename_no_replace(int directory, const char* from, const char* to) override;
  int mkdir(int directory, const char* name, mode_t mode) override;
  int unlink(int directory, const char* name, int flags) override;

 private:
  struct Node {
    std::map<std::string, int> entries;
    std::string content;
  };

  int add(int folder, const char* name, bool is_folder);
  int moved(int result, int directory, const char* from, const char* to);

  std::string root_;
  std::vector<Node> live_;
  std::map<int, int> node_of_;  // by descriptor; the kernel hands numbers out again after close
  std::vector<Operation> log_;
};

}  // namespace isogrid
