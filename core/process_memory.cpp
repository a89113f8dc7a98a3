#include "core/process_memory.h"

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

}  // namespace isogrid
