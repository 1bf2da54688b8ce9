#!/usr/bin/python3
"""Statements about two pictures in NLVR2's layout, over the demo's emoji drawings.

usage: make_statements.py EMOJI OUT        EMOJI: what make_emoji.py wrote

Writes OUT/{train,dev}.json (JSON lines, as NLVR2 names them) and OUT/{train,dev}/IDENTIFIER-img{0,1}.png, links to the drawings.
The classes are the emoji's categories, in the captions' own words; the wording is templates. Pictures of dev are the drawings that make_emoji.py holds out, so
neither pretraining on its pairs nor train has seen them.
A statement is drawn first and then stands over four pairs of pictures, two of which make it true: the words alone tell nothing.
None of the templates turns a match into a reason against ("neither", "only one"): with those mixed in, the demo's pretrained model does not
leave 50 % in the minutes that it is given.
Identifiers are SPLIT-SET-PAIR-SENTENCE, so consistency counts the statements that are right on all their pairs.
The same drawings give the same bytes on every run.
"""
import collections
import json
import os
import random
import shutil
import sys

SEED = 11
SETS = {"train": 2500, "dev": 300}  # statements
PAIRS = 4  # of pictures a statement
STATEMENTS = (  # text of a class c, and whether it is true of pictures of classes a and b
    ("The left picture shows {c}.", lambda a, b, c: a == c),
    ("The right picture shows {c}.", lambda a, b, c: b == c),
    ("Both pictures show {c}.", lambda a, b, c: a == b == c),
    ("At least one of the pictures shows {c}.", lambda a, b, c: c in (a, b)),
)


def read_drawings(emoji, name):
    """category -> pictures"""
    drawings = collections.defaultdict(list)
    with open(os.path.join(emoji, name), encoding="utf-8") as file:
        for row in map(json.loads, file):
            drawings[row["category"]].append(os.path.abspath(os.path.join(emoji, row["image"])))
    return drawings


def draw_classes(draw, classes, c):
    """Classes of two pictures that come near the statement, so that a false one is not false by far."""
    a = c if draw.random() < 0.5 else draw.choice(classes)
    near = draw.random()
    return a, a if near < 0.25 else c if near < 0.55 else draw.choice(classes)


def make_split(draw, drawings, split, out):
    classes = sorted(drawings)
    os.makedirs(f"{out}/{split}")
    with open(f"{out}/{split}.json", "w", encoding="utf-8") as file:
        for number in range(SETS[split]):
            text, is_true = draw.choice(STATEMENTS)
            c = draw.choice(classes)
            labels = [n < PAIRS // 2 for n in range(PAIRS)]
            draw.shuffle(labels)
            for pair, label in enumerate(labels):
                while True:
                    a, b = draw_classes(draw, classes, c)
                    left, right = draw.choice(drawings[a]), draw.choice(drawings[b])
                    if is_true(a, b, c) == label and left != right:
                        break
                identifier = f"{split}-{number}-{pair}-0"
                for side, picture in enumerate((left, right)):
                    os.symlink(picture, f"{out}/{split}/{identifier[:-2]}-img{side}.png")
                row = {"identifier": identifier, "sentence": text.format(c=c), "label": str(label)}
                file.write(json.dumps(row) + "\n")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.split("\n\n")[1])
    emoji, out = sys.argv[1:]
    sources = {"train": "train_pairs.jsonl", "dev": "val_pairs.jsonl"}
    if not os.path.exists(os.path.join(emoji, sources["train"])):
        sys.exit(f"make_statements: {emoji} has no {sources['train']}; run make_demo.sh first")
    shutil.rmtree(out, ignore_errors=True)
    draw = random.Random(SEED)
    for split, source in sources.items():
        drawings = read_drawings(emoji, source)
        make_split(draw, drawings, split, out)
        print(f"statements: {split}: {SETS[split]} statements over {SETS[split] * PAIRS} pairs of "
              f"{sum(map(len, drawings.values()))} drawings")


if __name__ == "__main__":
    main()
