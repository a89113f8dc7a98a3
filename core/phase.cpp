#include "core/phase.h"

#include <cstdlib>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/format.h"

namespace isogrid {
namespace {

std::string& phase() {
  static std::string text;
  return text;
}

}  // namespace

void set_phase(std::string text) { phase() = std::move(text); }

const std::string& current_phase() { return phase(); }

std::string out_of_memory_text(uint64_t bytes) {
  return concat("out of memory", phase().empty() ? "" : " during ", phase(),
                bytes == 0 ? "" : concat(": ", human_bytes(bytes), " more were asked for"),
                ". What is saved is whole. What helps: a smaller per_device_train_batch_size (with "
                "more gradient_accumulation_steps the result is the same), a smaller cutoff_len, "
                "gradient_checkpointing: true, bf16: true, optim: adamw_8bit; trainer plan shows "
                "what takes how much");
}

bool tells_of_memory(const std::string& message, uint64_t& bytes) {
  constexpr std::string_view kTried = "you tried to allocate ";
  bytes = 0;
  if (const size_t at = message.find(kTried); at != std::string::npos) {
    bytes = std::strtoull(message.c_str() + at + kTried.size(), nullptr, 10);
    return true;
  }
  return message.find("out of memory") != std::string::npos ||
         message.find("allocate memory") != std::string::npos;
}

}  // namespace isogrid
