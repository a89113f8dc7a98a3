"""A conversation through chat gives, turn by turn, what generate gives for the whole of it at once: the cache that
stays from turn to turn changes nothing. And Ctrl-C ends an answer, not the program."""

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import termios
import time

import pytest

QUESTIONS = ["Sanuke la doris ven?", "Ba", "Nor vadulis, katalu remi."]
TOKENS = 12


def chat(trainer, folder, *arguments, text):
    done = trainer.run("chat", "--model_name_or_path", folder, "--max_new_tokens", TOKENS, "--do_sample", "false",
                       "--dtype", "float32", "--log_level", "warning", *arguments, text=text)
    return done.stdout


def answer_at_once(trainer, folder, template, messages, tmp_path, *arguments):
    (tmp_path / "prompts.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    return trainer.json("generate", "--model_name_or_path", folder, "--prompts_file", tmp_path / "prompts.jsonl",
                        "--template", template, "--max_new_tokens", TOKENS, "--do_sample", "false",
                        "--dtype", "float32", *arguments)[0]["text"]


@pytest.mark.parametrize("name,template", [("qwen3-wide-heads", "qwen3_nothink"), ("qwen2-window", "chatml"),
                                           ("llama-llama3", "zen"), ("smollm3", "qwen3")])
def test_turns_equal_the_whole_conversation(trainer, model_folder, tmp_path, name, template):
    folder = model_folder(name)
    expected, messages = "", []
    for question in QUESTIONS:
        messages.append({"role": "user", "content": question})
        text = answer_at_once(trainer, folder, template, messages, tmp_path, "--enable_thinking", "false")
        messages.append({"role": "assistant", "content": text})
        expected += text + "\n"
    assert chat(trainer, folder, "--template", template, "--enable_thinking", "false",
                text="\n".join(QUESTIONS)) == expected


def test_reset_forgets(trainer, model_folder):
    folder = model_folder("qwen3-wide-heads")
    output = chat(trainer, folder, "--template", "qwen", text=f"{QUESTIONS[0]}\n/reset\n{QUESTIONS[0]}\n")
    half = len(output) // 2
    assert output[:half] == output[half:]


def test_a_folder_without_a_known_template_asks_for_one(trainer, model_folder, tmp_path):
    folder = model_folder("llama")
    plain = tmp_path / "model"
    plain.mkdir()
    for file in folder.iterdir():
        if "chat_template" not in file.name:
            (plain / file.name).write_bytes(file.read_bytes())
    configuration = json.loads((plain / "tokenizer_config.json").read_text()) if (
        plain / "tokenizer_config.json").exists() else {}
    configuration["chat_template"] = "{{ messages }}"
    (plain / "tokenizer_config.json").write_text(json.dumps(configuration))
    done = trainer.run("chat", "--model_name_or_path", plain, text="", succeed=False)
    assert done.returncode == 78
    assert "--template" in done.stderr and "smollm3" in done.stderr


def read_until(descriptor, wanted, seconds=60):
    text, end = "", time.monotonic() + seconds
    while wanted not in text:
        ready, _, _ = select.select([descriptor], [], [], max(0, end - time.monotonic()))
        assert ready, f"waited for {wanted!r}, saw {text!r}"
        text += os.read(descriptor, 4096).decode(errors="replace")
    return text


def test_ctrl_c_stops_the_answer_and_not_the_program(trainer, model_folder):
    control, terminal = pty.openpty()
    process = subprocess.Popen(
        [trainer.path, "chat", "--model_name_or_path", str(model_folder("qwen3-wide-heads")), "--template", "empty",
         "--max_new_tokens", "1000000", "--min_p", "0", "--top_k", "0", "--top_p", "1.0"],
        stdin=terminal, stdout=terminal, stderr=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": ""},
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))  # Ctrl-C comes from this terminal
    try:
        os.close(terminal)
        read_until(control, "> ")
        os.write(control, b"Sanuke la doris ven?\n")
        time.sleep(1)
        os.write(control, b"\x03")
        read_until(control, "\r\n\x1b[32m> ")
        assert process.poll() is None
        os.write(control, b"\x03")
        read_until(control, "> ")
        assert process.poll() is None
        os.write(control, b"\x03")
        assert process.wait(timeout=30) == 0
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        os.close(control)
