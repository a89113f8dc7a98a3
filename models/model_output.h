#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "core/io_writer.h"
#include "models/causal_lm.h"
#include "models/folder.h"
#include "models/weight_index.h"

namespace isogrid {

/// The value that a tensor has now; undefined: it is as in the folder it came from.
using NewValue = std::function<at::Tensor(const TensorSlot&)>;

/// The files of a model folder: weights, config.json, and the tokenizer's as they are in `base`.
/// `stored` are the weights of `base`, null where there are none. What has no new value is copied
/// from them bit for bit, what has one is rounded to the type it has there. Look-up-table layers
/// are written from the model with all their digits, and config.json tells of them. Tensors are
/// read when the files are written.
std::vector<FileToWrite> model_files(CausalLm& model, const ModelFolder& base,
                                     std::shared_ptr<const WeightIndex> stored,
                                     const NewValue& new_value, double shard_gigabytes);

/// The config.json of the model over that of `base`: quantization_config tells what its linears are
/// made of. Of a model without look-up-table layers it stays as it is.
Json config_of_layers(CausalLm& model, const Json& base);

}  // namespace isogrid
