#!/usr/bin/python3
"""WordNet's glosses as text, from the unpacked Debian package wordnet-base.

usage: make_wordnet.py PACKAGES OUT

Writes OUT/train_text.jsonl and OUT/val_text.jsonl, one {"text": ...} a gloss, in lower case:
    WORD: DEFINITION; EXAMPLE; ...
One gloss in fifty is held out, chosen by a hash of the words it explains, so that neither a new version of the
package nor another order moves a gloss from one side to the other. A repeated line is kept once.
"""
import glob
import json
import os
import re
import sys
import unicodedata
import zlib

HELD_OUT_ONE_IN = 50
PARTS = ("noun", "verb", "adj", "adv")


def plain(text):
    """NFC, ASCII quotes, single spaces, lower case."""
    text = unicodedata.normalize("NFC", text).replace("`", "'").replace("\u2019", "'")
    return re.sub(r"\s+", " ", text).strip().lower()


def gloss_line(line):
    """(word, text) of one line of a data file. Format: wndb(5WN): offset, file, type, word count (hex), then
    word and lexical id in turn, pointers, '|', gloss."""
    fields, _, gloss = line.partition("|")
    fields = fields.split()
    words = [re.sub(r"\(.*\)$", "", word).replace("_", " ") for word in fields[4:4 + 2 * int(fields[3], 16):2]]
    gloss = plain(gloss).strip("; ")
    gloss = re.sub(r'"([^"]*)"', r"\1", gloss)  # quotation marks around the examples
    return plain(words[0]), f"{plain(words[0])}: {gloss}"


def read_glosses(folder):
    for part in PARTS:
        with open(os.path.join(folder, f"data.{part}"), encoding="latin-1") as file:
            for line in file:
                if not line.startswith("  "):  # the licence stands in indented lines
                    yield gloss_line(line)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.split("\n\n")[1])
    packages, out = sys.argv[1:]
    found = glob.glob(f"{packages}/wordnet-base/**/data.noun", recursive=True)
    if not found:
        sys.exit(f"make_wordnet: no data.noun below {packages}/wordnet-base; run fetch_debs.sh first")

    os.makedirs(out, exist_ok=True)
    seen = set()
    counts = {"train": 0, "val": 0}
    n_words = 0
    with open(os.path.join(out, "train_text.jsonl"), "w", encoding="utf-8") as train, \
            open(os.path.join(out, "val_text.jsonl"), "w", encoding="utf-8") as val:
        for word, text in read_glosses(os.path.dirname(found[0])):
            if text in seen:
                continue
            seen.add(text)
            held_out = zlib.crc32(word.encode()) % HELD_OUT_ONE_IN == 0
            (val if held_out else train).write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            counts["val" if held_out else "train"] += 1
            n_words += len(text.split())
    print(f"wordnet: {counts['train']} train and {counts['val']} val glosses, {n_words} words")


if __name__ == "__main__":
    main()
