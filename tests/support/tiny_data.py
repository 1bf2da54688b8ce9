#!/usr/bin/env python3
"""Makes a tiny world for tests of the tools: coloured shapes with captions, as shards, a text model, configs and, unless told
otherwise, an image tokeniser that was trained for a few steps. Standard library only; the same bytes on every machine.

usage: tiny_data.py OUT --bin DIR [--no-tokeniser]

  OUT/art/*.png, OUT/art/*.jsonl, OUT/art/*.txt         pictures and manifests
  OUT/art/bad_{truncated,oversized,lying,flipped,foreign}.png   in no manifest
  OUT/shards/{train_pairs,val_pairs,train_text,val_text}
  OUT/text.model
  OUT/tokeniser.json, OUT/tokeniser                     config and run of the image tokeniser
  OUT/tiny.json                                         config of a pretraining run in OUT/run; paths are absolute
"""
import argparse
import json
import os
import struct
import subprocess
import sys
import zlib

COLOURS = {"red": (220, 30, 40), "green": (40, 170, 60), "blue": (40, 70, 210), "yellow": (240, 210, 40),
           "purple": (140, 50, 160), "black": (20, 20, 20)}
SHAPES = {"square": lambda x, y: max(abs(x), abs(y)) < 0.6,
          "circle": lambda x, y: x * x + y * y < 0.5,
          "cross": lambda x, y: min(abs(x), abs(y)) < 0.25,
          "triangle": lambda x, y: y < 0.7 and abs(x) < (y + 0.8) * 0.6,
          "stripe": lambda x, y: abs(x + y) < 0.4}
PLACES = ["on paper", "on a wall", "in the snow", "by the sea"]
SIZE = 20  # pixels on a side
N_VAL = 6


def png(width, height, pixels):
    """Bytes of an RGB PNG; pixels: rows of (r, g, b)."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    raw = b"".join(b"\0" + b"".join(bytes(p) for p in row) for row in pixels)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def picture(colour, shape, size=SIZE):
    def at(i):
        return 2 * (i + 0.5) / size - 1
    return png(size, size, [[COLOURS[colour] if SHAPES[shape](at(x), at(y)) else (250, 250, 250) for x in range(size)]
                            for y in range(size)])


def bad_pictures():
    """What a reader must refuse: by name, bytes."""
    good = picture("red", "cross")

    def with_size(width, height):  # a header with a right checksum, before pixels of another size
        head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        return good[:12] + head + struct.pack(">I", zlib.crc32(head)) + good[33:]
    return {"truncated": good[:60], "oversized": with_size(60000, 60000), "lying": with_size(2000, 2000),
            "flipped": good[:50] + bytes([good[50] ^ 1]) + good[51:], "foreign": b"%PDF-1.7 not a picture at all"}


def write(path, data):
    with open(path, "wb" if isinstance(data, bytes) else "w") as f:
        f.write(data)


def make_art(art):
    os.makedirs(art, exist_ok=True)
    rows, texts = [], []
    for i, colour in enumerate(COLOURS):
        for j, shape in enumerate(SHAPES):
            name = f"{colour}_{shape}.png"
            write(f"{art}/{name}", picture(colour, shape))
            place = PLACES[(i + j) % len(PLACES)]
            rows.append({"image": name, "text": f"a {colour} {shape} {place}", "concept": f"{colour} {shape}"})
            texts += [f"the {shape} is {colour}", f"{place} there is a {colour} {shape}"]
    every = len(rows) // N_VAL  # held out: an even cut through colours and shapes
    val = rows[every // 2::every]
    train = [row for row in rows if row not in val]
    for name, part in (("train", train), ("val", val)):
        write(f"{art}/{name}_pairs.jsonl", "".join(json.dumps(row) + "\n" for row in part))
    for name, data in bad_pictures().items():
        write(f"{art}/bad_{name}.png", data)
    write(f"{art}/train_text.txt", "".join(text + "\n" for text in texts[N_VAL:]))
    write(f"{art}/val_text.txt", "".join(text + "\n" for text in texts[:N_VAL]))
    write(f"{art}/all.txt", "".join(row["text"] + "\n" for row in rows) + "".join(text + "\n" for text in texts))


def configs(out):
    """Every random stream is on: noise, drop path, dropout, augmentation, priority routing with drops."""
    def shards(*names):
        return [f"{out}/shards/{name}" for name in names]
    model = {"layers": 3, "width": 16, "heads": 2, "hidden": 24, "vl_from": 2, "image_size": 16, "patch": 8, "text_len": 16,
             "drop_path": 0.2, "dropout": 0.1}
    pictures = {"images": shards("train_pairs"), "val_images": shards("val_pairs"), "val_samples": 6}
    code_book = {"layers": 1, "width": 16, "heads": 2, "decoder_layers": 1, "codes": 16, "code_dim": 4}
    tokeniser = {
        "run": {"task": "image_tokeniser", "out": f"{out}/tokeniser", "steps": 3, "threads": 1, "log_every": 100},
        "model": model,
        "data": {**pictures, "images_per_group": 8},
        "tokeniser": code_book,
        "optim": {"lr": 2e-3, "warmup": 2}}
    pretrain = {
        "run": {"out": f"{out}/run", "steps": 6, "groups": 2, "threads": 1, "log_every": 1},
        "model": model,
        "tokeniser": code_book,  # a run takes its image tokeniser's; a dry run, which reads none, this
        "moe": {"v_layers": [1], "t_layers": [0, 1], "v_experts": 4, "t_experts": 4, "k": 1},
        "data": {**pictures, "texts": shards("train_text"), "pairs": shards("train_pairs"),
                 "val_texts": shards("val_text"), "val_pairs": shards("val_pairs"),
                 "images_per_group": 3, "texts_per_group": 4, "pairs_per_group": 5,
                 "text_model": f"{out}/text.model", "image_tokeniser": f"{out}/tokeniser"},
        "optim": {"lr": 2e-3, "warmup": 2}}
    return {"tokeniser.json": tokeniser, "tiny.json": pretrain}


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"tiny_data: {' '.join(command)} ended with {done.returncode}:\n{done.stdout}")


def main():
    parser = argparse.ArgumentParser(usage="tiny_data.py OUT --bin DIR [--no-tokeniser]")
    parser.add_argument("out")
    parser.add_argument("--bin", required=True, help="folder of the tools")
    parser.add_argument("--no-tokeniser", action="store_true")
    options = parser.parse_args()
    out = os.path.abspath(options.out)
    tool = os.path.join(options.bin, "vlmoe-data")
    make_art(f"{out}/art")
    for name in ("train_pairs.jsonl", "val_pairs.jsonl", "train_text.txt", "val_text.txt"):
        run(tool, "pack", "--in", f"{out}/art/{name}", "--out", f"{out}/shards/{name.rsplit('.', 1)[0]}")
    run(tool, "vocab", "--in", f"{out}/art/all.txt", "--size", "60", "--out", f"{out}/text.model")
    for name, config in configs(out).items():
        write(f"{out}/{name}", json.dumps(config, indent=2) + "\n")
    if not options.no_tokeniser:
        run(os.path.join(options.bin, "vlmoe-train"), "--config", f"{out}/tokeniser.json")


if __name__ == "__main__":
    main()
