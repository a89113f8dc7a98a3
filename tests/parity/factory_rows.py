"""Rows as LLaMA-Factory makes them: records to messages to ids and labels. Written from the description of its
behaviour, with Hugging Face tokenizers; shares nothing with the program under test."""

import json
import re

NONE = -100
THINK_OPEN, THINK_CLOSE = "<think>\n", "\n</think>\n\n"
QWEN_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
TEMPLATES = {
    "qwen": {"default_system": QWEN_SYSTEM, "tool": ("user", "<tool_response>\n", "\n</tool_response>")},
    "qwen3": {"tool": ("user", "<tool_response>\n", "\n</tool_response>"), "thinks": True},
    "qwen3_nothink": {"tool": ("user", "<tool_response>\n", "\n</tool_response>")},
    "chatml": {"tool": ("tool", "", "")},
}
QWEN_TOOLS = ("\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with "
              "function signatures within <tools></tools> XML tags:\n<tools>%s\n</tools>\n\nFor each function call, return "
              "a json object with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
              '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>')


def dump(value):
    return json.dumps(value, ensure_ascii=False)


# ---- records to (system, tools, [user or tool, assistant, ...])

def from_alpaca(record, columns):
    def text(name):
        return record[columns[name]] if name in columns else ""

    messages = []
    for question, answer in (record[columns["history"]] if "history" in columns else None) or []:
        messages += [("user", question), ("assistant", answer)]
    messages.append(("user", "\n".join(part for part in (text("prompt"), text("query")) if part)))
    return text("system") or "", text("tools") or "", messages + [("assistant", record[columns["response"]])]


SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", "observation": "tool", "function_call": "call"}


def from_sharegpt(record, columns):
    messages = record["conversations"]
    system = record.get("system") or "" if "system" in columns else ""
    if messages[0]["from"] == "system":
        system, messages = messages[0]["value"], messages[1:]
    return system, record.get("tools") or "", [(SHAREGPT_ROLES[m["from"]], m["value"]) for m in messages]


def from_openai(record, columns):
    messages = record["messages"]
    system = record.get("system") or "" if "system" in columns else ""
    if messages[0]["role"] == "system":
        system, messages = messages[0]["content"], messages[1:]
    aligned, results = [], []
    for message in messages:
        role, content = message["role"], message["content"]
        if message.get("tool_calls"):
            role, content = "call", dump([call["function"] for call in message["tool_calls"]])
        if role == "tool":
            results.append(content)
            continue
        if results:
            aligned.append(("tool", "\n</tool_response>\n<tool_response>\n".join(results)))
            results = []
        aligned.append((role, content))
    tools = record.get("tools")
    return system, dump(tools) if isinstance(tools, (list, dict)) else tools or "", aligned


# ---- messages to ids

def call_text(content):
    """A function_call value, its calls written out; a thought or the text around call tags stays in front."""
    tagged = re.search(r"<tool_call>(.*?)</tool_call>", content, re.DOTALL)
    thought = re.search(re.escape(THINK_OPEN) + "(.*?)" + re.escape(THINK_CLOSE), content, re.DOTALL)
    before, calls = "", content
    if tagged:
        before, calls = content.replace(tagged.group(0), ""), tagged.group(1)
    elif thought:
        before, calls = thought.group(0), content.replace(thought.group(0), "")
    calls = json.loads(calls)
    calls = calls if isinstance(calls, list) else [calls]
    return before + "\n".join(
        "<tool_call>\n" + dump({"name": call["name"], "arguments": call["arguments"]}) + "\n</tool_call>" for call in calls)


def without_thought(text):
    return re.sub(re.escape(THINK_OPEN) + "(.*?)" + re.escape(THINK_CLOSE), "", text, flags=re.DOTALL).lstrip("\n")


def lengths(source, target, budget):
    if target * 2 < budget:
        most = budget
    elif source * 2 < budget:
        most = budget - source
    else:
        most = int(budget * (target / (source + target)))
    target = min(most, target)
    return min(max(budget - target, 0), source), target


class Encoder:
    def __init__(self, tokenizer, template, cutoff_len=2048, enable_thinking=True, preserve_thinking=False,
                 mask_history=False, train_on_prompt=False, default_system=None):
        self.tokenizer, self.layout = tokenizer, TEMPLATES[template]
        self.cutoff_len, self.enable_thinking, self.preserve_thinking = cutoff_len, enable_thinking, preserve_thinking
        self.mask_history, self.train_on_prompt = mask_history, train_on_prompt
        self.default_system = default_system

    def ids(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids if text else []

    def block(self, role, text):
        return "<|im_start|>" + role + "\n" + text + "<|im_end|>\n"

    def system_block(self, system, tools):
        if not system:
            system = self.layout.get("default_system", "") if self.default_system is None else self.default_system
        if not system and not tools:
            return ""
        listed = json.loads(tools) if tools else []  # an empty list still makes a system block
        if listed:
            wrapped = [t if t.get("type") == "function" else {"type": "function", "function": t} for t in listed]
            system += QWEN_TOOLS % "".join("\n" + dump(tool) for tool in wrapped)
        return self.block("system", system)

    def pairs(self, system, tools, messages):
        """Ids of every question, with what stands before it, and of its answer."""
        thinks = self.layout.get("thinks")
        messages = [(role, text) for role, text in messages]
        history_only = self.enable_thinking is not False
        if thinks and (not history_only or (self.mask_history and not self.preserve_thinking)):
            last = len(messages) - 2 if history_only else len(messages)
            for i in range(1, last, 2):
                messages[i] = (messages[i][0], without_thought(messages[i][1]))
        pairs = []
        for i in range(0, len(messages), 2):
            (asker, question), (answerer, answer) = messages[i], messages[i + 1]
            role, before, after = self.layout["tool"] if asker == "tool" else ("user", "", "")
            source = self.ids(self.system_block(system, tools)) if i == 0 else []
            source = source + self.ids(self.block(role, before + question + after) + "<|im_start|>assistant\n")
            target = self.ids((call_text(answer) if answerer == "call" else answer) + "<|im_end|>\n")
            empty = self.ids(THINK_OPEN + THINK_CLOSE)
            is_history = i + 2 < len(messages) and self.mask_history and not self.preserve_thinking
            if thinks and "<think>" not in answer and "</think>" not in answer and not is_history:
                if self.enable_thinking:
                    target = empty + target
                else:
                    source = source + empty
            pairs.append((source, target))
        return pairs

    def encode(self, system, tools, messages):
        pairs = self.pairs(system, tools, messages)
        ids, labels, used = [], [], 0
        for number, (source, target) in enumerate(reversed(pairs) if self.mask_history else pairs):
            if used >= self.cutoff_len:
                break
            s, t = lengths(len(source), len(target), self.cutoff_len - used)
            source, target = source[:s], target[:t]
            used += s + t
            source_labels = source if self.train_on_prompt else [NONE] * s
            target_labels = [NONE] * t if self.mask_history and number > 0 else target
            if self.mask_history:
                ids, labels = source + target + ids, source_labels + target_labels + labels
            else:
                ids, labels = ids + source + target, labels + source_labels + target_labels
        return ids, labels


def trains_nothing(labels):
    """The first token of a document is nobody's label."""
    return all(label == NONE for label in labels[1:])
