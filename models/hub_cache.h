#pragma once
#include <string>

namespace isogrid {

/// A model the user named: a path that exists, else a Hugging Face id ("ORG/NAME" or "NAME") found
/// in the local hub cache (HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub), where `revision`
/// is a branch, tag or commit. Returns the folder. Otherwise exit code 66 with the command that
/// would download it: no network connection is ever made.
std::string resolve_model(const std::string& name_or_path, const std::string& revision = "main");

}  // namespace isogrid
