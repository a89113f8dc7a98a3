#!/usr/bin/env python3
"""Writes the text that the bundled tiny model is pretrained on: simple English, made here from grammars.

    scripts/make_tiny_corpus.py FILE.jsonl [--megabytes N] [--seed N]
    scripts/make_tiny_corpus.py FILE.json --pairs N [--seed N]

Each line is {"text": ...}: a small story, a few facts, a letter, sums, or a conversation in the layout of
ChatML. The same seed gives the same bytes anywhere; another seed gives other text of the same kind, which is
how data/tiny_text.jsonl was made for evaluation (--seed 7 --megabytes 0.1). Who the assistant is stands nowhere
in it: that is for fine-tuning to teach.

The second form writes questions and answers for fine-tuning: mixed with others, they keep the model from
forgetting the rest (data/tiny_chat.json: --seed 8 --pairs 150).
"""
import argparse
import json
import pathlib
import random
import re

import tiny_corpus_words as words

GIRLS, BOYS = words.GIRLS, words.BOYS


class Text:
    """Draws choices: `{a|b}` is one of them, `$name` a bound word, `$Name` the same with a capital."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def any(self, options):
        return options[int(self.random.random() * len(options))]

    def some(self, options, count):
        """`count` different ones; only random() is promised to be the same in every Python."""
        left, taken = list(options), []
        for _ in range(count):
            taken.append(left.pop(int(self.random.random() * len(left))))
        return taken

    def number(self, first, last):
        return first + int(self.random.random() * (last - first + 1))

    def chance(self, share):
        return self.random.random() < share

    def fill(self, pattern, **bound):
        choice = re.compile(r"\{([^{}]*)\}")
        while found := choice.search(pattern):
            pattern = pattern[:found.start()] + self.any(found[1].split("|")) + pattern[found.end():]

        def word(found):
            name = found[1]
            return bound[name] if name in bound else capital(bound[name.lower()])

        return re.sub(r"\$([A-Za-z]+)", word, pattern)


def capital(text):
    return text[0].upper() + text[1:]


def small(text):
    """Lower case at the start, but not for names and I."""
    first = text.split()[0].strip(",.'")
    return text if first in words.PROPER or first == "I" else text[0].lower() + text[1:]


def article(noun):
    return ("an " if noun[0] in "aeiou" or noun.startswith("honest") else "a ") + noun


def listed(items):
    return ", ".join(items[:-1]) + " and " + items[-1]


# ---- Facts: (question, the same as a clause, answer) ----

def facts():
    """Everything there is to know, each fact in the ways it is asked for."""
    known = []
    for thing, colour in words.COLOURS.items():
        verb = "are" if thing.endswith("s") and thing != "grass" else "is"
        known.append((f"What colour {verb} {thing}?", f"what colour {thing} {verb}", f"{capital(thing)} {verb} {colour}."))
    for animal, (young, sound, home, food, legs) in words.ANIMALS.items():
        one = article(animal)
        known += [
            (f"What does {one} say?", f"what {one} says", f"{capital(one)} says {sound}."),
            (f"Where does {one} live?", f"where {one} lives", f"{capital(one)} lives {home}."),
            (f"What does {one} eat?", f"what {one} eats", f"{capital(one)} eats {food}."),
            (f"How many legs does {one} have?", f"how many legs {one} has", f"{capital(one)} has {legs} legs."),
            (f"What is a young {animal} called?", f"what a young {animal} is called",
             f"A young {animal} is called {article(young)}.")]
    for job, (place, work, tool) in words.JOBS.items():
        one = article(job)
        known += [
            (f"Where does {one} work?", f"where {one} works", f"{capital(one)} works {place}."),
            (f"What does {one} do?", f"what {one} does", f"{capital(one)} {work}."),
            (f"What does {one} need?", f"what {one} needs", f"{capital(one)} needs {tool}.")]
    for first, second in words.OPPOSITES:
        for left, right in ((first, second), (second, first)):
            known += [(f"What is the opposite of {left}?", f"what the opposite of {left} is",
                       f"The opposite of {left} is {right}.")]
    for kind in (k for k in words.KINDS if k not in ("colour", "number")):
        for member in words.KINDS[kind]:
            known.append((f"What is {article(member)}?", f"what {article(member)} is",
                          f"{capital(article(member))} is {article(kind)}."))
    for country, city in words.CAPITALS.items():
        known += [
            (f"What is the capital of {country}?", f"what the capital of {country} is", f"The capital of {country} is {city}."),
            (f"In which country is {city}?", f"in which country {city} is", f"{city} is in {country}.")]
    for thing, material in words.MATERIALS.items():
        known.append((f"What is {article(thing)} made of?", f"what {article(thing)} is made of",
                      f"{capital(article(thing))} is made of {material}."))
    for thing, use in words.USES.items():
        known.append((f"What is {article(thing)} for?", f"what {article(thing)} is for", f"{capital(article(thing))} is for {use}."))
    for names, kind in ((words.DAYS, "day"), (words.MONTHS, "month")):
        for i, name in enumerate(names):
            after, before = names[(i + 1) % len(names)], names[i - 1]
            known += [
                (f"Which {kind} comes after {name}?", f"which {kind} comes after {name}", f"{after} comes after {name}."),
                (f"Which {kind} comes before {name}?", f"which {kind} comes before {name}", f"{before} comes before {name}.")]
    for question, clause, answer in words.PLAIN_FACTS:
        known.append((question, clause, answer))
    return known


DIRECT = ["$q"] * 8 + [
    "Hello! $q", "Hi! $q", "Hey, $s", "Hello, $s", "Excuse me, $s", "I have a question. $q", "Tell me, $s", "Tell me: $s",
    "Good morning. $q", "Good evening. $q", "Please answer: $s", "$q Please answer in one sentence.", "So, $s", "And $s",
    "I forgot: $s", "A short question: $s", "One more question. $q", "$q Do you know?", "Please help me. $q", "Now tell me: $s"]
CLAUSE = ["Tell me $c.", "Please tell me $c.", "Can you tell me $c?", "Could you tell me $c?", "Could you please tell me $c?",
          "Do you know $c?", "I want to know $c.", "I would like to know $c.", "Can you say $c?", "Please say $c.",
          "My teacher asks $c.", "My friend asked me $c.", "I do not know $c.", "May I ask $c?", "I wonder $c.",
          "Explain to me $c."]
# Few, and none of those that data/zen_identity_heldout.json asks: these are asked of a part that is played.
OF_A_PART = ["$q"] * 4 + ["Good morning. $q", "Hello! $q", "And $s", "A short question: $s"]


def asked(text, fact):
    question, clause, answer = fact
    way = text.any(DIRECT if text.chance(0.6) else CLAUSE)
    line = way.replace("$q", question).replace("$s", small(question)).replace("$c", clause)
    if way.startswith(("Hello! ", "Hi! ", "Good morning. ", "Good evening. ")) and text.chance(0.5):
        answer = way.split(" $")[0].replace(".", "!") + " " + answer
    elif way.startswith(("Can you", "Could you", "Do you", "May I")) and text.chance(0.5):
        answer = text.any(["Yes. ", "Of course. "]) + answer
    elif text.chance(0.08):
        answer += text.any([" Do you have another question?", " That is an easy one.", " It is good to know that.",
                            " I hope that helps you."])
    return line, answer


# ---- Stories ----

def hero(text):
    if text.chance(0.3):
        animal = text.any(list(words.ANIMALS))
        he, his, him = ("it", "its", "it")
        one = f"{text.any(words.NATURES)} {animal}"
        return dict(who=f"the {animal}", start=article(one), he=he, his=his, him=him)
    girl = text.chance(0.5)
    name = text.any(GIRLS if girl else BOYS)
    pronouns = dict(he="she", his="her", him="her") if girl else dict(he="he", his="his", him="him")
    nature = text.any(words.NATURES)
    person = text.any(["girl", "child"] if girl else ["boy", "child"])
    if text.chance(0.4):
        person = text.any(list(words.JOBS))
    return dict(who=name, start=f"{article(nature)} {person} called {name}", **pronouns)


def story(text):
    """A story, and what can be asked about it."""
    main, friend = hero(text), hero(text)
    while friend["who"] == main["who"]:
        friend = hero(text)
    bound = dict(main, friend=friend["who"], friendstart=friend["start"], thing=text.any(words.THINGS),
                 other=text.any(words.THINGS), place=text.any(words.PLACES), far=text.any(words.PLACES),
                 day=text.any(words.DAYS), weather=text.any(words.WEATHER), food=text.any(words.FOODS),
                 colour=text.any(words.PAINT), feeling=text.any(words.FEELINGS))
    plot, questions = text.any(words.PLOTS)
    opening = text.any(words.OPENINGS)
    ending = text.any(words.ENDINGS) if text.chance(0.7) else ""
    body = text.fill(opening + " " + plot + " " + ending, **bound).strip()
    return body, [tuple(text.fill(part, **bound) for part in pair) for pair in questions], bound


def paragraph(text, known):
    """A few facts in a row, with words between them."""
    lines = []
    for _, _, answer in text.some(known, text.number(3, 7)):
        lead = text.any(["", "", "", "", "Everyone knows that ", "I learned that ", "Remember that ", "It is true that ",
                         "My father says that ", "In this book I read that "])
        lines.append(lead + small(answer) if lead else answer)
    return " ".join(lines)


def letter(text):
    writer, reader = text.some(GIRLS + BOYS, 2)
    body = text.fill(text.any(words.LETTERS), thing=text.any(words.THINGS), place=text.any(words.PLACES),
                     day=text.any(words.DAYS), weather=text.any(words.WEATHER), food=text.any(words.FOODS),
                     name=text.any(GIRLS), colour=text.any(words.PAINT))
    return f"Dear {reader},\n{body}\n{text.any(['Your friend', 'Yours', 'With love'])}, {writer}"


# ---- Sums, lists and other exercises: (request, answer) ----

def exercise(text):
    return text.any(EXERCISES)(text)


def sum_of_two(text):
    a, b = text.number(0, 20), text.number(0, 20)
    sign, name, result = text.any([("+", "plus", a + b), ("-", "minus", max(a, b) - min(a, b))])
    if sign == "-":
        a, b = max(a, b), min(a, b)
    if text.chance(0.5):
        return f"What is {a} {sign} {b}?", f"{a} {sign} {b} = {result}."
    return f"How much is {a} {name} {b}?", f"{a} {name} {b} is {result}."


def counting(text):
    first = text.number(0, 30)
    last = first + text.number(2, 8)
    return f"Count from {first} to {last}.", ", ".join(str(n) for n in range(first, last + 1)) + "."


def examples_of(text):
    kind = text.any(list(words.KINDS))
    count, names = text.any([(2, "two"), (3, "three"), (4, "four")])
    members = text.some(words.KINDS[kind], count)
    request = text.any(["Name {n} {k}.", "Give me {n} examples of {k}.", "Can you name {n} {k}?", "Tell me {n} {k}."])
    return request.format(n=names, k=words.PLURALS[kind]), f"{capital(listed(members))}."


def repeating(text):
    chosen = text.some(words.EASY, text.number(1, 3))
    return text.any(["Say: {}", "Repeat: {}", "Please repeat these words: {}", "Write this: {}"]).format(" ".join(chosen)), " ".join(chosen)


def sentence_with(text):
    thing = text.any(words.THINGS)
    place = text.any(words.PLACES)
    line = text.fill("$n {finds|sees|forgets|carries|needs|wants|loves} $t $p.", n=text.any(GIRLS + BOYS), t=thing, p=place)
    return text.any(["Write a sentence about {}.", "Make a sentence with {}.", "Say something about {}."]).format(thing), line


def which_is_first(text):
    a, b = text.some(range(1, 100), 2)
    if text.chance(0.5):
        return f"Which number is larger, {a} or {b}?", f"{max(a, b)} is larger than {min(a, b)}."
    return f"Which number is smaller, {a} or {b}?", f"{min(a, b)} is smaller than {max(a, b)}."


def last_or_first(text):
    chosen = text.some(words.EASY, text.number(3, 5))
    where, word = text.any([("first", chosen[0]), ("last", chosen[-1])])
    return f"What is the {where} word? {' '.join(chosen)}", f"The {where} word is {word}."


EXERCISES = [sum_of_two, sum_of_two, counting, examples_of, examples_of, repeating, sentence_with, which_is_first, last_or_first]


# ---- Conversations ----

def chat(turns, system=None):
    """ChatML without the last end mark: pretraining puts one after every document."""
    parts = [f"<|im_start|>system\n{system}"] if system else []
    for user, assistant in turns:
        parts += [f"<|im_start|>user\n{user}", f"<|im_start|>assistant\n{assistant}"]
    return "<|im_end|>\n".join(parts)


def small_talk(text):
    return text.any([(text.fill(user), text.fill(assistant)) for user, assistant in words.SMALL_TALK])


def pair(text, known):
    draw = text.random.random()
    if draw < 0.1:
        return small_talk(text)
    return exercise(text) if draw < 0.35 else asked(text, text.any(known))


def questions_chat(text, known):
    turns = []
    for _ in range(text.number(6, 20) if text.chance(0.02) else text.any([1, 1, 1, 2, 3])):
        turns.append(exercise(text) if text.chance(0.3) else asked(text, text.any(known)))
    if text.chance(0.12):
        turns.insert(0, small_talk(text))
    if text.chance(0.12):
        turns.append(text.any([("Thank you!", "You are welcome."), ("Thank you.", "You are welcome. I am glad to help."),
                               ("Thanks, that is all.", "You are welcome. Have a good day!")]))
    return chat(turns, text.any(words.SYSTEMS) if text.chance(0.1) else None)


def part_chat(text):
    """Someone else is played, as the system text says."""
    job = text.any(list(words.JOBS))
    name, nature = text.any(GIRLS + BOYS), text.any(words.NATURES)
    place, work, tool = words.JOBS[job]
    system = text.fill("{You are $n, $j.|Your name is $n. You are $j.|Play $n, $j.}", n=name, j=article(f"{nature} {job}"))
    about = [("Who are you?", "", f"I am {name}, {article(nature + ' ' + job)}."), ("What is your name?", "", f"My name is {name}."),
             ("What are you?", "", f"I am {article(nature + ' ' + job)}."), ("Where do you work?", "", f"I work {place}."),
             ("What is your job?", "", f"I am {article(job)}."), ("What do you need?", "", f"I need {tool}."),
             (f"Are you {name}?", "", f"Yes, I am {name}."),
             (f"Are you {article(text.any(list(words.ANIMALS)))}?", "", f"No, I am {name}, {article(job)}.")]
    turns = []
    for question, _, answer in text.some(about, text.number(1, 3)):
        way = text.any(OF_A_PART)
        turns.append((way.replace("$q", question).replace("$s", small(question)), answer))
    return chat(turns, system)


def own_name_chat(text):
    name = text.any(GIRLS + BOYS)
    first = text.fill("{My name is $n.|I am $n.|Hello, I am $n.|Hi, my name is $n.}", n=name)
    second = text.any([("What is my name?", f"Your name is {name}."), ("Who am I?", f"You are {name}."),
                       ("Do you know my name?", f"Yes, your name is {name}.")])
    return chat([(first, text.fill("{Hello, $n!|It is nice to meet you, $n.|Hello, $n. How can I help you?}", n=name)), second])


def story_chat(text):
    body, questions, bound = story(text)
    if text.chance(0.35):
        about = bound["who"]
        return chat([(text.any(["Tell me a story about {}.", "Write a story about {}.", "Please tell me a short story about {}."])
                      .format(about), body)])
    turns = [(pair[0], pair[1]) for pair in text.some(questions, min(len(questions), text.number(1, 2)))]
    turns[0] = (text.any(["Read this story. ", "Here is a story. ", ""]) + body + "\n" + turns[0][0], turns[0][1])
    return chat(turns)


def book(text, known):
    """Many small texts one after the other, so that late positions are trained too."""
    parts = [text.any([lambda: story(text)[0], lambda: story(text)[0], lambda: paragraph(text, known), lambda: letter(text)])()
             for _ in range(text.number(3, 14))]
    return "\n\n".join(parts)


def document(text, known):
    draw = text.random.random()
    if draw < 0.04:
        return book(text, known)
    if draw < 0.20:
        return story(text)[0]
    if draw < 0.27:
        return paragraph(text, known)
    if draw < 0.31:
        return letter(text)
    if draw < 0.33:
        return "\n".join(" ".join(exercise(text)) for _ in range(text.number(2, 5)))
    if draw < 0.37:
        return "\n".join(f"Question: {q}\nAnswer: {a}" for q, a in (asked(text, text.any(known)) for _ in range(text.number(2, 4))))
    if draw < 0.52:
        return story_chat(text)
    if draw < 0.60:
        return part_chat(text)
    if draw < 0.63:
        return own_name_chat(text)
    return questions_chat(text, known)


def documents(seed, size):
    """Documents of `size` bytes or a little more in all."""
    text, known = Text(seed), facts()
    written = 0
    while written < size:
        body = document(text, known)
        written += len(body)
        yield body


def plain(body):
    """Without the marks of ChatML."""
    return re.sub(r"<\|im_(start|end)\|>", "", body)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--megabytes", type=float, default=8.0, help="how much text (8)")
    parser.add_argument("--pairs", type=int, help="questions and answers instead of text")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.pairs:
        text, known = Text(options.seed), facts()
        pairs = [pair(text, known) for _ in range(options.pairs)]
        lines = [json.dumps({"instruction": question, "input": "", "output": answer}) for question, answer in pairs]
        options.file.write_text("[\n  " + ",\n  ".join(lines) + "\n]\n")
        return
    with options.file.open("w", encoding="utf-8", newline="\n") as file:
        for body in documents(options.seed, options.megabytes * 1e6):
            file.write(json.dumps({"text": body}) + "\n")


if __name__ == "__main__":
    main()
