#pragma once
#include <string_view>

namespace isogrid {

/// The release, for example "0.1.0".
std::string_view program_version();

/// The commit it was built from, for example "1f88ee3a2b". "+changes" follows when tracked files
/// differed from it; "unknown" when neither a repository nor an archive of one was there to ask.
std::string_view program_commit();

}  // namespace isogrid
