#include "core/process_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>

namespace isogrid {

// Not ru_maxrss, which a process inherits from the one that started it.
int64_t peak_resident_bytes() {
  std::FILE* file = std::fopen("/proc/self/status", "re");
  if (file == nullptr) return 0;
  char line[256];
  long long kilobytes = 0;
  while (std::fgets(line, sizeof line, file) != nullptr)
    if (std::sscanf(line, "VmHWM: %lld kB", &kilobytes) == 1) break;
  std::fclose(file);
  return kilobytes << 10;
}

void drop_pages(std::span<const std::byte> mapped) {
  static const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<uintptr_t>(mapped.data());
  const uintptr_t first = (address + page - 1) / page * page;
  const uintptr_t last = (address + mapped.size()) / page * page;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace isogrid
