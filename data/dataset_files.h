#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/io.h"
#include "data/dataset_entry.h"
#include "data/records/record_source.h"

namespace isogrid {

/// The files of one dataset, in the order in which they are read.
struct DatasetFiles {
  std::vector<std::string> paths;
  FileType type = FileType::json;
  bool links_stay_inside = false;  // of a folder: a link in it leads to its own files only
};

/// Missing: 66. Files of several types, or of a type that cannot be read (parquet, arrow,
/// compressed ones): 65, with the way to convert them.
DatasetFiles find_files(const DatasetEntry& entry);

/// The bytes of one of them.
std::unique_ptr<const MappedFile> map_file(const DatasetFiles& files, size_t index);

}  // namespace isogrid
