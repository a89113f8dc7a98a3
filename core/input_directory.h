#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/io.h"

namespace isogrid {

struct GgufParts;

/// A name from a stranger's file that may be opened: one plain component. No separators of any
/// system, no '..', no URL, drive, home or percent forms, no control characters, no leading dot.
bool is_plain_file_name(std::string_view name);

/// A folder of files that strangers made. Names in it are opened relative to a handle and never
/// lead outside: links are followed inside the folder and, in a Hugging Face hub cache
/// (snapshots/<commit>/file -> ../../blobs/<hash>), into the blobs of the same model. Only regular
/// files are opened, and a named pipe never blocks.
class InputDirectory {
 public:
  /// Missing: exit code 66; not a folder: 65.
  explicit InputDirectory(const std::string& path);

  const std::string& path() const { return path_; }  // as the user gave it
  std::string shown(std::string_view name) const;    // path/name, for messages
  bool has(const std::string& name) const;
  /// Plain names of everything in it, sorted; names that are not plain are left out.
  std::vector<std::string> names() const;

  /// 65 for a name that is not plain, a link that leads outside or no regular file; 66 if missing.
  FileDescriptor open(const std::string& name) const;
  std::string read(const std::string& name, uint64_t max_bytes) const;

  /// From now on the folder is what a GGUF model amounts to: nothing is in it but what add_text()
  /// puts there. `path` names the model in messages.
  void stand_for(std::shared_ptr<const GgufParts> model, const std::string& path);
  void add_text(const std::string& name, std::function<std::string()> text) {
    texts_[name] = std::move(text);
  }
  const std::shared_ptr<const GgufParts>& gguf() const { return gguf_; }  // null: a plain folder

 private:
  FileDescriptor follow_links(const std::string& name) const;
  bool allowed_target(const std::filesystem::path& target) const;

  std::string path_;
  std::filesystem::path root_;   // free of links
  std::filesystem::path blobs_;  // of the same model, if this is a hub cache's snapshot
  std::filesystem::path store_;  // blobs that all models of the cache share
  FileDescriptor fd_;
  std::shared_ptr<const GgufParts> gguf_;
  std::map<std::string, std::function<std::string()>> texts_;
};

}  // namespace isogrid
