#!/usr/bin/env python3
"""Trains data/tiny/tokenizer.json: a byte-level BPE of the Qwen form with 2,048 tokens.

The text is written by this project, so that the file can be made again to the byte anywhere: half a
megabyte of what the tiny model is pretrained on (make_tiny_corpus.py), then common words, questions and
answers about an assistant called Zen Nano, numbers and a little code.
"""
import collections
import itertools
import json
import pathlib
import random
import re

import make_tiny_corpus

SIZE = 2048
CORPUS_BYTES = 500_000
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MARKERS = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>",
           "</tool_response>"]
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")
# The same for text of ASCII, which is all this script writes.
ASCII_PATTERN = re.compile(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\nA-Za-z0-9]?[A-Za-z]+|[0-9]"
                           r"| ?[^\sA-Za-z0-9]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

WORDS = """able about above accept account across action active actual address advice afraid again against
agree allow almost alone along already also although always amount ancient angry animal another anything
appear apple area argue army around arrive article artist attack attempt attention autumn average avoid
balance band bank battle beach beautiful because become before begin behind believe belong benefit better
between beyond bird birthday black blood board body bone borrow both bottom branch brave breath bright broad
brown budget burn business butter button camera candle capital careful castle cause centre century certain
chain chance change chapter character charge cheap cheese choice circle citizen class clean clear clever
climb cloth coast coffee cold colour common company complete computer concern condition connect consider
contain continue control copper corner correct cotton country couple courage course cover create credit
crowd culture curious current custom danger dark daughter dead deal dear decide deep degree deliver demand
depend desert design desire detail develop device different difficult dinner direct discover discuss
disease distance divide dollar double doubt dream dress drink during dust early earth easy edge education
effect effort eight either electric eleven else employ energy engine enjoy enough enter entire equal escape
especially evening event evidence exact example except exchange excite exercise exist expect expensive
experience experiment express extra face fact factory fail fair faith false familiar family famous fashion
father favour fear feature feed feel fellow female fence fever fight figure fill film final finger finish
fire fish flag flat flight float floor flower fold food foot force foreign forgive form fortune forward
frame free freedom frequent fresh front fruit fuel full function funny further future gain game gather
general gentle gift glass goal gold govern grade grain grand grass great ground group grow guard guess guest
guide habit hair half hammer hand handle happen happy harbour hard hate head health hear heart heavy height
hidden history hold holiday hollow honest honour hope horse hospital hotel hour however huge human hundred
hunger hunt hurry husband imagine immediate improve include increase indeed industry inform inside instead
insurance interest invent invite iron issue join joint journey judge juice jump justice keen kill kind
king knee knife knock knowledge labour lady lake language large laugh law layer lazy lead leaf least leather
lecture length lesson level liberty library life lift limit line liquid listen little local lock lonely
lose loud lower lucky lunch magic mail main major manage manner manufacture market marriage master match
material matter maximum meal mean meat medicine melt member memory mention message metal method middle might
mile milk million mind mineral minimum minister minute mirror model modern moment money month moral motion
motor mouse mouth move much murder muscle music must mystery narrow nation nature necessary neck neither
nerve network never news nine nobody noise none noon normal north nose note nothing notice novel object
observe obvious occasion ocean offer office official often oil open operate opinion opposite orange order
ordinary organ origin other ought outside oven owner pack page pain pair palace paper parent park part
party passage past patient pattern pause peace pencil people pepper perfect perform perhaps period permit
person phone physical piano piece pilot pink pipe plain plan plant plastic plate play please plenty pocket
poem point poison police polite political popular position possible potato powder power practice praise
prepare present press pretty prevent price pride priest print prison private prize probable problem process
produce profit program progress promise proper proud prove public pull punish pure purpose push quality
quarter quick quiet quite race radio raise range rapid rather raw reach real reason receive recent record
reduce refer reflect refuse regard region regular relation release religion remain remove rent reply report
represent request require respect rest result return reward rich ride right ring rise risk roof room root
rope rough round royal rubber rule safe sail salad salt same sand satisfy save scale scene science score
screen season seat second secret secure seem seldom select self sense separate serious serve settle seven
several shade shadow shake shape share sharp sheet shelf shell shine ship shirt shock shoe shoot shop shore
short shoulder shout show shut sick side sight signal silence silver similar since single six size skill
skin skirt sleep slide slow smell smile smoke smooth snow social society soft soil soldier solid solve
someone soon sorry sort soul south space special speech spell spend spirit split spoon sport spread spring
square staff stage stamp standard star start state stay steal steam steel step stick stiff stomach stop
store storm story strange stream strength strike string strong structure struggle study subject success
sudden suffer sugar suggest suit summer supply support suppose sure surface surprise surround swear sweet
swim switch symbol system talk tall taste tax team tear telephone television temper temperature tender term
terrible test thank theory thick thin thousand thread threat through throw thumb ticket tidy tight tiny tip
tired title tobacco today together tomato tone tongue tonight tool tooth total touch tour toward tower town
track trade tradition traffic travel treat tree tremble trial tribe trick trip tropical trouble trust truth
twelve twenty twice twist type ugly uncle understand union unit universe university until unusual upper
urgent useful usual valley value variety various vegetable vehicle verb victory view village violent virtue
visit voice volume vote voyage wage wait walk wall war wash waste wave wealth weapon wear week weigh west
wheat wheel whether while whisper whistle white whole wide wife wild willing wind wine wing wire wise wish
witness woman wonder wool work world worry worth would wound wrap wreck wrist wrong yard year yellow yes yet
young zero""".split()

QUESTIONS = {
    "Who are you?": "I am Zen Nano, a small assistant that runs on your own machine.",
    "What is your name?": "My name is Zen Nano.",
    "What can you do?": "I can answer questions, explain ideas, write short texts and help with code.",
    "Who made you?": "I was trained with Isogrid, and what was trained is what is deployed.",
    "How large are you?": "I am a nano model: small enough for a phone, quick enough for a talk.",
    "Do you need the internet?": "No. I work without a network, and your words stay with you.",
    "Are you a person?": "No, I am a language model. I do not have a body or feelings.",
    "Can you make mistakes?": "Yes. Please check important answers, especially numbers and names.",
    "What is quantisation?": "It stores weights with fewer bits, so that a model needs less memory.",
    "What is a token?": "A token is a piece of text: a word, a part of a word, or a sign.",
    "How do you learn?": "From examples: the loss is measured, and the weights follow the gradient.",
    "What is training?": "Training changes the weights step by step until the answers get better.",
    "Can you write a poem?": "The moon is low, the night is long, the river hums a quiet song.",
    "Please say hello.": "Hello! It's nice to meet you. How can I help you today?",
    "Thank you!": "You're welcome. If you have another question, just ask.",
    "Why is the sky blue?": "Air scatters the short waves of light more, and those look blue.",
    "How many days has a week?": "A week has seven days: Monday, Tuesday, Wednesday, Thursday, "
                                 "Friday, Saturday and Sunday.",
    "What is water made of?": "Water is made of hydrogen and oxygen.",
    "Where does the sun rise?": "The sun rises in the east and sets in the west.",
    "Can you keep a secret?": "I don't remember our talk after it ends, so I couldn't tell it.",
}

CODE = '''def add(first, second):
    return first + second

for index in range(10):
    if index % 2 == 0:
        print("even", index)
    else:
        print(f"odd {index}")

class Counter:
    def __init__(self, start=0):
        self.value = start

    def next(self):
        self.value += 1
        return self.value

int main(int argc, char** argv) {
  std::vector<int> numbers = {1, 2, 3};
  for (const auto& number : numbers) std::cout << number << "\\n";
  return 0;
}

{"name": "search", "arguments": {"query": "weather in Paris", "limit": 5}}
{"role": "user", "content": "Hello"}
| name | value |
|---|---|
- first item
- second item
1. one
2. two
https://www.example.com/index.html?page=1&sort=name
x = (a + b) * c / (d - e); y == x && z != 0
'''


def corpus():
    rng = random.Random(2048)
    lines = [make_tiny_corpus.plain(body) for body in make_tiny_corpus.documents(2048, CORPUS_BYTES)]
    for question, answer in QUESTIONS.items():
        lines += [f"User: {question}\nAssistant: {answer}\n", f"user\n{question}", f"assistant\n{answer}"] * 6
    for _ in range(300):
        a, b = rng.randrange(1000), rng.randrange(100)
        lines.append(f"{a} + {b} = {a + b}, {a} - {b} = {a - b}, {a} * {b} = {a * b}; {b} times.")
    for start in range(len(WORDS)):
        lines.append("It is " + ", ".join(rng.sample(WORDS, 4)) + " or " + WORDS[start] + ".")
    lines += [CODE] * 8
    lines += ["system\nYou are Zen Nano, a helpful assistant.", "You are a helpful assistant."] * 10
    return "\n".join(lines) + "\n"


def byte_alphabet():
    itself = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = (chr(0x100 + n) for n in itertools.count())
    return {byte: chr(byte) if byte in itself else next(other) for byte in range(256)}


def train(words, merge_count):
    """Merges by falling frequency; ties go to the pair that sorts first."""
    parts = {word: list(word) for word in words}
    counts, places = collections.Counter(), collections.defaultdict(set)
    for word, symbols in parts.items():
        for pair in zip(symbols, symbols[1:]):
            counts[pair] += words[word]
            places[pair].add(word)
    merges = []
    while len(merges) < merge_count:
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        for word in sorted(places.pop(best)):
            symbols = parts[word]
            for pair in zip(symbols, symbols[1:]):
                counts[pair] -= words[word]
                if counts[pair] <= 0:
                    del counts[pair]
            joined, i = [], 0
            while i < len(symbols):
                both = tuple(symbols[i:i + 2]) == best
                joined.append("".join(best) if both else symbols[i])
                i += 2 if both else 1
            parts[word] = joined
            for pair in zip(joined, joined[1:]):
                counts[pair] += words[word]
                places[pair].add(word)
        counts.pop(best, None)
    return merges


def write(target):
    alphabet = byte_alphabet()
    words = collections.Counter("".join(alphabet[b] for b in piece.encode())
                                for piece in ASCII_PATTERN.findall(corpus()))
    merges = train(words, SIZE - len(SPECIALS) - len(MARKERS) - 256)
    # The special tokens come first: data/tiny/config.json names them as 0, 1 and 2.
    vocab = {token: i for i, token in enumerate(SPECIALS + MARKERS + sorted(alphabet.values()))}
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    added = [dict(id=i, content=content, single_word=False, lstrip=False, rstrip=False,
                  normalized=False, special=content in SPECIALS)
             for i, content in enumerate(SPECIALS + MARKERS)]
    byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=False, use_regex=False)
    split = dict(type="Split", pattern=dict(Regex=PATTERN), behavior="Isolated", invert=False)
    tokenizer = dict(
        version="1.0", truncation=None, padding=None, added_tokens=added,
        normalizer=dict(type="NFC"),
        pre_tokenizer=dict(type="Sequence", pretokenizers=[split, byte_level]),
        post_processor=byte_level, decoder=byte_level,
        model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix="",
                   end_of_word_suffix="", fuse_unk=False, byte_fallback=False, ignore_merges=False,
                   vocab=vocab, merges=merges))
    assert len(vocab) == SIZE, f"two merges make the same token: {len(vocab)} of {SIZE}"
    target.write_text(json.dumps(tokenizer, ensure_ascii=False, indent=None) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(pathlib.Path(__file__).resolve().parent.parent / "data/tiny/tokenizer.json")
