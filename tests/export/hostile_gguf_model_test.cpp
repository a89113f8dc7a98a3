// GGUF files that are well formed but tell no model, each refused with its own message.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>

#include "core/gguf_writer.h"
#include "data/tokenizer/tokenizer.h"
#include "tests/core/refusal.h"
#include "tests/export/small_model.h"

namespace isogrid {
namespace {

using Tensors = std::vector<GgufTensor>;

struct HostileModel {
  const char* what;
  std::function<void(GgufMetadata&, Tensors&)> change;
  const char* message;
};

GgufTensor* find(Tensors& tensors, const std::string& name) {
  for (GgufTensor& tensor : tensors)
    if (tensor.name == name) return &tensor;
  return nullptr;
}

template <typename T>
std::function<void(GgufMetadata&, Tensors&)> set(const char* key, T value) {
  return [=](GgufMetadata& metadata, Tensors&) { metadata.add(key, value); };
}
std::function<void(GgufMetadata&, Tensors&)> without(const char* key) {
  return [=](GgufMetadata& metadata, Tensors&) { metadata.remove(key); };
}
std::function<void(GgufMetadata&, Tensors&)> renamed(const char* from, const char* to) {
  return [=](GgufMetadata&, Tensors& tensors) { find(tensors, from)->name = to; };
}

const HostileModel kModels[] = {
    {"no architecture", without("general.architecture"), "general.architecture"},
    {"an architecture of another kind", set("general.architecture", "gpt2"), "allowed"},
    {"an architecture as a number", set("general.architecture", uint32_t{3}),
     "general.architecture"},
    {"an adapter", set("general.type", "adapter"), "general.type"},
    {"an importance matrix", set("general.type", "imatrix"), "general.type"},
    {"no layers told", without("llama.block_count"), "llama.block_count"},
    {"no layers", set("llama.block_count", uint32_t{0}), "num_hidden_layers"},
    {"more layers than there are", set("llama.block_count", uint32_t{6}), "layers.5"},
    {"fewer layers than there are", set("llama.block_count", uint32_t{4}), "layers.4"},
    {"2^32 - 1 layers", set("llama.block_count", UINT32_MAX), "num_hidden_layers"},
    {"a negative count", set("llama.block_count", int32_t{-1}), "llama.block_count"},
    {"layers as text", set("llama.block_count", "five"), "llama.block_count"},
    {"no width", set("llama.embedding_length", uint32_t{0}), "hidden_size"},
    {"another width", set("llama.embedding_length", uint32_t{128}), "model.embed_tokens.weight"},
    {"no heads", set("llama.attention.head_count", uint32_t{0}), "head_count"},
    {"heads that do not share out", set("llama.attention.head_count_kv", uint32_t{4}),
     "num_key_value_heads"},
    {"2^32 - 1 heads", set("llama.attention.head_count", UINT32_MAX), "num_attention_heads"},
    {"an odd head", set("llama.attention.key_length", uint32_t{15}), "attention.value_length"},
    {"values of another size", set("llama.attention.value_length", uint32_t{8}),
     "attention.value_length"},
    {"a partial rotation", set("llama.rope.dimension_count", uint32_t{8}), "rope.dimension_count"},
    {"experts", set("llama.expert_count", uint32_t{8}), "expert_count"},
    {"no epsilon", without("llama.attention.layer_norm_rms_epsilon"), "layer_norm_rms_epsilon"},
    {"an epsilon that is no number", set("llama.attention.layer_norm_rms_epsilon", NAN),
     "a finite number"},
    {"an endless period", set("llama.rope.freq_base", INFINITY), "a finite number"},
    {"a stretch that is no text", set("llama.rope.scaling.type", "\xff"), "text in UTF-8"},
    {"an end of text beyond the tokens", set("tokenizer.ggml.eos_token_id", uint32_t{4000000000}),
     "an id below 2048"},
    {"a chat template that is no UTF-8", set("tokenizer.chat_template", "\xed\xa0\x80"),
     "text in UTF-8"},
    {"an unknown stretch",
     [](GgufMetadata& metadata, Tensors&) {
       metadata.add("llama.rope.scaling.type", "longrope");
       metadata.add("llama.rope.scaling.factor", 4.0f);
     },
     "rope.scaling.type"},
    {"no embedding", renamed("token_embd.weight", "other.weight"), "token_embd.weight"},
    {"a tensor of no decoder", renamed("blk.0.ffn_up.weight", "blk.0.ffn_up_exps.weight"),
     "blk.0.ffn_up_exps.weight"},
    {"a layer with a leading zero", renamed("blk.0.ffn_up.weight", "blk.00.ffn_up.weight"),
     "blk.00.ffn_up.weight"},
    {"a matrix turned round",
     [](GgufMetadata&, Tensors& tensors) {
       GgufTensor& tensor = *find(tensors, "blk.0.ffn_up.weight");
       std::swap(tensor.dims[0], tensor.dims[1]);
     },
     "mlp.up_proj.weight"},
    {"a matrix as a list",
     [](GgufMetadata&, Tensors& tensors) {
       GgufTensor& tensor = *find(tensors, "blk.0.attn_q.weight");
       tensor.dims = {tensor.dims[0] * tensor.dims[1], 1, 1, 1};
       tensor.rank = 1;
     },
     "self_attn.q_proj.weight"},
    {"integers as a weight",
     [](GgufMetadata&, Tensors& tensors) {
       find(tensors, "blk.0.attn_norm.weight")->type = &gguf_type("I32");
     },
     "I32"},
    {"a part of a split", set("split.count", uint16_t{3}), "split.count"},
    {"a split of too many", set("split.count", uint16_t{65535}), "split.count"},
};

const HostileModel kTokenizers[] = {
    {"SentencePiece without scores", set("tokenizer.ggml.model", "llama"), "tokenizer.ggml.scores"},
    {"an unknown model", set("tokenizer.ggml.model", "rwkv"), "tokenizer.ggml.model"},
    {"no splitter", without("tokenizer.ggml.pre"), "tokenizer.ggml.pre"},
    {"an unknown splitter", set("tokenizer.ggml.pre", "chatglm-bpe"), "tokenizer.ggml.pre"},
    {"tokens as a number", set("tokenizer.ggml.tokens", uint32_t{7}), "tokenizer.ggml.tokens"},
    {"types of fewer tokens",
     [](GgufMetadata& metadata, Tensors&) {
       metadata.add("tokenizer.ggml.token_type", std::span<const int32_t>(std::vector<int32_t>{1}));
     },
     "tokenizer.ggml.token_type"},
    {"an unknown type",
     [](GgufMetadata& metadata, Tensors&) {
       metadata.add("tokenizer.ggml.token_type",
                    std::span<const int32_t>(std::vector<int32_t>(2048, 9)));
     },
     "tokenizer.ggml.token_type"},
    {"a merge of one half",
     [](GgufMetadata& metadata, Tensors&) {
       const std::vector<std::string> merges{"ab"};
       metadata.add("tokenizer.ggml.merges", std::span<const std::string>(merges));
     },
     "tokenizer.ggml.merges"},
    {"a merge of unknown tokens",
     [](GgufMetadata& metadata, Tensors&) {
       const std::vector<std::string> merges{"zq zq"};
       metadata.add("tokenizer.ggml.merges", std::span<const std::string>(merges));
     },
     "merges"},
    {"a token twice",
     [](GgufMetadata& metadata, Tensors&) {
       const std::vector<std::string> tokens(2048, "a");
       metadata.add("tokenizer.ggml.tokens", std::span<const std::string>(tokens));
     },
     "tokenizer.json"},
    {"a model's name that is no UTF-8", set("tokenizer.ggml.model", "\xc0\x80"), "text in UTF-8"},
    {"tokens that are no UTF-8",
     [](GgufMetadata& metadata, Tensors&) {
       const std::vector<std::string> tokens(2048, "\xff");
       metadata.add("tokenizer.ggml.tokens", std::span<const std::string>(tokens));
     },
     "no UTF-8"},
};

class HostileGguf : public testing::Test {
 protected:
  HostileGguf() {
    test::write_small_model(folder_, test::small_config("llama"));
    test::write_gguf_of(folder_ / "base", "f32", folder_ / "good.gguf");
  }
  /// The good file with one thing changed.
  std::string changed(const HostileModel& hostile) {
    const GgufFile good(folder_ / "good.gguf");
    GgufMetadata metadata;
    for (const GgufValue& value : good.header().values()) metadata.add(value);
    Tensors tensors = good.header().tensors();
    hostile.change(metadata, tensors);
    std::map<std::string, const GgufTensor*> origin;
    for (size_t i = 0; i < tensors.size(); ++i)
      origin[tensors[i].name] = &good.header().tensors()[i];
    const GgufLayout layout = plan_gguf(metadata, tensors);
    const std::string path = folder_ / "bad.gguf";
    write_file_durably(path, layout.file_size, [&](OutputFile& file) {
      append_gguf(file, layout, [&](const GgufTensor& tensor, OutputFile& out) {
        out.append(good.bytes(*origin.at(tensor.name)));
      });
    });
    return path;
  }
  TemporaryDirectory folder_;
};

TEST_F(HostileGguf, IsRefusedAsAModel) {
  for (const HostileModel& hostile : kModels) {
    SCOPED_TRACE(hostile.what);
    const std::string path = changed(hostile);
    expect_refusal([&] { load_model(open_model_folder(path), {.compute = at::kFloat}); },
                   ExitCode::refused_input, hostile.message);
  }
}

TEST_F(HostileGguf, IsRefusedAsATokenizer) {
  for (const HostileModel& hostile : kTokenizers) {
    SCOPED_TRACE(hostile.what);
    const std::string path = changed(hostile);
    expect_refusal([&] { Tokenizer::load(path); }, ExitCode::refused_input, hostile.message);
  }
}

TEST_F(HostileGguf, TheUnchangedFileIsTaken) {
  const std::string path = changed({"nothing", [](GgufMetadata&, Tensors&) {}, ""});
  EXPECT_EQ(load_model(open_model_folder(path), {.compute = at::kFloat}).config.layers, 5);
  EXPECT_EQ(Tokenizer::load(path).size(), 2048);
}

}  // namespace
}  // namespace isogrid
