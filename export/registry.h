#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "configs/export_config.h"
#include "core/io_writer.h"
#include "export/source.h"
#include "quant/packed_model.h"

namespace isogrid {

/// One file or folder to write.
struct ExportRequest {
  std::string format;          // "hf"
  std::string variant;         // "float16"; may be empty
  std::string directory;       // where it goes
  std::string file_name = {};  // of a format that is one file; empty: the format's own name
  const ExportConfig* config = nullptr;
  int64_t group_size = 0;               // of formats whose scales are shared in groups
  bool names_group = false;             // the user asked for that size
  const PackedModel* packed = nullptr;  // of formats that are calibrated
  bool double_quantization = true;      // of bnb:nf4 and bnb:fp4: their scales in eight bits too
};

/// A format other programs load. One row of the table in registry.cpp.
struct ExportFormat {
  std::string_view name;
  std::vector<std::string_view> variants;  // what may stand after the colon; "" where nothing may
  std::string_view summary;
  void (*write)(ExportSource& source, const ExportRequest& request);
  /// The name of its file, where it is one file in export_dir and not a folder of its own.
  std::string (*file_name)(const ExportSource& source, const std::string& variant) = nullptr;
  /// Sizes of groups that may be asked for, as in ct:int4:g32; empty: it knows no groups.
  std::vector<int64_t> group_sizes = {};
  bool is_calibrated = false;  // its quantiser looks at data: ExportRequest::packed is needed
};

std::span<const ExportFormat> export_formats();

/// "hf:float16" -> its row; an unknown format or variant is refused (78) with the list.
struct WantedExport {
  const ExportFormat* format = nullptr;
  std::string variant;
  int64_t group_size = 0;           // 0: not named
  std::string folder_name() const;  // "hf-float16"
};
WantedExport wanted_export(const std::string& text);

void write_lut(ExportSource& source, const ExportRequest& request);
void write_hf(ExportSource& source, const ExportRequest& request);
void write_gguf(ExportSource& source, const ExportRequest& request);
std::string gguf_file_name(const ExportSource& source, const std::string& variant);
/// The same under a name of the caller's.
void write_gguf_file(ExportSource& source, const std::string& variant, const std::string& path,
                     const ExportConfig& config = {}, IoCalls& io = IoCalls::system());
/// The adapter alone as GGUF.
void write_gguf_lora(ExportSource& source, const ExportRequest& request);
void write_gptq(ExportSource& source, const ExportRequest& request);
void write_awq(ExportSource& source, const ExportRequest& request);
void write_compressed_tensors(ExportSource& source, const ExportRequest& request);
void write_torchao(ExportSource& source, const ExportRequest& request);

/// Can the container hold a linear of this shape? What it cannot stays dense.
bool fits_gptq(int64_t outputs, int64_t inputs, int bits);
bool fits_awq(int64_t outputs, int64_t inputs, int64_t group_size);
bool fits_compressed_tensors(int64_t inputs, int64_t group_size);

void write_bnb(ExportSource& source, const ExportRequest& request);
void write_adapter(ExportSource& source, const ExportRequest& request);

}  // namespace isogrid
