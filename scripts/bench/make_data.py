#!/usr/bin/python3
"""Manifests for the benches from the demo's pictures and texts.

usage: make_data.py DEMO OUT [--pictures N] [--texts N]

Writes to OUT: images/*.png, 224 px, and a manifest for each set of scripts/bench/make_data.sh. A full text is captions and glosses put one
behind another until it is far longer than 128 tokens, which vlmoe-train then cuts: 128 tokens exactly. A natural text is one of the demo's.
"""
import argparse
import json
import os

from PIL import Image

PIXELS = 224
FULL_CHARACTERS = 1600  # 128 tokens of 12.5 characters: the demo's pieces have 4 on average


def rows_of(path, limit):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for _, line in zip(range(limit), file)]


def picture(demo, row, out):
    """The drawing on white, enlarged; its place below out."""
    name = f"images/{row['image'].replace('images/', '').replace('/', '_')}"
    target = os.path.join(out, name)
    if not os.path.exists(target):
        source = Image.open(os.path.join(demo, row["image"])).convert("RGBA")
        ground = Image.new("RGBA", source.size, (255, 255, 255, 255))
        Image.alpha_composite(ground, source).convert("RGB").resize((PIXELS, PIXELS), Image.BICUBIC).save(target, compress_level=1)
    return name


def filled(start, texts, at):
    """start, then texts from place at on, until long enough."""
    parts = [start]
    while sum(map(len, parts)) < FULL_CHARACTERS:
        parts.append(texts[at % len(texts)])
        at += 1
    return "; ".join(parts)


def write(out, name, rows):
    with open(os.path.join(out, name + ".jsonl"), "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1][7:])
    parser.add_argument("demo")
    parser.add_argument("out")
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--texts", type=int, default=2048)
    args = parser.parse_args()

    os.makedirs(os.path.join(args.out, "images"), exist_ok=True)
    pairs = rows_of(os.path.join(args.demo, "train_pairs.jsonl"), 1 << 30)
    pairs = pairs[::max(1, len(pairs) // args.pictures)][:args.pictures]  # all drawing styles
    texts = [row["text"] for row in rows_of(os.path.join(args.demo, "train_text.jsonl"), 16 * args.texts)]
    images = [picture(args.demo, row, args.out) for row in pairs]
    write(args.out, "images", [{"image": image} for image in images])
    write(args.out, "natural_pairs", [{"image": image, "text": row["text"]} for image, row in zip(images, pairs)])
    write(args.out, "full_pairs", [{"image": image, "text": filled(row["text"], texts, 7 * i)}
                                   for i, (image, row) in enumerate(zip(images, pairs))])
    write(args.out, "natural_texts", [{"text": text} for text in texts[:args.texts]])
    write(args.out, "full_texts", [{"text": filled(texts[i], texts, 16 * i + 1)} for i in range(args.texts)])


if __name__ == "__main__":
    main()
