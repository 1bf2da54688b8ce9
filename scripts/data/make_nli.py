#!/usr/bin/python3
"""Premises and hypotheses in MNLI's layout, from WordNet's noun hierarchy (the unpacked Debian package wordnet-base).

usage: make_nli.py PACKAGES OUT

Writes OUT/{train,dev}.jsonl with MNLI's fields. The relations are WordNet's, between first senses of animals, artefacts, food, plants
and people; the wording is templates. A premise names two things, a hypothesis one:
  entailment      both things are of the hypothesis's kind       a poodle or a terrier -> a dog
  neutral         one of them is                                 a poodle or a tabby -> a dog
  contradiction   neither is, though they are of a kind near by  a tabby or a wolf -> a dog
Each hypothesis stands three times, once with each label, in the same words (a third of them WordNet's definition instead of the
name), all in train or all in dev, so a hypothesis alone tells nothing; premises of all labels are drawn alike, so that a premise alone
tells little. blind.py says how much.
The same package gives the same bytes on every run.
"""
import collections
import glob
import json
import os
import random
import re
import sys

SEED = 13
DEV = 600  # hypotheses
PER_NODE = 8  # hypotheses that name the same thing, at most
EVER = 30  # levels, more than WordNet has
FIELDS = {5, 6, 13, 18, 20}  # animal, artefact, food, person, plant: wndb(5WN)'s lexicographer files
LABELS = ("entailment", "neutral", "contradiction")
TEMPLATES = (("This is {}.", "This is {}."), ("It turned out to be {}.", "It was {}."), ("The thing in the picture is {}.", "The thing is {}."))


def article(words):
    return ("an " if words[0] in "aeiou" else "a ") + words


class Nouns:
    """Things whose first name has them as its most common meaning, and what is above and below them."""

    def __init__(self, folder):
        first_sense = {}
        with open(f"{folder}/index.noun", encoding="latin-1") as file:
            for line in file:
                if line[0] != " ":
                    parts = line.split()
                    first_sense[parts[0].replace("_", " ")] = parts[-int(parts[2])]
        self.word, self.gloss, self.above, self.below = {}, {}, {}, {}
        with open(f"{folder}/data.noun", encoding="latin-1") as file:
            for line in file:
                if line[0] != " ":
                    self.add(line, first_sense)
        for node in self.above:
            self.above[node] = [n for n in self.above[node] if n in self.word]
        self.below = collections.defaultdict(list)
        for node, parents in self.above.items():
            for parent in parents:
                self.below[parent].append(node)

    def add(self, line, first_sense):
        """One line of data.noun: offset, file, type, word count (hex), words, pointer count, pointers, '|', gloss."""
        fields, _, gloss = line.partition("|")
        fields = fields.split()
        n_words = int(fields[3], 16)
        word = fields[4].replace("_", " ")
        at = 4 + 2 * n_words
        pointers = [fields[at + 1 + 4 * n:at + 5 + 4 * n] for n in range(int(fields[at]))]
        if int(fields[1]) in FIELDS and word[0].islower() and first_sense.get(word) == fields[0]:
            self.word[fields[0]] = word
            self.gloss[fields[0]] = re.split(r"[;(]", gloss)[0].strip()
            self.above[fields[0]] = [target for symbol, target, part, _ in pointers if symbol == "@" and part == "n"]

    def reach(self, node, step, most):
        """What is reached from a node in at most so many steps, without itself."""
        found, edge = set(), {node}
        for _ in range(most):
            edge = {n for e in edge for n in step.get(e, ())} - found
            found |= edge
        return found


def choose(draw, nouns, node):
    """Premises for one hypothesis, as triples of pairs of things in the order of LABELS: as many as there are things for."""
    related = nouns.reach(node, nouns.above, EVER) | nouns.reach(node, nouns.below, EVER) | {node}
    under = sorted(nouns.reach(node, nouns.below, 3))
    beside = sorted({b for o in nouns.reach(node, nouns.above, 2) for b in nouns.reach(o, nouns.below, 3)} - related)
    count = min(PER_NODE, len(under) // 3, len(beside) // 3)
    inside, outside = iter(draw.sample(under, 3 * count)), iter(draw.sample(beside, 3 * count))
    for _ in range(count):
        mixed = [next(inside), next(outside)]
        draw.shuffle(mixed)
        yield (next(inside), next(inside)), mixed, (next(outside), next(outside))


def make(draw, nouns):
    """[(hypothesis, three premises in the order of LABELS)]"""
    made, seen = [], set()
    for node in sorted(n for n in nouns.word if nouns.below[n]):
        for premises in choose(draw, nouns, node):
            before, after = draw.choice(TEMPLATES)
            gloss = nouns.gloss[node]
            told = gloss if draw.random() < 1 / 3 and gloss else article(nouns.word[node])
            hypothesis = after.format(told)
            texts = [before.format(" or ".join(article(nouns.word[n]) for n in pair)) for pair in premises]
            if not any((text, hypothesis) in seen for text in texts):
                seen.update((text, hypothesis) for text in texts)
                made.append((hypothesis, texts))
    draw.shuffle(made)
    return made


def write(path, made, draw):
    rows = [(hypothesis, text, label) for hypothesis, texts in made for text, label in zip(texts, LABELS)]
    draw.shuffle(rows)
    with open(path, "w", encoding="utf-8") as file:
        for number, (hypothesis, premise, label) in enumerate(rows):
            file.write(json.dumps({"annotator_labels": [label], "genre": "wordnet", "gold_label": label, "pairID": f"{number}{label[0]}",
                                   "promptID": str(number), "sentence1": premise, "sentence2": hypothesis}) + "\n")
    return len(rows)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.split("\n\n")[1])
    packages, out = sys.argv[1:]
    found = glob.glob(f"{packages}/wordnet-base/**/data.noun", recursive=True)
    if not found:
        sys.exit(f"make_nli: no data.noun below {packages}/wordnet-base; run fetch_debs.sh first")
    os.makedirs(out, exist_ok=True)
    draw = random.Random(SEED)
    nouns = Nouns(os.path.dirname(found[0]))
    made = make(draw, nouns)
    dev, train = made[:DEV], made[DEV:]
    known = {hypothesis for hypothesis, _ in dev}
    train = [m for m in train if m[0] not in known]
    counts = {split: write(f"{out}/{split}.jsonl", part, draw) for split, part in (("train", train), ("dev", dev))}
    print(f"nli: {len(nouns.word)} nouns; {counts['train']} pairs to train on, {counts['dev']} held out")


if __name__ == "__main__":
    main()
