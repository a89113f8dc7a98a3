#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace isogrid {

enum class RecordFormat { alpaca, sharegpt, openai };

/// Which column holds what; empty: the data have none.
struct DatasetColumns {
  std::string prompt = "instruction";
  std::string query = "input";
  std::string response = "output";
  std::string messages = "conversations";
  std::string history = "";
  std::string system = "";
  std::string tools = "";
  std::string images = "";
  std::string videos = "";
  std::string audios = "";
  std::string chosen = "";
  std::string rejected = "";
  std::string kto_tag = "";

  void visit(auto&& field) {
    field("prompt", prompt);
    field("query", query);
    field("response", response);
    field("history", history);
    field("messages", messages);
    field("system", system);
    field("tools", tools);
    field("images", images);
    field("videos", videos);
    field("audios", audios);
    field("chosen", chosen);
    field("rejected", rejected);
    field("kto_tag", kto_tag);
  }
};

/// Keys and role names inside a list of messages; empty: there are none.
struct DatasetTags {
  std::string role_tag = "from";
  std::string content_tag = "value";
  std::string user_tag = "human";
  std::string assistant_tag = "gpt";
  std::string observation_tag = "observation";
  std::string function_tag = "function_call";
  std::string system_tag = "system";

  void visit(auto&& field) {
    field("role_tag", role_tag);
    field("content_tag", content_tag);
    field("user_tag", user_tag);
    field("assistant_tag", assistant_tag);
    field("observation_tag", observation_tag);
    field("function_tag", function_tag);
    field("system_tag", system_tag);
  }
};

/// One dataset: where its files are and how a record of them is read.
struct DatasetEntry {
  std::string name;
  std::string place;   // where it is described, for messages
  std::string path;    // a file or folder; empty: of the hub
  std::string hub_id;  // ORG/NAME, in the local hub cache
  std::string subset, folder;
  std::string split = "train";
  RecordFormat format = RecordFormat::alpaca;
  bool ranking = false;
  std::optional<int64_t> num_samples;  // drawn by chance, more than there are: some twice
  DatasetColumns columns;
  DatasetTags tags;
  bool is_guessed = false;  // nobody described it: the first record tells its columns

  /// Every column a record may be asked for.
  std::vector<std::string> column_names() const;
};

/// The datasets of these names: entries of `folder`/dataset_info.json, else paths of files and
/// folders. A name that is neither is refused (78).
std::vector<DatasetEntry> find_datasets(const std::vector<std::string>& names,
                                        const std::string& folder);

/// Fills in the columns of an entry that nobody described from those of its first record.
void guess_columns(DatasetEntry& entry, const std::vector<std::string>& columns);
/// The same for the tags, from the keys of its first message.
void guess_tags(DatasetEntry& entry, const std::vector<std::string>& keys);

}  // namespace isogrid
