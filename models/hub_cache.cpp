#include "models/hub_cache.h"

#include <filesystem>

#include "core/error.h"
#include "core/hub_cache.h"
#include "core/io.h"

namespace isogrid {

std::string resolve_model(const std::string& name_or_path, const std::string& revision) {
  if (name_or_path.empty())
    fail(ExitCode::missing_input, "model_name_or_path is empty; needed is a folder or a hub id");
  std::error_code ignored;
  if (std::filesystem::exists(name_or_path, ignored)) return name_or_path;
  if (!is_hub_id(name_or_path))
    fail(ExitCode::missing_input, "model '", shown_text(name_or_path, 200),
         "': there is no such file or folder");
  return find_in_hub_cache(HubKind::model, name_or_path, revision,
                           concat("model '", name_or_path, "'"));
}

}  // namespace isogrid
