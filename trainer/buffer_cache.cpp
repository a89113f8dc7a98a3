#include "trainer/buffer_cache.h"

#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <map>
#include <mutex>

#include "core/phase.h"

namespace isogrid {
namespace {

constexpr size_t kHeader = 64;             // holds the block's size; keeps the data aligned
constexpr size_t kSmallestKept = 1 << 16;  // below, malloc is as good
constexpr size_t kHugePage = 2 << 20;

/// Sizes in eighths of a power of two: little is wasted, and batches of similar length share.
size_t rounded_size(size_t bytes) {
  const size_t step = std::max<size_t>(64, std::bit_floor(bytes) / 8);
  return (bytes + step - 1) / step * step;
}

class BufferCache final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes == 0 ? nullptr : take(bytes);
    return {data, data, give_back, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return give_back; }
  void copy_data(void* to, const void* from, size_t count) const override {
    default_copy_data(to, from, count);
  }

  static BufferCache& instance() {
    static auto* cache = new BufferCache;  // outlives every tensor
    return *cache;
  }
  int64_t kept() {
    const std::lock_guard lock(mutex_);
    return static_cast<int64_t>(kept_);
  }

 private:
  void* take(size_t bytes) {
    const size_t size = kHeader + rounded_size(bytes);
    if (size >= kSmallestKept) {
      const std::lock_guard lock(mutex_);
      live_ += size;
      peak_ = std::max(peak_, live_);
      const auto found = free_.lower_bound(size);
      if (found != free_.end() && found->first <= size + size / 8) {
        void* block = found->second;
        live_ += found->first - size;
        kept_ -= found->first;
        free_.erase(found);
        return data_of(block);
      }
      drop_down_to(peak_ > live_ ? peak_ - live_ : 0);
    }
    return data_of(fresh_block(size));
  }

  static void* fresh_block(size_t size) {
    const size_t alignment = size >= 2 * kHugePage ? kHugePage : kHeader;
    void* block = nullptr;
    if (posix_memalign(&block, alignment, size) != 0) throw MemoryError(size);
    if (alignment == kHugePage) madvise(block, size, MADV_HUGEPAGE);
    *static_cast<size_t*>(block) = size;
    return block;
  }

  static void* data_of(void* block) { return static_cast<char*>(block) + kHeader; }

  static void give_back(void* data) {
    if (data == nullptr) return;
    void* block = static_cast<char*>(data) - kHeader;
    const size_t size = *static_cast<size_t*>(block);
    if (size < kSmallestKept) return std::free(block);
    BufferCache& cache = instance();
    const std::lock_guard lock(cache.mutex_);
    cache.live_ -= size;
    cache.free_.emplace(size, block);
    cache.kept_ += size;
    const size_t most = cache.peak_ + cache.peak_ / 10;
    cache.drop_down_to(most > cache.live_ ? most - cache.live_ : 0);
  }

  /// The largest go first: they are the fewest and the likeliest to be of no use.
  void drop_down_to(size_t bytes) {
    while (kept_ > bytes) {
      const auto last = std::prev(free_.end());
      kept_ -= last->first;
      std::free(last->second);
      free_.erase(last);
    }
  }

  std::mutex mutex_;
  std::multimap<size_t, void*> free_;
  size_t live_ = 0, peak_ = 0, kept_ = 0;
};

}  // namespace

void keep_freed_buffers() { c10::SetCPUAllocator(&BufferCache::instance(), /*priority=*/1); }

int64_t kept_buffer_bytes() { return BufferCache::instance().kept(); }

}  // namespace isogrid
