#include "trainer/commands/upload.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace isogrid {
namespace {

bool is_repository_name(std::string_view name) {
  const size_t slash = name.find('/');
  const bool two_parts = slash != 0 && slash != std::string_view::npos && slash + 1 < name.size() &&
                         name.find('/', slash + 1) == name.npos;
  const auto allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/";
  return two_parts && name.find_first_not_of(allowed) == name.npos;
}

bool is_installed(const char* program) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');)
    if (::access((std::filesystem::path(folder) / program).c_str(), X_OK) == 0) return true;
  return false;
}

/// A file that is only in memory, at its beginning.
int in_memory_file(std::string_view text) {
  const int file = ::memfd_create("upload", MFD_CLOEXEC);
  if (file < 0) return -1;
  for (size_t written = 0; written < text.size();) {
    const ssize_t count = ::write(file, text.data() + written, text.size() - written);
    if (count <= 0) return ::close(file), -1;
    written += static_cast<size_t>(count);
  }
  ::lseek(file, 0, SEEK_SET);
  return file;
}

/// The exit status of `words` with `text` as its input; what it says goes to stderr.
int run_with_input(std::vector<std::string> words, std::string_view text) {
  const int input = in_memory_file(text);
  if (input < 0) return -1;
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  pid_t child = 0;
  const int problem =
      posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(input);
  int status = 0;
  if (problem != 0) return -1;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

void check_upload(const ExportConfig& config) {
  if (!config.push_to_hub) return;
  if (!config.export_hub_model_id)
    fail(ExitCode::configuration,
         "push_to_hub = true: export_hub_model_id must name the repository, as OWNER/NAME");
  if (!is_repository_name(*config.export_hub_model_id))
    fail(ExitCode::configuration, "export_hub_model_id = ", *config.export_hub_model_id,
         ": allowed is OWNER/NAME, of letters, digits, '.', '_' and '-'");
  if (!is_installed("hf") && !is_installed("huggingface-cli"))
    fail(ExitCode::missing_input,
         "push_to_hub = true: neither hf nor huggingface-cli, the hub's own tool, is installed; "
         "pip install huggingface_hub brings it, or leave push_to_hub out and use scripts/upload "
         "where it is");
}

std::string upload_folder(const std::string& folder, const ExportConfig& config) {
  const std::string& repository = *config.export_hub_model_id;
  std::vector<std::string> words{"bash", "-s", "--", folder, repository};
  if (config.hub_private_repo) words.emplace_back("--private");
  const int status = run_with_input(words, upload_script());
  if (status != 0)
    fail(ExitCode::io, "push_to_hub: the upload to ", repository, " ended with exit code ", status,
         "; everything is in ", folder, ". To try again: scripts/upload ", folder, " ", repository,
         config.hub_private_repo ? " --private" : "");
  return "https://huggingface.co/" + repository;
}

}  // namespace isogrid
