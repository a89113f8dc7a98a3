#pragma once
#include "core/gguf.h"
#include "core/io_writer.h"
#include "models/gguf_mix.h"
#include "models/trained_codes.h"

namespace isogrid {

/// Can a file of this mix hold the codes of a training as they are? That of the training's own
/// target can; so can the plain types whose blocks hold the trained whole numbers and scales.
bool holds_trained_codes(const TrainedCodes& codes, const GgufMix& mix);

/// The type a trained weight has in such a file.
const GgufType& gguf_type_of(const Grid& grid, const GgufMix& mix);

/// The codes as blocks of that type, uint8 [out, bytes].
at::Tensor gguf_blocks(const TrainedWeight& weight, const GgufType& type);

void append_blocks(const at::Tensor& blocks, OutputFile& file);

/// Every bit of what the file's blocks decode to is that of `trained`; else an internal error.
void check_decodes_to(const GgufTensor& tensor, ByteSpan blocks, const at::Tensor& trained);

}  // namespace isogrid
