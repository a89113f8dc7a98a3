#include "trainer/commands/model_card.h"

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <set>

#include "core/error.h"
#include "core/format.h"
#include "core/io.h"
#include "core/json.h"
#include "core/version.h"
#include "trainer/open_model.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxRecord = 16 << 20;
/// For the energy estimate, said in the card: what a busy machine of either kind draws.
constexpr double kWattsCpu = 65, kWattsGpu = 350;

Json record_of_run(const std::string& folder, const char* name) {
  const fs::path path = fs::path(folder) / name;
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return Json::object();
  try {
    return parse_json(read_text_file(path.string(), kMaxRecord), path.string());
  } catch (const Error&) {
    return Json::object();  // a card is no reason to fail
  }
}

/// The folder a training run left: of the adapter, else of the model itself.
std::string run_folder(const CardFacts& facts) {
  const auto& adapters = facts.config.model.adapter_name_or_path;
  return adapters.empty() ? facts.base.path : adapters.back();
}

std::string shown_number(const Json& value) {
  if (!value.is_number_float()) return value.dump();
  char text[64];
  std::snprintf(text, sizeof text, "%.6g", value.get<double>());
  return text;
}

/// "| label | value |" for every key that is there.
std::string rows_of(const Json& from,
                    const std::vector<std::pair<const char*, const char*>>& keys) {
  std::string text;
  for (const auto& [key, label] : keys) {
    const auto found = from.find(key);
    if (found == from.end() || found->is_null() || found->is_structured()) continue;
    text += concat("| ", label, " | ",
                   found->is_string() ? found->get<std::string>() : shown_number(*found), " |\n");
  }
  return text;
}

std::string table_of(const std::string& rows) {
  return rows.empty() ? "" : "|  |  |\n|---|---|\n" + rows;
}

/// The field of a card's front matter, of the base model.
std::string front_matter(const ModelFolder& base, const std::string& key) {
  if (!base.files->has("README.md")) return "";
  std::string text;
  try {
    text = base.files->read("README.md", kMaxRecord);
  } catch (const Error&) {
    return "";
  }
  if (!text.starts_with("---")) return "";
  const size_t end = text.find("\n---", 3);
  const std::string head = text.substr(0, end == std::string::npos ? 0 : end);
  const size_t at = head.find("\n" + key + ":");
  if (at == std::string::npos) return "";
  const size_t begin = head.find_first_not_of(" \t", at + key.size() + 2);
  if (begin == std::string::npos || head[begin] == '\n') return "";
  return head.substr(begin, head.find('\n', begin) - begin);
}

std::string joined_names(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::string base_name(const CardFacts& facts) {
  const std::string& named = facts.config.model.model_name_or_path.value_or(facts.base.path);
  const bool is_folder = fs::exists(named);
  return is_folder ? fs::path(named).lexically_normal().filename().string() : named;
}

std::string overview(const CardFacts& facts) {
  std::string text = concat("## Overview\n\n", base_name(facts));
  text += facts.config.model.adapter_name_or_path.empty()
              ? ", exported"
              : concat(", fine-tuned (", joined_names(facts.config.model.adapter_name_or_path),
                       ") and exported");
  text += concat(" by Isogrid ", program_version(), ".\n");
  if (!facts.merge.empty()) text += concat("The adapter is ", facts.merge, ".\n");
  return text;
}

std::string architecture(const CardFacts& facts) {
  Json config = facts.published;
  if (config.contains("architectures") && config["architectures"].is_array() &&
      !config["architectures"].empty())
    config["architecture"] = config["architectures"][0];
  config["parameters"] = human_count(static_cast<uint64_t>(facts.parameters));
  return "## Architecture\n\n" +
         table_of(rows_of(config, {{"architecture", "architecture"},
                                   {"parameters", "parameters"},
                                   {"hidden_size", "hidden size"},
                                   {"num_hidden_layers", "layers"},
                                   {"num_attention_heads", "attention heads"},
                                   {"num_key_value_heads", "key and value heads"},
                                   {"intermediate_size", "width of the MLP"},
                                   {"max_position_embeddings", "context"},
                                   {"vocab_size", "vocabulary"}}));
}

std::string training(const CardFacts& facts, const Json& results) {
  const std::string folder = run_folder(facts);
  const Json data = record_of_run(folder, "data.json");
  std::string text = "## Training\n\n";
  if (!facts.config.data.dataset.empty())
    text += concat("Data: ", joined_names(facts.config.data.dataset), ".\n\n");
  else if (const auto files = data.find("files"); files != data.end() && files->is_array()) {
    std::string names;
    for (const Json& file : *files)
      if (file.contains("name") && file["name"].is_string())
        names += (names.empty() ? "" : ", ") + file["name"].get<std::string>();
    if (!names.empty()) text += concat("Data: ", names, ".\n\n");
  }
  const std::string rows = rows_of(results, {{"global_step", "steps"},
                                             {"epoch", "epochs"},
                                             {"train_loss", "training loss"},
                                             {"num_input_tokens_seen", "tokens seen"},
                                             {"train_samples_per_second", "rows per second"}});
  text += table_of(rows);
  const fs::path settings = fs::path(folder) / "config.resolved.yaml";
  std::error_code ignored;
  if (fs::is_regular_file(settings, ignored))
    text += concat("\nAll settings:\n\n```yaml\n", read_text_file(settings.string(), kMaxRecord),
                   "```\n");
  return text == "## Training\n\n" ? "" : text;
}

std::string evaluation(const Json& results, const ExportReport& report) {
  std::string text = "## Evaluation\n\n";
  const std::string rows =
      rows_of(results, {{"eval_loss", "held-out loss"}, {"perplexity", "held-out perplexity"}});
  text += table_of(rows) + (rows.empty() ? "" : "\n");
  const std::string table = report_markdown(report);
  return text + table.substr(table.find('|'));
}

std::string quantisation(const CardFacts& facts) {
  if (facts.calibration.empty()) return "";
  return concat("## Quantisation\n\n", facts.calibration);
}

std::string relative_to(const std::string& path, const std::string& folder) {
  return fs::path(path).lexically_relative(folder).generic_string();
}

std::string usage(const CardFacts& facts, const ExportReport& report) {
  const std::string folder = facts.config.exporting.export_dir.value_or(".");
  std::string text = "## How to use\n";
  for (const ExportRecord& record : report.records) {
    const std::string path = relative_to(record.path, folder);
    if (record.format == "gguf:lora" || !record.problem.empty()) continue;
    if (record.format == "adapter")
      text += concat(
          "\nPEFT:\n\n```python\nfrom peft import AutoPeftModelForCausalLM\n"
          "model = AutoPeftModelForCausalLM.from_pretrained(\"",
          path, "\")\n```\n");
    else if (record.format.starts_with("gguf"))
      text += concat("\nllama.cpp and Ollama:\n\n```bash\nllama-cli -m ", path,
                     "\nollama create my-model -f ", modelfile_name(report, record),
                     " && ollama run my-model\n```\n");
    else
      text += concat("\n", record.format,
                     ", with transformers or vLLM:\n\n```python\n"
                     "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
                     "tokenizer = AutoTokenizer.from_pretrained(\"",
                     path,
                     "\")\n"
                     "model = AutoModelForCausalLM.from_pretrained(\"",
                     path,
                     "\")\n```\n\n"
                     "```bash\nvllm serve ",
                     path, "\n```\n");
  }
  return text;
}

std::string footprint(const Json& results, const Json& environment) {
  const auto runtime = results.find("train_runtime");
  if (runtime == results.end() || !runtime->is_number()) return "";
  const double seconds = runtime->get<double>();
  const auto devices = environment.find("devices");
  const size_t gpus = devices != environment.end() && devices->is_array() ? devices->size() : 0;
  const double watts = gpus > 0 ? kWattsGpu * static_cast<double>(gpus) : kWattsCpu;
  char energy[64];
  std::snprintf(energy, sizeof energy, "%.3g", watts * seconds / 3.6e6);
  std::string machine = gpus > 0 ? joined_names(devices->get<std::vector<std::string>>()) : "";
  if (machine.empty()) machine = environment.value("cpu", std::string("a CPU"));
  return concat("## Hardware and energy\n\nTrained on ", machine, " for ", human_seconds(seconds),
                ": about ", energy, " kWh, estimated with ", watts, " W.\n");
}

std::string licence(const CardFacts& facts, const std::string& name) {
  return concat("## Licence\n\n", name.empty()
                                      ? concat("That of ", base_name(facts), ".\n")
                                      : concat(name, ", as ", base_name(facts), " has it.\n"));
}

}  // namespace

std::string model_card(const CardFacts& facts, const ExportReport& report) {
  const std::string folder = run_folder(facts);
  const Json results = record_of_run(folder, "all_results.json");
  const Json environment = record_of_run(folder, "env.json");
  const std::string name = front_matter(facts.base, "license");
  std::string text =
      concat("---\nbase_model: ", base_name(facts), "\n",
             name.empty() ? "" : concat("license: ", name, "\n"),
             "pipeline_tag: text-generation\ntags:\n- isogrid\n---\n\n# ", base_name(facts), "\n");
  for (const std::string& part :
       {overview(facts), architecture(facts), training(facts, results), quantisation(facts),
        evaluation(results, report), usage(facts, report),
        std::string("## Intended use and limits\n\nWhat the base model is meant for, on text like "
                    "that it was trained on. It may state wrong things with confidence, and "
                    "carries the biases of its data; quantised files differ from the 16-bit model "
                    "as the table says. Check what it writes before you rely on it.\n"),
        footprint(results, environment), licence(facts, name),
        std::string("## Citation\n\nCite the base model as its authors ask.\n")})
    if (!part.empty()) text += "\n" + part;
  return text;
}

}  // namespace isogrid
