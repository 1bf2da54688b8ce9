#!/usr/bin/python3
"""A larger pretraining set than the demo's: all pictures with words, and all prose, that Debian packages hold in number.

usage: make_large.py PACKAGES EMOJI OUT      PACKAGES: filled by fetch_debs.sh; EMOJI: what make_emoji.py and make_wordnet.py wrote

Writes below OUT:
  images/SOURCE/NUMBER.png|jpg     pictures; large ones are made smaller, at most 320 pixels on a side
  {train,val}_pairs.jsonl          image, text, source
  {train,val}_text.jsonl           text, source; the glosses of EMOJI are among them
One pair in fifty and one text in a hundred are held out, by a hash of the text, so that equal texts stay on one side. The demo's held-out
drawings and glosses are in neither train. What a package lacks is left out and counted. The same packages give the same bytes.
"""
import collections
import io
import json
import os
import re
import shutil
import sys
import unicodedata
import zlib

from PIL import Image

import large_figures
import large_pictures
import large_texts

HELD_OUT_PAIRS, HELD_OUT_TEXTS = 50, 100  # one in so many
SMALLEST, LARGEST, STORED = 24, 512, 320  # pixels: left out below, made smaller above, to this
MAX_PIXELS = 60000000
FORMATS = {"PNG": "png", "JPEG": "jpg"}


def plain(text):
    """As make_emoji.py: NFC, straight quotes, single spaces, lower case."""
    text = unicodedata.normalize("NFC", text)
    text = text.replace("\u2018", "'").replace("\u2019", "'").replace("\u201c", '"').replace("\u201d", '"').replace("`", "'")
    return re.sub(r"[\s_]+", " ", text).strip().lower()


def is_held_out(text, one_in):
    return zlib.crc32(text.encode()) % one_in == 0


class Pictures:
    """Stores pictures, each content once."""

    def __init__(self, out):
        self.out = out
        self.seen = set()
        self.counts = collections.Counter()
        self.left_out = collections.Counter()

    def encode(self, data):
        """(bytes, ending), or None for what is too small, too large or no picture."""
        try:
            image = Image.open(io.BytesIO(data))
            width, height = image.size
            if min(width, height) < SMALLEST or width * height > MAX_PIXELS:
                return None
            if image.format in FORMATS and max(width, height) <= LARGEST:
                image.load()
                return data, FORMATS[image.format]
            image.draft("RGB", (STORED, STORED))
            image = image.convert("RGBA" if "A" in image.mode or "transparency" in image.info else "RGB")
            if max(image.size) > STORED:
                image.thumbnail((STORED, STORED))
            if min(image.size) < 4:
                return None
            stored = io.BytesIO()
            image.save(stored, "PNG")
            return stored.getvalue(), "png"
        except (OSError, ValueError, SyntaxError):
            return None

    def store(self, source, picture):
        """Its path below out, or None. picture: a path or bytes."""
        if not isinstance(picture, bytes):
            if not os.path.isfile(picture):
                self.left_out["missing"] += 1
                return None
            with open(picture, "rb") as file:
                picture = file.read()
        mark = zlib.crc32(picture), len(picture)
        encoded = None if (source, mark) in self.seen else self.encode(picture)
        if encoded is None:
            self.left_out["seen before" if (source, mark) in self.seen else "no fit picture"] += 1
            return None
        self.seen.add((source, mark))
        name = f"images/{source}/{self.counts[source]:05d}.{encoded[1]}"
        self.counts[source] += 1
        os.makedirs(os.path.dirname(f"{self.out}/{name}"), exist_ok=True)
        with open(f"{self.out}/{name}", "wb") as file:
            file.write(encoded[0])
        return name


class Manifest:
    """train and val lines of one kind."""

    def __init__(self, out, name, one_in):
        self.files = {split: open(f"{out}/{split}_{name}.jsonl", "w", encoding="utf-8") for split in ("train", "val")}
        self.one_in = one_in
        self.n = collections.Counter()

    def add(self, row):
        split = "val" if is_held_out(row["text"], self.one_in) else "train"
        self.files[split].write(json.dumps(row, ensure_ascii=False) + "\n")
        self.n[split] += 1
        self.n["words"] += len(row["text"].split())


def all_pairs(packages, emoji):
    yield from large_pictures.demo(emoji)
    with open(f"{emoji}/train_pairs.jsonl", encoding="utf-8") as train, open(f"{emoji}/val_pairs.jsonl", encoding="utf-8") as val:
        known = {json.loads(line)["concept"] for line in list(train) + list(val)}
    yield from large_pictures.emoji_extras(packages, known)
    for reader in large_pictures.READERS:
        yield from reader(packages)
    yield from large_figures.read(packages)


def all_texts(packages, emoji):
    with open(f"{emoji}/train_text.jsonl", encoding="utf-8") as file:
        for row in map(json.loads, file):
            yield "wordnet", row["text"]
    for reader in large_texts.READERS:
        yield from reader(packages)


def make_pairs(packages, emoji, out):
    pictures, manifest = Pictures(out), Manifest(out, "pairs", HELD_OUT_PAIRS)
    for source, picture, text in all_pairs(packages, emoji):
        text = plain(text)
        image = pictures.store(source, picture) if re.search("[a-z]{2}", text) else None
        if image:
            manifest.add({"image": image, "text": text, "source": source})
    print(f"large: {manifest.n['train']} pairs to train on, {manifest.n['val']} held out; left out: " +
          ", ".join(f"{n} {why}" for why, n in pictures.left_out.items()))
    print("large: " + ", ".join(f"{source} {n}" for source, n in pictures.counts.most_common()))


def make_texts(packages, emoji, out):
    manifest, seen, counts = Manifest(out, "text", HELD_OUT_TEXTS), set(), collections.Counter()
    with open(f"{emoji}/val_text.jsonl", encoding="utf-8") as file:
        seen.update(json.loads(line)["text"] for line in file)
    for source, text in all_texts(packages, emoji):
        text = plain(text)
        if text not in seen:
            seen.add(text)
            counts[source] += len(text.split())
            manifest.add({"text": text, "source": source})
    print(f"large: {manifest.n['train']} texts to train on, {manifest.n['val']} held out, {manifest.n['words'] / 1e6:.2f} million words: " +
          ", ".join(f"{source} {n / 1e6:.2f}" for source, n in counts.most_common()))


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__.split("\n\n")[1])
    packages, emoji, out = sys.argv[1:]
    if not os.path.exists(f"{emoji}/train_text.jsonl"):
        sys.exit(f"make_large: {emoji} has no drawings and glosses: run make_demo.sh first")
    Image.MAX_IMAGE_PIXELS = None  # encode() looks at the size itself
    shutil.rmtree(f"{out}/images", ignore_errors=True)
    os.makedirs(out, exist_ok=True)
    make_pairs(packages, emoji, out)
    make_texts(packages, emoji, out)


if __name__ == "__main__":
    main()
