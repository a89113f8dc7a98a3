#include "data/kd_writer.h"

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/json.h"
#include "core/manifest.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

constexpr const char* kKdFolderLock = ".lock-folder";

std::string lock_name(int64_t shard) { return ".lock-" + kd_shard_name(shard); }

/// Files that a writer of caches leaves in its folder.
bool is_kd_file(const std::string& name) {
  return name.starts_with('.') || name == kKdMetaName || name == kKdDocumentsName ||
         name == kManifestName || name.starts_with("shard-");
}

bool is_still_named(int fd, const std::string& path) {
  struct stat held {
  }, named{};
  return ::fstat(fd, &held) == 0 && ::lstat(path.c_str(), &named) == 0 &&
         held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

Manifest::File manifest_entry(const std::string& path, const DataHooks& hooks, int64_t& done,
                              int64_t total) {
  constexpr size_t kAtOnce = size_t{16} << 20;
  const MappedFile file(path);
  Sha256 hash;
  for (size_t at = 0; at < file.bytes().size(); at += kAtOnce) {
    hooks.check_stop();
    hash.update(file.bytes().subspan(at, std::min(kAtOnce, file.bytes().size() - at)));
    hooks.show("hashing the cache", done + static_cast<int64_t>(at), total);
  }
  done += static_cast<int64_t>(file.bytes().size());
  return {file.bytes().size(), to_hex(hash.finish())};
}

/// What the process that began it wrote there has to be what this one would write.
void check_same_cache(const std::string& folder, KdMeta there, const KdMeta& now) {
  there.teacher = now.teacher;  // a name, and its folder may have moved
  there.made_with = now.made_with;
  std::string list;
  for (const std::string& difference : kd_meta_differences(there, now))
    list += (list.empty() ? "" : "; ") + difference;
  if (!list.empty())
    fail(ExitCode::locked, "kd_cache: ", folder, ": holds another cache: ", list,
         ". Give another folder, or delete this one");
}

}  // namespace

std::optional<FileClaim> FileClaim::attempt(const std::string& path) {
  constexpr int kFlags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
  for (;;) {
    FileDescriptor file(patiently([&] { return ::open(path.c_str(), kFlags, 0666); }));
    if (!file) fail_write(path, "open", errno, -1, 0);
    if (patiently([&] { return ::flock(file.get(), LOCK_EX | LOCK_NB); }) != 0) {
      if (errno == EWOULDBLOCK) return std::nullopt;
      // A file system without locks: each process writes its own, and all are the same.
      if (errno != EOPNOTSUPP && errno != ENOSYS) fail_write(path, "flock", errno, file.get(), 0);
    }
    // The holder before may have removed the file between open and flock: that one guards nothing.
    if (is_still_named(file.get(), path)) return FileClaim(path, std::move(file));
  }
}

FileClaim FileClaim::wait(const std::string& path, const DataHooks& hooks) {
  for (;;) {
    if (auto claim = attempt(path)) return std::move(*claim);
    hooks.check_stop();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

void FileClaim::release() {
  if (file_) ::unlink(path_.c_str());
  file_ = FileDescriptor();
}

KdCacheWriter::KdCacheWriter(std::string folder, KdMeta meta,
                             const std::vector<KdDocument>& documents, int32_t closing_id,
                             DataHooks hooks)
    : folder_(std::move(folder)), meta_(std::move(meta)), hooks_(std::move(hooks)) {
  first_label_.push_back(0);
  for (const KdDocument document : documents)
    first_label_.push_back(first_label_.back() + static_cast<uint64_t>(kd_labels(document)));
  begin(documents, closing_id);
}

bool KdCacheWriter::has(const std::string& name) const {
  std::error_code ignored;
  return fs::exists(path(name), ignored);
}

// Whoever comes first writes what all shards hang on, and writes meta.json last.
void KdCacheWriter::begin(const std::vector<KdDocument>& documents, int32_t closing_id) {
  make_directories(folder_);
  FileClaim lock = FileClaim::wait(path(kKdFolderLock), hooks_);
  if (has(kKdMetaName)) {
    const std::string name = path(kKdMetaName);
    check_same_cache(folder_, parse_kd_meta(read_text_file(name, 64 << 20), name), meta_);
    return;
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_))
    if (const std::string name = entry.path().filename().string(); !is_kd_file(name))
      fail(ExitCode::locked, "kd_cache: ", folder_, ": holds ", shown_text(name),
           ", which is not a cache's; give a new folder");
  remove_leftovers(kKdDocumentsName);
  write_file_durably(path(kKdDocumentsName), 0, [&](OutputFile& file) {
    ExampleWriter writer(file);
    EncodeCounts counts;
    for (const KdDocument document : documents) {
      ++counts.examples;
      writer.add(kd_words(document), {.file = 0, .line = static_cast<uint64_t>(counts.examples)});
      hooks_.check_stop();
    }
    counts.records = counts.examples;
    counts.tokens = meta_.tokens;
    counts.label_tokens = meta_.label_tokens;
    writer.finish(kd_documents_file_key(), closing_id, counts);
  });
  write_file_durably(path(kKdMetaName), as_bytes(dump_json(kd_meta_json(meta_))));
}

bool KdCacheWriter::is_complete() const { return has(kManifestName); }

int64_t KdCacheWriter::labels_of(int64_t shard) const {
  return static_cast<int64_t>(first_label_[static_cast<size_t>(meta_.end_document(shard))] -
                              first_label_[static_cast<size_t>(meta_.first_document(shard))]);
}

int64_t KdCacheWriter::labels_done() const {
  int64_t sum = 0;
  for (int64_t shard = 0; shard < meta_.shards(); ++shard)
    if (has(kd_shard_name(shard))) sum += labels_of(shard);
  return sum;
}

// What a process that was killed has left half written.
void KdCacheWriter::remove_leftovers(const std::string& of) const {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_))
    if (entry.path().filename().string().starts_with("." + of + ".tmp-"))
      fs::remove(entry.path(), ignored);
}

std::optional<KdCacheWriter::Claim> KdCacheWriter::claim() {
  for (;;) {
    bool others_work = false;
    for (int64_t shard = 0; shard < meta_.shards(); ++shard) {
      const std::string name = kd_shard_name(shard);
      if (has(name)) continue;
      auto lock = FileClaim::attempt(path(lock_name(shard)));
      if (!lock) {
        others_work = true;
      } else if (has(name)) {  // written between the two looks
        lock->release();
      } else {
        remove_leftovers(name);
        return Claim{shard, std::move(*lock)};
      }
    }
    if (!others_work) return std::nullopt;
    hooks_.check_stop();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
}

void KdCacheWriter::commit(Claim& claim,
                           const std::map<std::string, ByteSpan, std::less<>>& tensors) {
  const SafetensorsLayout layout = plan_kd_shard(meta_, labels_of(claim.shard));
  for (const TensorEntry& entry : layout.tensors) {
    const auto found = tensors.find(entry.name);
    if (found == tensors.end() || found->second.size() != entry.bytes())
      fail(ExitCode::internal, "shard ", claim.shard, ": ", entry.name, " has not ", entry.bytes(),
           " bytes");
  }
  write_safetensors(path(kd_shard_name(claim.shard)), layout,
                    [&](const TensorEntry& entry, OutputFile& file) {
                      file.append(tensors.find(entry.name)->second);
                    });
  claim.lock.release();
}

void KdCacheWriter::finish() {
  FileClaim lock = FileClaim::wait(path(kKdFolderLock), hooks_);
  if (!is_complete()) {
    Manifest manifest;
    std::vector<std::string> names{kKdMetaName, kKdDocumentsName};
    for (int64_t shard = 0; shard < meta_.shards(); ++shard) names.push_back(kd_shard_name(shard));
    int64_t total = 0, done = 0;
    for (const std::string& name : names) total += static_cast<int64_t>(fs::file_size(path(name)));
    for (const std::string& name : names)
      manifest.files[name] = manifest_entry(path(name), hooks_, done, total);
    const Json facts = {{"kind", "kd_cache"}};
    write_file_durably(path(kManifestName), as_bytes(manifest_text(manifest, facts)));
  }
  lock.release();
}

}  // namespace isogrid
