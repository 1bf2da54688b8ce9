#!/usr/bin/python3
"""Manifests of pictures with captions as one JSON in the layout of Karpathy's splits of COCO and Flickr30k.

usage: make_karpathy.py OUT.json NAME SPLIT=MANIFEST.jsonl [SPLIT=MANIFEST.jsonl ...]      SPLIT: train, val, test

A manifest's line holds "image", relative to the manifest, and "text" (one caption or a list of them). Pictures are named relative to
the folder of OUT.json by filepath and filename, as in COCO's file; a picture that several lines name keeps all their captions.
"""
import json
import os
import re
import sys

SPLITS = ("train", "restval", "val", "test")


def read(manifest, folder):
    """picture -> captions, in the manifest's order"""
    captions = {}
    with open(manifest, encoding="utf-8") as file:
        for row in map(json.loads, file):
            path = os.path.join(os.path.dirname(os.path.abspath(manifest)), row["image"])
            texts = row["text"] if isinstance(row["text"], list) else [row["text"]]
            captions.setdefault(os.path.relpath(path, folder), []).extend(texts)
    return captions


class Numbers:
    """Images and sentences are numbered over the whole file."""

    def __init__(self):
        self.images = []
        self.n_sentences = 0

    def add(self, picture, texts, split):
        imgid = len(self.images)
        sentences = []
        for text in texts:
            sentences.append({"tokens": re.findall(r"\w+", text.lower()), "raw": text, "imgid": imgid, "sentid": self.n_sentences})
            self.n_sentences += 1
        self.images.append({"filepath": os.path.dirname(picture), "filename": os.path.basename(picture), "imgid": imgid, "split": split,
                            "sentids": [s["sentid"] for s in sentences], "sentences": sentences})


def main():
    sources = [argument.partition("=") for argument in sys.argv[3:]]
    if not sources or any(split not in SPLITS or not manifest for split, _, manifest in sources):
        sys.exit(__doc__.split("\n\n")[1])
    out, name = sys.argv[1:3]
    os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
    numbers = Numbers()
    for split, _, manifest in sources:
        for picture, texts in read(manifest, os.path.dirname(os.path.abspath(out))).items():
            numbers.add(picture, texts, split)
    with open(out, "w", encoding="utf-8") as file:
        json.dump({"dataset": name, "images": numbers.images}, file, ensure_ascii=False)
    counts = {split: sum(image["split"] == split for image in numbers.images) for split in SPLITS}
    print(f"karpathy: {out}: {numbers.n_sentences} captions of " +
          ", ".join(f"{count} {split}" for split, count in counts.items() if count) + " pictures")


if __name__ == "__main__":
    main()
