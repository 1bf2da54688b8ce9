#!/usr/bin/python3
"""Premises and hypotheses in MNLI's layout, from WordNet's noun hierarchy (the unpacked Debian package wordnet-base).

usage: make_nli.py PACKAGES OUT

Writes OUT/{train,dev}.jsonl with MNLI's fields. The relations are WordNet's, between first senses of animals, artefacts, food and plants
that WordNet has counted in texts; the wording is templates. A premise names two things, a hypothesis a kind:
  entailment      both things are of the hypothesis's kind       a poodle or a terrier -> a dog
  neutral         one of them is                                 a poodle or a tabby -> a dog
  contradiction   neither is, though they are of a kind near by  a tabby or a wolf -> a dog
A kind has many things below it. Each hypothesis stands three times in the same words, once with each label, all three in train or all in
dev, so a hypothesis alone tells nothing; premises of all labels are drawn alike, so that a premise alone tells little. blind.py says how
much. What a held-out pair asks (is a poodle a dog) is asked in train in other company: it has to be learnt, and joined. One hypothesis of
six is WordNet's definition of its kind instead of the name.
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
LEAST_BELOW = 20  # things below a kind that hypotheses name
LEVELS = 4  # that they are below it, and that what it is compared with is above and below, at most
TURNS = 10  # hypotheses about a kind, for each thing below it
OF = 6  # things that three are chosen of
MOST_WORDS = 10  # of a definition
EVER = 30  # levels, more than WordNet has
FIELDS = {5, 6, 13, 20}  # animal, artefact, food, plant: wndb(5WN)'s lexicographer files
LABELS = ("entailment", "neutral", "contradiction")
TEMPLATES = (("This is {}.", "This is {}."), ("It turned out to be {}.", "It was {}."), ("The thing in the picture is {}.", "The thing is {}."))


def article(words):
    return ("an " if words[0] in "aeiou" else "a ") + words


class Nouns:
    """What is above and below each thing; those have a word whose first name has them as its most common meaning."""

    def __init__(self, folder):
        first_sense, common = {}, set()
        with open(f"{folder}/index.noun", encoding="latin-1") as file:
            for line in file:
                if line[0] != " ":
                    parts = line.split()
                    word, n_senses = parts[0].replace("_", " "), int(parts[2])
                    first_sense[word] = parts[-n_senses]
                    if int(parts[-n_senses - 1]) > 0:  # senses that were counted
                        common.add(word)
        self.word, self.gloss, self.above, self.below = {}, {}, {}, {}
        with open(f"{folder}/data.noun", encoding="latin-1") as file:
            for line in file:
                if line[0] != " ":
                    self.add(line, first_sense)
        self.below = collections.defaultdict(list)
        for node, parents in self.above.items():
            for parent in parents:
                self.below[parent].append(node)
        self.common = {node for node, word in self.word.items() if word in common}

    def add(self, line, first_sense):
        """One line of data.noun: offset, file, type, word count (hex), words, pointer count, pointers, '|', gloss."""
        fields, _, gloss = line.partition("|")
        fields = fields.split()
        n_words = int(fields[3], 16)
        word = fields[4].replace("_", " ")
        at = 4 + 2 * n_words
        pointers = [fields[at + 1 + 4 * n:at + 5 + 4 * n] for n in range(int(fields[at]))]
        if int(fields[1]) in FIELDS:
            self.above[fields[0]] = [target for symbol, target, part, _ in pointers if symbol == "@" and part == "n"]
            if word[0].islower() and first_sense.get(word) == fields[0]:
                self.word[fields[0]] = word
                self.gloss[fields[0]] = re.split(r"[;(]", gloss)[0].strip()

    def reach(self, node, step, most):
        """What is reached from a node in at most so many steps, without itself."""
        found, edge = set(), {node}
        for _ in range(most):
            edge = {n for e in edge for n in step.get(e, ())} - found
            found |= edge
        return found


def kinds(nouns):
    """{node: (things below it, things below what is near by)}, of nodes with many of each"""
    found = {}
    for node in sorted(nouns.word):
        under = nouns.reach(node, nouns.below, LEVELS) & nouns.common
        if len(under) >= LEAST_BELOW:
            related = nouns.reach(node, nouns.above, EVER) | nouns.reach(node, nouns.below, EVER) | {node}
            beside = {b for o in nouns.reach(node, nouns.above, LEVELS) for b in nouns.reach(o, nouns.below, LEVELS)} & nouns.common - related
            if len(beside) >= LEAST_BELOW:
                found[node] = under, beside
    both = set().union(*(u for u, _ in found.values())) & set().union(*(b for _, b in found.values()))
    pairs = {node: (sorted(under & both), sorted(beside & both)) for node, (under, beside) in found.items()}
    return {node: pair for node, pair in pairs.items() if min(map(len, pair)) >= OF}


def choose(draw, under, beside, balance):
    """Three pairs of things in the order of LABELS. Those that were of their hypothesis's kind less often than not are taken as such first."""
    inside = sorted(draw.sample(under, OF), key=lambda n: balance[n])[:3]
    outside = sorted(draw.sample(beside, OF), key=lambda n: -balance[n])[:3]
    for step, things in ((1, inside), (-1, outside)):
        draw.shuffle(things)
        for thing in things:
            balance[thing] += step
    mixed = [inside.pop(), outside.pop()]
    draw.shuffle(mixed)
    return inside, mixed, outside


def make(draw, nouns):
    """[(hypothesis, three premises in the order of LABELS)]; no kind meets the same two things twice"""
    made, seen, balance, found = [], set(), collections.Counter(), kinds(nouns)
    turns = [node for node, (under, _) in found.items() for _ in under] * TURNS
    draw.shuffle(turns)
    for node in turns:
        premises = choose(draw, *found[node], balance)
        asked = {(node, *sorted(pair)) for pair in premises}
        if asked & seen:
            continue
        seen |= asked
        before, after = draw.choice(TEMPLATES)
        gloss = nouns.gloss[node]
        is_told = gloss and len(gloss.split()) <= MOST_WORDS and draw.random() < 1 / 6
        made.append((after.format(gloss if is_told else article(nouns.word[node])),
                     [before.format(" or ".join(article(nouns.word[n]) for n in pair)) for pair in premises]))
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
    counts = {split: write(f"{out}/{split}.jsonl", part, draw) for split, part in (("train", train), ("dev", dev))}
    print(f"nli: {len(nouns.common)} things; {counts['train']} pairs to train on, {counts['dev']} held out")


if __name__ == "__main__":
    main()
