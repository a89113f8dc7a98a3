#include "data/encode_example.h"

#include <algorithm>

#include "core/error.h"
#include "data/example_file.h"

namespace isogrid {
namespace {

bool answer_is_trained(const Turn& turn) {
  return std::any_of(turn.target.begin(), turn.target.end(),
                     [](const Slot& slot) { return slot.trained; });
}

}  // namespace

SideLengths truncated_lengths(int64_t source, int64_t target, int64_t budget) {
  int64_t most = 0;
  if (target * 2 < budget) {
    most = budget;
  } else if (source * 2 < budget) {
    most = budget - source;
  } else {
    // In doubles, as there: where the share is a whole number, rounding may take one off it.
    const double share = static_cast<double>(target) / static_cast<double>(source + target);
    most = static_cast<int64_t>(static_cast<double>(budget) * share);
  }
  const int64_t kept = std::min(most, target);
  return {.source = std::min(std::max<int64_t>(budget - kept, 0), source), .target = kept};
}

bool tells_the_date(const ChatTemplate& layout, const TurnOptions& options) {
  const Message question{.role = Speaker::user, .content = "?", .tool_calls = {}, .trained = {}};
  const Message answer{.role = Speaker::assistant, .content = "!", .tool_calls = {}, .trained = {}};
  TurnOptions turns = options;
  turns.tools = R"([{"name": "f"}])";
  const auto text_on = [&](const Day& day) {
    turns.today = day;
    std::string text;
    for (const Turn& turn : encode_turns(layout, std::vector{question, answer}, turns).turns)
      for (const Slot& slot : turn.source) text += slot.text;
    return text;
  };
  return text_on({.year = 2000, .month = 1, .day = 1}) !=
         text_on({.year = 2011, .month = 12, .day = 30});
}

ExampleEncoder::ExampleEncoder(const Tokenizer& tokenizer, const EncodeOptions& options)
    : tokenizer_(tokenizer),
      options_(options),
      bos_id_(tokenizer.id_of(options.bos).value_or(-1)),
      eos_id_(tokenizer.id_of(options.eos).value_or(-1)) {
  if (tokenizer.size() > TokenWord::kLargestId)
    fail(ExitCode::refused_input, "a vocabulary of ", tokenizer.size(), " tokens is too large");
  if (options.layout->eos_at_end) closing_id_ = mark(Slot::Kind::eos);
}

int32_t ExampleEncoder::mark(Slot::Kind kind) const {
  const bool bos = kind == Slot::Kind::bos;
  const int32_t id = bos ? bos_id_ : eos_id_;
  if (id < 0)
    fail(ExitCode::configuration, "template: ", options_.layout->name, " needs the tokenizer's ",
         bos ? "bos_token" : "eos_token", ", which tokenizer_config.json does not name");
  return id;
}

void ExampleEncoder::encode(const Example& example, EncodedExample& encoded) {
  encoded.words.clear();
  encoded.truncated_tokens = 0;
  if (example.messages.empty())
    encode_text(example.text, encoded);
  else
    encode_turns_of(example, encoded);
}

// The marks are encoded with the text, as the peer does: they are added tokens and stay whole.
void ExampleEncoder::encode_text(const std::string& text, EncodedExample& encoded) {
  ids_.clear();
  tokenizer_.encode((options_.bos_before_text ? options_.bos : "") + text + options_.eos, scratch_,
                    ids_);
  if (!options_.whole_texts && static_cast<int64_t>(ids_.size()) > options_.cutoff_len) {
    encoded.truncated_tokens = static_cast<int64_t>(ids_.size()) - options_.cutoff_len;
    ids_.resize(static_cast<size_t>(options_.cutoff_len));
  }
  for (const int32_t id : ids_) encoded.words.push_back(TokenWord::make(id, /*trained=*/true));
}

void ExampleEncoder::append_slots(const std::vector<Slot>& slots, Side& side) {
  for (const Slot& slot : slots) {
    ids_.clear();
    if (slot.kind == Slot::Kind::text)
      tokenizer_.encode(slot.text, scratch_, ids_);
    else
      ids_.push_back(mark(slot.kind));
    for (const int32_t id : ids_) side.words.push_back(TokenWord::make(id, slot.trained));
  }
}

void ExampleEncoder::encode_turns_of(const Example& example, EncodedExample& encoded) {
  TurnOptions turn_options = options_.turns;
  turn_options.tools = example.tools;
  const EncodedTurns plan = encode_turns(*options_.layout, example.messages, turn_options);
  const auto count = plan.turns.size();
  std::vector<Side> kept(count * 2);
  int64_t used = plan.eos_at_end ? 1 : 0;
  int64_t all = used;
  // With mask_history the last turns matter, so the oldest are lost; otherwise the newest.
  for (size_t n = 0; n < count; ++n) {
    const size_t turn = options_.turns.mask_history ? count - 1 - n : n;
    Side& source = kept[2 * turn];
    Side& target = kept[2 * turn + 1];
    append_slots(plan.turns[turn].source, source);
    append_slots(plan.turns[turn].target, target);
    all += source.size() + target.size();
    const int64_t budget = options_.cutoff_len - used;
    const SideLengths lengths = budget > 0 ? truncated_lengths(source.size(), target.size(), budget)
                                           : SideLengths{.source = 0, .target = 0};
    source.keep(lengths.source);
    target.keep(lengths.target);
    used += lengths.source + lengths.target;
    if (plan.turns[turn].source_closes_answer && !source.words.empty() &&
        answer_is_trained(plan.turns[turn - 1]))
      source.words.front() |= TokenWord::kCloses;
  }
  for (const Side& side : kept)
    encoded.words.insert(encoded.words.end(), side.words.begin(), side.words.end());
  if (plan.eos_at_end)
    encoded.words.push_back(TokenWord::make(closing_id_, answer_is_trained(plan.turns.back())));
  encoded.truncated_tokens = all - used;
}

}  // namespace isogrid
