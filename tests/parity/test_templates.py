"""Prompts against the checkpoints' own chat templates, rendered as transformers renders them.

Qwen2.5's template is the published file; the others are written down here from the layouts those
checkpoints document."""
import random

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from parity_driver import SHARED, Driver

QWEN25 = SHARED / "reference" / "qwen2-tokenizer" / "chat_template.qwen2.5.jinja"

CHATML = r"""
{%- for m in messages %}{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{%- endfor %}
{{- '<|im_start|>assistant\n' }}"""

LLAMA3 = r"""
{{- bos_token }}
{%- for m in messages %}
    {{- '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}
{%- endfor %}
{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"""

LLAMA2 = r"""
{%- set sys = namespace(text='') %}
{%- if messages[0].role == 'system' %}
    {%- set sys.text = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}
    {%- set messages = messages[1:] %}
{%- endif %}
{%- for m in messages %}
    {%- if m.role == 'user' %}
        {{- bos_token + '[INST] ' + (sys.text if loop.first else '') + m.content + ' [/INST]' }}
    {%- else %}
        {{- ' ' + m.content + ' ' + eos_token }}
    {%- endif %}
{%- endfor %}"""

# Reasoning before the last question is dropped; an answer after it keeps its own.
QWEN3 = r"""
{%- set found = namespace(query=messages | length - 1, open=true) %}
{%- for m in messages | reverse %}
    {%- set wrapped = m.content.startswith('<tool_response>') and m.content.endswith('</tool_response>') %}
    {%- if found.open and m.role == 'user' and not wrapped %}
        {%- set found.open = false %}
        {%- set found.query = messages | length - 1 - loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- set given = messages[0].role == 'system' %}
{%- if tools %}
    {{- '<|im_start|>system\n' + (messages[0].content + '\n\n' if given else '') }}
    {{- '# Tools\n\nYou may call one or more functions to assist with the user query.\n\n' }}
    {{- 'You are provided with function signatures within <tools></tools> XML tags:\n<tools>' }}
    {%- for tool in tools %}{{- '\n' + tool | tojson }}{%- endfor %}
    {{- '\n</tools>\n\nFor each function call, return a json object with function name and arguments ' }}
    {{- 'within <tool_call></tool_call> XML tags:\n<tool_call>\n' }}
    {{- '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call><|im_end|>\n' }}
{%- elif given %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- for m in messages %}
    {%- if m.role == 'user' or (m.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}
    {%- elif m.role == 'assistant' %}
        {%- set text = m.content %}
        {%- set thought = '' %}
        {%- if thinks and '</think>' in text %}
            {%- set thought = text.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set text = text.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\n' }}
        {%- if thinks and loop.index0 > found.query and (loop.last or thought) %}
            {{- '<think>\n' + thought.strip('\n') + '\n</think>\n\n' + text.lstrip('\n') }}
        {%- else %}
            {{- text }}
        {%- endif %}
        {%- for call in m.tool_calls or [] %}
            {{- '\n' if text or not loop.first else '' }}
            {{- '<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}
            {%- set given_arguments = call.function.arguments %}
            {{- (given_arguments if given_arguments is string else given_arguments | tojson) + '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif m.role == 'tool' %}
        {{- '<|im_start|>user' if loop.first or messages[loop.index0 - 1].role != 'tool' else '' }}
        {{- '\n<tool_response>\n' + m.content + '\n</tool_response>' }}
        {{- '<|im_end|>\n' if loop.last or messages[loop.index0 + 1].role != 'tool' else '' }}
    {%- endif %}
{%- endfor %}
{{- '<|im_start|>assistant\n' }}
{{- '<think>\n\n</think>\n\n' if thinks and enable_thinking is false else '' }}"""

SMOLLM3 = r"""
{%- set mode = '/think' if enable_thinking else '/no_think' %}
{%- set words = '' %}
{%- if messages[0].role == 'system' %}
    {%- set words = messages[0].content %}
    {%- set mode = '/no_think' if '/no_think' in words else '/think' if '/think' in words else mode %}
    {%- set words = words.replace('/no_think', '').replace('/think', '').rstrip() %}
{%- endif %}
{{- '<|im_start|>system\n## Metadata\n\nKnowledge Cutoff Date: June 2025\nToday Date: 07 May 2026\n' }}
{{- 'Reasoning Mode: ' + mode + '\n\n## Custom Instructions\n\n' }}
{%- if words %}{{- words + '\n\n' }}{%- else %}{{- DEFAULT[mode] + '\n\n' }}{%- endif %}
{%- for m in messages %}
    {%- if m.role == 'user' %}
        {{- '<|im_start|>user\n' + m.content + '<|im_end|>\n' }}
    {%- elif m.role == 'assistant' %}
        {{- '<|im_start|>assistant\n' + ('' if mode == '/think' else '<think>\n\n</think>\n') }}
        {{- m.content.lstrip('\n') + '<|im_end|>\n' }}
    {%- elif m.role == 'tool' %}
        {{- '<|im_start|>user\n' + m.content + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{{- '<|im_start|>assistant\n' + ('' if mode == '/think' else '<think>\n\n</think>\n') }}"""

TEXTS = ["Hi", "", "  spaced  ", "line\nline\n", "\n\nnewlines first", "北京 😀 Straße", "a < b && \"c\" 'd'",
         "<think>\nhm\n</think>\n\nanswer", "x</think>y", "<think>open", "<tool_response>\nr\n</tool_response>",
         "{{ braces }} {% raw %}", "back\\slash\ttab"]
ARGUMENTS = [{}, {"city": "Zürich", "days": 3}, {"nested": {"list": [1, 2.5, None, True, 1e-7, 1e16]}, "s": "\"\\\n"}]
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "Wetter für “heute”",
                                            "parameters": {"type": "object", "properties": {"city": {"type": "string"}},
                                                           "required": ["city"]}}},
         {"type": "function", "function": {"name": "now", "parameters": {}}}]


@pytest.fixture(scope="module")
def driver():
    driver = Driver()
    yield driver
    driver.close()


def conversation(rng, calls=False, system=True):
    messages = []
    if system and rng.random() < 0.5:
        messages.append({"role": "system", "content": rng.choice(["Be brief.", "Zwei\nZeilen", "You are 北京."])})
    for _ in range(rng.randrange(4)):
        messages.append({"role": "user", "content": rng.choice(TEXTS)})
        if calls and rng.random() < 0.6:
            functions = [{"type": "function", "function": {"name": rng.choice(["weather", "now"]),
                                                             "arguments": rng.choice(ARGUMENTS)}}
                         for _ in range(rng.randrange(1, 3))]
            messages.append({"role": "assistant", "content": rng.choice(TEXTS), "tool_calls": functions})
            messages += [{"role": "tool", "content": rng.choice(TEXTS)} for _ in range(rng.randrange(1, 3))]
            if rng.random() < 0.3:
                return messages
        messages.append({"role": "assistant", "content": rng.choice(TEXTS)})
    messages.append({"role": "user", "content": rng.choice(TEXTS)})
    return messages


def expected(source, messages, tools=None, **extra):
    rendered, _ = render_jinja_template([messages], tools=tools, chat_template=source, add_generation_prompt=True,
                                        bos_token="<s>", eos_token="</s>", **extra)
    return rendered[0]


def compare(driver, name, source, messages, tools=None, jinja=None, **options):
    request = {"template": name, "messages": messages, "bos": "<s>", "eos": "</s>", **options}
    if tools:
        request["tools"] = tools
    jinja = {**(jinja or {}), **{k: v for k, v in options.items() if k == "enable_thinking"}}
    assert driver.ask("render", **request) == expected(source, messages, tools, **jinja)


@pytest.mark.skipif(not QWEN25.exists(), reason="the published Qwen2.5 template is not here")
def test_qwen_equals_the_published_template(driver):
    source = QWEN25.read_text(encoding="utf-8")
    rng = random.Random(1)
    for _ in range(400):
        compare(driver, "qwen", source, conversation(rng, calls=True), rng.choice([None, TOOLS]))
    assert driver.ask("recognise", source=source) == "qwen"


@pytest.mark.parametrize("thinking", [True, False])
def test_qwen3(driver, thinking):
    rng = random.Random(2)
    for _ in range(400):
        compare(driver, "qwen3", QWEN3, conversation(rng, calls=True), rng.choice([None, TOOLS]),
                jinja={"thinks": True}, enable_thinking=thinking)


def test_qwen3_nothink(driver):
    rng = random.Random(3)
    for _ in range(400):
        compare(driver, "qwen3_nothink", QWEN3, conversation(rng, calls=True), rng.choice([None, TOOLS]),
                jinja={"thinks": False})


def test_string_arguments_are_written_bare_by_qwen3_and_quoted_by_qwen(driver):
    messages = [{"role": "user", "content": "a"},
                {"role": "assistant", "content": "", "tool_calls": [
                    {"type": "function", "function": {"name": "f", "arguments": "{\"x\": \"ü\"}"}}]},
                {"role": "tool", "content": "1"}]
    compare(driver, "qwen3", QWEN3, messages, jinja={"thinks": True}, enable_thinking=True)
    if QWEN25.exists():
        compare(driver, "qwen", QWEN25.read_text(encoding="utf-8"), messages)


@pytest.mark.parametrize("name,source", [("chatml", CHATML), ("llama3", LLAMA3)])
def test_plain_layouts(driver, name, source):
    rng = random.Random(4)
    for _ in range(200):
        compare(driver, name, source, conversation(rng))


def test_llama2(driver):
    rng = random.Random(5)
    for _ in range(200):
        messages = conversation(rng)
        for message in messages:
            message["content"] = message["content"].strip()  # its template strips what it has put together
        compare(driver, "llama2", LLAMA2, messages)


@pytest.mark.parametrize("thinking", [True, False])
def test_smollm3(driver, thinking):
    def system_block(enabled):
        text = driver.ask("render", template="smollm3", messages=[{"role": "user", "content": "a"}],
                          enable_thinking=enabled, today=[2026, 5, 7])
        return text.split("## Custom Instructions\n\n")[1].split("\n\n<|im_start|>user")[0]

    defaults = {"/think": system_block(True), "/no_think": system_block(False)}
    assert defaults["/no_think"] == "You are a helpful AI assistant named SmolLM, trained by Hugging Face."
    assert defaults["/think"].startswith(defaults["/no_think"] + " Your role as an assistant involves thoroughly")
    rng = random.Random(6)
    for _ in range(200):
        messages = conversation(rng)
        if messages[0]["role"] == "system":
            messages[0]["content"] += rng.choice(["", " /no_think", "/think"])
        compare(driver, "smollm3", SMOLLM3, messages, jinja={"DEFAULT": defaults}, enable_thinking=thinking,
                today=[2026, 5, 7])
