#pragma once
#include "configs/run_config.h"
#include "models/weight_index.h"
#include "trainer/train_state.h"

namespace isogrid {

/// What a run is made of, to be compared when it goes on. `data_fingerprint` and `tokenizer_hash`
/// come from the prepared rows.
Provenance provenance_of(const RunConfig& config, const InputDirectory* files);

/// SHA-256 over names, shapes and types of all tensors and over blocks of their bytes, spread
/// evenly: as good as the whole for telling one model from another, and instant for any size.
std::string model_fingerprint(const InputDirectory& files);

}  // namespace isogrid
