// A model goes into a GGUF file and comes back.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include "core/gguf_folder.h"
#include "core/imatrix_file.h"
#include "data/tokenizer/tokenizer.h"
#include "models/score.h"
#include "tests/core/faulty_io.h"
#include "tests/core/refusal.h"
#include "tests/export/small_model.h"

namespace isogrid {
namespace {

using test::small_config;
using test::write_gguf_of;
using test::write_small_model;

std::map<std::string, at::Tensor> matrices_of(CausalLm& model) {
  std::map<std::string, at::Tensor> values;
  visit_matrices(model, [&](const std::string& name, std::shared_ptr<WeightSource>& weight) {
    values[name] = whole_weight(*weight, at::kFloat, at::kCPU).clone();
  });
  return values;
}

at::Tensor logits_of(const CausalLm& model) {
  const at::NoGradGuard no_grad;
  const at::Tensor ids = at::arange(3, 40, at::kLong);
  const TokenLayout layout = lay_out(model.config, {ids.numel()}, {}, at::kCPU);
  return head_logits(model, forward_hidden(model, ids, layout));
}

void expect_same_shape(const DecoderConfig& a, const DecoderConfig& b) {
  EXPECT_EQ(a.architecture, b.architecture);
  EXPECT_EQ(a.vocabulary, b.vocabulary);
  EXPECT_EQ(a.intermediate, b.intermediate);
  EXPECT_EQ(a.layers, b.layers);
  EXPECT_EQ(a.heads, b.heads);
  EXPECT_EQ(a.kv_heads, b.kv_heads);
  EXPECT_EQ(a.head_dim, b.head_dim);
  EXPECT_EQ(a.max_position, b.max_position);
  EXPECT_EQ(a.rms_eps, b.rms_eps);
  EXPECT_EQ(a.tied_head, b.tied_head);
  EXPECT_EQ(a.qkv_bias, b.qkv_bias);
  EXPECT_EQ(a.qk_norm, b.qk_norm);
  EXPECT_EQ(a.layer_rotates, b.layer_rotates);
  EXPECT_EQ(a.rope.type, b.rope.type);
  EXPECT_EQ(a.rope.theta, b.rope.theta);
  EXPECT_EQ(a.rope.factor, b.rope.factor);
  EXPECT_EQ(a.rope.original_max_position, b.rope.original_max_position);
}

class GgufModel : public testing::TestWithParam<const char*> {
 protected:
  std::string base(const Json& config) { return write_small_model(folder_, config); }
  std::string file(const std::string& variant) {
    return write_gguf_of(folder_ / "base", variant, folder_ / ("m-" + variant + ".gguf"));
  }
  static CausalLm load(const std::string& path, bool keep_blocks = true) {
    LoadOptions options;
    options.compute = at::kFloat;
    options.keep_blocks = keep_blocks;
    return load_model(open_model_folder(path), options);
  }
  TemporaryDirectory folder_;
};

TEST_P(GgufModel, PlainNumbersComeBackBitForBit) {
  for (const bool tied : {true, false}) {
    Json config = small_config(GetParam());
    config["tie_word_embeddings"] = tied;
    CausalLm before = load(base(config)), after = load(file("f32"));
    expect_same_shape(before.config, after.config);
    std::map<std::string, at::Tensor> expected;
    before.visit([&](const TensorSlot& slot) { expected[slot.name] = *slot.tensor; });
    size_t compared = 0;
    after.visit([&](const TensorSlot& slot) {
      ASSERT_TRUE(at::equal(*slot.tensor, expected.at(slot.name))) << slot.name;
      ++compared;
    });
    EXPECT_EQ(compared, expected.size());
    EXPECT_TRUE(at::equal(logits_of(before), logits_of(after)));
  }
}

TEST_P(GgufModel, BlocksStayBlocksAndStandForTheDecodedNumbers) {
  base(small_config(GetParam()));
  for (const char* variant : {"q4_0", "q5_1", "q4_k_m", "q2_k", "iq4_xs", "mxfp4", "tq2_0"}) {
    const std::string path = file(variant);
    CausalLm blocks = load(path), numbers = load(path, /*keep_blocks=*/false);
    size_t in_few_bits = 0;
    visit_matrices(blocks, [&](const std::string&, std::shared_ptr<WeightSource>& weight) {
      in_few_bits += is_frozen_base(*weight) ? 1 : 0;
    });
    EXPECT_EQ(in_few_bits, 1u + 7u * 5u) << variant;
    const auto a = matrices_of(blocks), b = matrices_of(numbers);
    for (const auto& [name, value] : a) {
      ASSERT_TRUE(at::equal(value, b.at(name))) << variant << " " << name;
    }
    // The product may be summed in another order where the weight does not lie in memory.
    EXPECT_TRUE(at::allclose(logits_of(blocks), logits_of(numbers), 1e-4, 1e-4)) << variant;
  }
}

TEST_P(GgufModel, RowsOfHeadsAreNotMixedUp) {
  CausalLm before = load(base(small_config(GetParam())));
  CausalLm after = load(file("q8_0"));
  const auto a = matrices_of(before), b = matrices_of(after);
  for (const auto& [name, value] : a)
    EXPECT_LT((value - b.at(name)).abs().max().item<float>(),
              0.01f * value.abs().max().item<float>())
        << name;
}

TEST_P(GgufModel, GoesBackIntoAFolderAsItWas) {
  base(small_config(GetParam()));
  ExportConfig config;
  ExportSource source = open_export_source(file("f32"), {});
  write_hf(source,
           {.format = "hf", .variant = "", .directory = folder_ / "back", .config = &config});
  CausalLm before = load(folder_ / "base"), after = load(folder_ / "back");
  expect_same_shape(before.config, after.config);
  EXPECT_TRUE(at::equal(logits_of(before), logits_of(after)));
  const Tokenizer one = Tokenizer::load(folder_ / "base"),
                  other = Tokenizer::load(folder_ / "back");
  for (const char* text :
       {"Once upon a time", "it's 2024!\n\n  x<|im_end|>", "e\xCC\x81 \xE4\xBD\xA0"})
    EXPECT_EQ(one.encode(text), other.encode(text)) << text;
}

TEST_P(GgufModel, BlocksAreCarriedOverWithoutSearchingAgain) {
  base(small_config(GetParam()));
  const std::string first = file("q4_k_m");
  const std::string second = write_gguf_of(first, "q4_k_m", folder_ / "again.gguf");
  const GgufFile a(first), b(second);
  ASSERT_EQ(a.header().tensors().size(), b.header().tensors().size());
  for (const GgufTensor& tensor : a.header().tensors())
    EXPECT_EQ(as_text(a.bytes(tensor)), as_text(b.bytes(*b.header().find_tensor(tensor.name))))
        << tensor.name;
  EXPECT_EQ(b.header().texts("tokenizer.ggml.tokens"), a.header().texts("tokenizer.ggml.tokens"));
}

INSTANTIATE_TEST_SUITE_P(Architectures, GgufModel,
                         testing::Values("qwen2", "qwen3", "llama", "smollm3"));

TEST(GgufFolder, IsAFileOrTheFolderThatHoldsItAlone) {
  const TemporaryDirectory folder;
  write_small_model(folder, small_config("llama"));
  std::filesystem::create_directory(folder.path() / "alone");
  write_gguf_of(folder / "base", "q4_0", folder / "alone/m.gguf");
  const ModelFolder by_file = open_model_folder(folder / "alone/m.gguf");
  const ModelFolder by_folder = open_model_folder(folder / "alone");
  EXPECT_EQ(by_file.config, by_folder.config);
  EXPECT_EQ(by_file.config["rope_theta"], 50000.0);
  EXPECT_EQ(by_file.config["rms_norm_eps"], 1e-5);
  EXPECT_EQ(by_file.chat_template, open_model_folder(folder / "base").chat_template);
}

TEST(GgufExport, LeavesNothingWhereTheDiskFillsUp) {
  const TemporaryDirectory folder(memory_directory());
  Json config = small_config("qwen3");
  config["num_hidden_layers"] = 1;
  write_small_model(folder, config);
  ExportSource source = open_export_source(folder / "base", {});
  const std::string path = folder / "out.gguf";
  for (int call = 1;; ++call) {
    FaultyIo io(call, ENOSPC, /*for_good=*/true);
    try {
      write_gguf_file(source, "q4_0", path, {}, io);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::io) << error.what();
    }
    if (!io.fired()) break;
    std::vector<std::string> left;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
      if (entry.path().extension() == ".gguf") left.push_back(entry.path().filename());
    // The last call of all, the sync of the folder, comes when the file is whole.
    for (const std::string& name : left) EXPECT_NO_THROW(GgufFile(folder / name)) << name << call;
  }
  EXPECT_EQ(GgufFile(path).header().text("general.architecture"), "qwen3");
}

TEST(GgufExport, TakesTypesByNameAndOneTypeForAll) {
  const TemporaryDirectory folder;
  write_small_model(folder, small_config("llama"));
  ExportSource source = open_export_source(folder / "base", {});
  const auto type_of = [&](const ExportConfig& config, const char* tensor) {
    write_gguf_file(source, "q4_k_m", folder / "m.gguf", config);
    return GgufFile(folder / "m.gguf").header().find_tensor(tensor)->type->name;
  };
  ExportConfig config;
  EXPECT_EQ(type_of(config, "blk.0.ffn_down.weight"), "Q4_K");  // too few layers for more
  EXPECT_EQ(type_of(config, "blk.0.attn_q.weight"), "Q5_0");    // rows of 64
  config.gguf_tensor_types = {"blk.0.*down=q8_0", "down=q3_k"};
  EXPECT_EQ(type_of(config, "blk.0.ffn_down.weight"), "Q8_0");
  EXPECT_EQ(type_of(config, "blk.1.ffn_down.weight"), "Q3_K");
  config = {};
  config.gguf_pure = true;
  EXPECT_EQ(type_of(config, "token_embd.weight"), "Q5_0");
  config.gguf_tensor_types = {"down=quick"};
  expect_refusal([&] { write_gguf_file(source, "q4_0", folder / "m.gguf", config); },
                 ExitCode::configuration, "gguf_tensor_types: down=quick");
}

TEST(GgufExport, WeighsColumnsByAnImportanceMatrix) {
  const TemporaryDirectory folder;
  write_small_model(folder, small_config("llama"));
  ExportSource source = open_export_source(folder / "base", {});
  ExportConfig config;
  expect_refusal([&] { write_gguf_file(source, "q2_k_s", folder / "m.gguf", config); },
                 ExitCode::configuration, "importance matrix");
  ImportanceMatrix matrix;
  for (int layer = 0; layer < 5; ++layer) {
    ImportanceSums& sums = matrix.weights[concat("blk.", layer, ".ffn_down.weight")];
    sums.tokens = 2;
    for (int i = 0; i < 256; ++i) sums.squares.push_back(static_cast<float>(1 + i % 7));
  }
  matrix.datasets = {"text"};
  write_imatrix(folder / "i.gguf", matrix);
  write_gguf_file(source, "q4_k_m", folder / "plain.gguf", config);
  config.imatrix = folder / "i.gguf";
  write_gguf_file(source, "q4_k_m", folder / "weighed.gguf", config);
  const GgufFile plain(folder / "plain.gguf"), weighed(folder / "weighed.gguf");
  const auto bytes = [](const GgufFile& file, const char* name) {
    return as_text(file.bytes(*file.header().find_tensor(name)));
  };
  EXPECT_NE(bytes(plain, "blk.0.ffn_down.weight"), bytes(weighed, "blk.0.ffn_down.weight"));
  EXPECT_EQ(bytes(plain, "blk.0.ffn_up.weight"), bytes(weighed, "blk.0.ffn_up.weight"));
  EXPECT_EQ(weighed.header().natural("quantize.imatrix.entries_count"), 5u);
  EXPECT_EQ(weighed.header().text("quantize.imatrix.dataset"), "text");
  matrix.weights["blk.1.ffn_down.weight"].squares.pop_back();
  write_imatrix(folder / "i.gguf", matrix);
  expect_refusal([&] { write_gguf_file(source, "q4_k_m", folder / "m.gguf", config); },
                 ExitCode::refused_input, "was it measured on another model");
}

TEST(GgufFolder, StretchedRotationsComeBack) {
  const TemporaryDirectory folder;
  const Json stretches[] = {
      {{"rope_type", "linear"}, {"factor", 4.0}},
      {{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 128}},
      {{"rope_type", "llama3"},
       {"factor", 8.0},
       {"low_freq_factor", 1.0},
       {"high_freq_factor", 4.0},
       {"original_max_position_embeddings", 64}},
  };
  for (const Json& stretch : stretches) {
    Json config = small_config("llama");
    config["rope_scaling"] = stretch;
    write_small_model(folder, config);
    const std::string path = write_gguf_of(folder / "base", "f32", folder / "m.gguf");
    const LoadOptions options{.compute = at::kFloat};
    const CausalLm before = load_model(open_model_folder(folder / "base"), options);
    const CausalLm after = load_model(open_model_folder(path), options);
    expect_same_shape(before.config, after.config);
    EXPECT_TRUE(at::equal(logits_of(before), logits_of(after))) << stretch.dump();
  }
}

}  // namespace
}  // namespace isogrid
