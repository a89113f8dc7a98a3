#pragma once
#include <string>
#include <string_view>

#include "core/io.h"

namespace isogrid {

/// Why a file of this name or with this beginning is never opened (pickle, TorchScript, archives:
/// reading them can run code that is inside), with the way to convert it; empty if it may be.
/// Looks at no more than 64 bytes.
std::string foreign_file_problem(const std::string& path, ByteSpan beginning);

/// The same by name alone.
bool has_pickle_name(std::string_view path);

/// Opens, reads at most 64 bytes and refuses (65) what foreign_file_problem names.
void refuse_foreign_file(const std::string& path);
void refuse_foreign_file(const FileDescriptor& file, const std::string& path);

}  // namespace isogrid
