#include "tests/trainer/run_directory/recorded_io.h"

#include <filesystem>

#include <fcntl.h>

namespace isogrid {

using Kind = Operation::Kind;

int RecordedIo::add(int folder, const char* name, bool is_folder) {
  const int node = static_cast<int>(live_.size());
  live_.emplace_back();
  live_[static_cast<size_t>(folder)].entries[name] = node;
  log_.push_back(
      {.kind = Kind::make, .node = node, .folder = folder, .is_folder = is_folder, .name = name});
  return node;
}

int RecordedIo::open(int directory, const char* name, int flags, mode_t mode) {
  const int fd = IoCalls::open(directory, name, flags, mode);
  if (fd < 0) return fd;
  if (directory == AT_FDCWD) {  // the run's folder itself: everything else is opened below it
    if (std::filesystem::path(name).lexically_normal() != root_) throw std::logic_error(name);
    node_of_[fd] = kRoot;
    return fd;
  }
  const int folder = node_of_.at(directory);
  auto& entries = live_[static_cast<size_t>(folder)].entries;
  if (const auto known = entries.find(name); known != entries.end())
    node_of_[fd] = known->second;
  else
    node_of_[fd] = add(folder, name, /*is_folder=*/false);
  return fd;
}

ssize_t RecordedIo::write(int fd, const void* data, size_t size) {
  const int node = node_of_.at(fd);
  std::string& content = live_[static_cast<size_t>(node)].content;
  content.append(static_cast<const char*>(data), size);
  log_.push_back({.kind = Kind::change, .node = node, .content = content});
  return IoCalls::write(fd, data, size);
}

int RecordedIo::truncate(int fd, uint64_t size) {
  const int node = node_of_.at(fd);
  std::string& content = live_[static_cast<size_t>(node)].content;
  content.resize(size);
  log_.push_back({.kind = Kind::change, .node = node, .content = content});
  return IoCalls::truncate(fd, size);
}

int RecordedIo::fsync(int fd) {
  log_.push_back({.kind = Kind::sync, .node = node_of_.at(fd)});
  return IoCalls::fsync(fd);
}

int RecordedIo::moved(int result, int directory, const char* from, const char* to) {
  if (result != 0) return result;
  const int folder = node_of_.at(directory);
  auto& entries = live_[static_cast<size_t>(folder)].entries;
  entries[to] = entries.at(from);
  entries.erase(from);
  log_.push_back({.kind = Kind::rename, .folder = folder, .name = from, .to = to});
  return 0;
}

int RecordedIo::rename(int directory, const char* from, const char* to) {
  return moved(IoCalls::rename(directory, from, to), directory, from, to);
}

int RecordedIo::rename_no_replace(int directory, const char* from, const char* to) {
  return moved(IoCalls::rename_no_replace(directory, from, to), directory, from, to);
}

int RecordedIo::mkdir(int directory, const char* name, mode_t mode) {
  const int result = IoCalls::mkdir(directory, name, mode);
  if (result == 0) add(node_of_.at(directory), name, /*is_folder=*/true);
  return result;
}

int RecordedIo::unlink(int directory, const char* name, int flags) {
  const int result = IoCalls::unlink(directory, name, flags);
  if (result != 0) return result;
  const int folder = node_of_.at(directory);
  live_[static_cast<size_t>(folder)].entries.erase(name);
  log_.push_back({.kind = Kind::unlink, .folder = folder, .name = name});
  return 0;
}

}  // namespace isogrid
