#include "configs/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <sstream>
#include <unordered_set>

#include "configs/utf8.h"
#include "core/error.h"

namespace isogrid {
namespace {

/// Grows the tree from yaml-cpp's events, so that an alias is refused where it stands and nothing
/// is ever expanded.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) refuse(mark, "a second document begins; one file is one document");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    check_properties(mark, "", anchor);
    add(mark, {});
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    refuse(mark, "an alias; write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    check_properties(mark, tag, anchor);
    if (tag == "!") check_quotes(mark);
    YamlNode node;
    node.kind = YamlNode::Kind::scalar;
    node.text = value;
    node.is_quoted = tag == "!";
    add(mark, std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    check_properties(mark, tag, anchor);
    open(mark, YamlNode::Kind::list);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    check_properties(mark, tag, anchor);
    open(mark, YamlNode::Kind::map);
  }
  void OnMapEnd() override { close(); }

 private:
  struct OpenNode {
    YamlNode node;
    YamlNode key;
    bool has_key = false;
    std::unordered_set<std::string> seen;
  };

  [[noreturn]] void refuse(const YAML::Mark& mark, std::string_view what) const {
    fail(ExitCode::configuration, name_, ":", mark.line + 1, ":", mark.column + 1, ": ", what);
  }

  void check_properties(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor) refuse(mark, "an anchor; write the value out where it is used");
    const bool marked = mark.pos >= 0 && static_cast<size_t>(mark.pos) < text_.size() &&
                        text_[static_cast<size_t>(mark.pos)] == '!';
    if (marked || (!tag.empty() && tag != "?" && tag != "!"))
      refuse(mark, "a tag; values here need none");
    if (++nodes_ > yaml_node_limit)
      refuse(mark, concat("more than ", yaml_node_limit, " values in one file"));
  }

  /// yaml-cpp takes the end of the file for a missing closing quote.
  void check_quotes(const YAML::Mark& mark) const {
    const auto begin = static_cast<size_t>(mark.pos);
    const char quote = begin < text_.size() ? text_[begin] : '\0';
    if (quote != '\'' && quote != '"') return;  // a block of text
    for (size_t i = begin + 1; i < text_.size(); ++i) {
      if (text_[i] == '\\' && quote == '"')
        ++i;
      else if (text_[i] == quote && quote == '\'' && text_.substr(i + 1).starts_with('\''))
        ++i;
      else if (text_[i] == quote)
        return;
    }
    refuse(mark, "not YAML: a quote is not closed");
  }

  void open(const YAML::Mark& mark, YamlNode::Kind kind) {
    if (expects_key()) refuse(mark, "a key must be a plain word");
    if (open_.size() >= static_cast<size_t>(yaml_depth_limit))
      refuse(mark, concat("nested more than ", yaml_depth_limit, " deep"));
    OpenNode started;
    started.node.kind = kind;
    started.node.line = mark.line + 1;
    started.node.column = mark.column + 1;
    open_.push_back(std::move(started));
  }

  void close() {
    YamlNode node = std::move(open_.back().node);
    open_.pop_back();
    place(std::move(node));
  }

  bool expects_key() const {
    return !open_.empty() && open_.back().node.kind == YamlNode::Kind::map && !open_.back().has_key;
  }

  void add(const YAML::Mark& mark, YamlNode node) {
    node.line = mark.line + 1;
    node.column = mark.column + 1;
    if (!expects_key()) return place(std::move(node));
    if (node.kind == YamlNode::Kind::null) refuse(mark, "a value without a key");
    if (node.text == "<<" && !node.is_quoted) refuse(mark, "a merge key; write the keys out");
    if (!open_.back().seen.insert(node.text).second)
      refuse(mark, concat("'", node.text, "' stands here a second time"));
    open_.back().key = std::move(node);
    open_.back().has_key = true;
  }

  void place(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    OpenNode& parent = open_.back();
    if (parent.node.kind == YamlNode::Kind::list) {
      parent.node.items.push_back(std::move(node));
    } else {
      parent.node.keys.push_back(std::move(parent.key));
      parent.node.items.push_back(std::move(node));
      parent.has_key = false;
    }
  }

  std::string_view text_;
  const std::string& name_;
  YamlNode root_;
  std::vector<OpenNode> open_;
  size_t nodes_ = 0;
  int documents_ = 0;
};

void check_characters(std::string_view text, const std::string& name) {
  if (text.size() > yaml_byte_limit)
    fail(ExitCode::configuration, name, ": ", text.size(), " bytes; at most ", yaml_byte_limit,
         " are allowed");
  const size_t bad = first_bad_character(text);
  if (bad == text.size()) return;
  int line = 1, column = 1;
  for (char c : text.substr(0, bad)) {
    column = c == '\n' ? 1 : column + 1;
    line += c == '\n';
  }
  fail(ExitCode::configuration, name, ":", line, ":", column, ": byte ",
       static_cast<int>(static_cast<unsigned char>(text[bad])),
       " is not text: UTF-8 without control characters is allowed");
}

}  // namespace

std::vector<YamlEntry> entries_of(const YamlNode& map) {
  std::vector<YamlEntry> entries;
  for (size_t i = 0; i < map.keys.size(); ++i) entries.push_back({map.keys[i], map.items[i]});
  return entries;
}

YamlNode parse_yaml(std::string_view text, const std::string& name) {
  check_characters(text, name);
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::istringstream stream{std::string(text)};
  TreeBuilder builder(text, name);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    fail(ExitCode::configuration, name, ":", error.mark.line + 1, ":", error.mark.column + 1,
         ": not YAML: ", error.msg);
  }
  return builder.take();
}

std::string place_of(const std::string& name, const YamlNode& node) {
  return node.line > 0 ? concat(name, ":", node.line, ":", node.column) : name;
}

}  // namespace isogrid
