#pragma once
#include <string>
#include <string_view>

namespace isogrid {

enum class HubKind { model, dataset };

/// "ORG/NAME" or "NAME", as the Hugging Face hub has them.
bool is_hub_id(std::string_view name);

/// The folder of a snapshot in the local hub cache (HF_HUB_CACHE, HF_HOME/hub,
/// ~/.cache/huggingface/hub), where `revision` is a branch, tag or commit. `shown` names it in
/// messages. Not there: exit code 66 with the command that would download it; no network
/// connection is ever made.
std::string find_in_hub_cache(HubKind kind, const std::string& id, const std::string& revision,
                              const std::string& shown);

}  // namespace isogrid
