#!/usr/bin/python3
"""Small labelled sets of random pictures and given words, one folder a task, as vlmoe-data pack would leave them: for checks of numbers,
which need labels and not meaning. Standard library only; the same bytes on every machine.

usage: make_task_sets.py OUT WORD ...        OUT/{vqa,nlvr2,retrieval,classify,nli}"""
import io
import json
import random
import struct
import sys
import tarfile
import zlib
from pathlib import Path

SAMPLES, CLASSES, SIZE = 24, {"vqa": 9, "nlvr2": 2, "classify": 6, "nli": 3}, 40


def png(rng):
    """Random blocks of colour, SIZE pixels on a side."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    blocks = [[bytes(rng.randrange(256) for _ in range(3)) for _ in range(5)] for _ in range(5)]
    raw = b"".join(b"\0" + b"".join(blocks[y * 5 // SIZE][x * 5 // SIZE] for x in range(SIZE)) for y in range(SIZE))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", SIZE, SIZE, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def write_shard(folder, samples):
    """samples: lists of (suffix, bytes)."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "00000.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for i, members in enumerate(samples):
            for suffix, data in members:
                info = tarfile.TarInfo(f"{i:09d}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def facts(**values):
    return ("json", json.dumps(values).encode())


def make(task, out, words):
    rng = random.Random(task)
    text = lambda n: " ".join(rng.choice(words) for _ in range(n)).encode()  # noqa: E731
    classes, samples = CLASSES.get(task, 0), []
    for i in range(SAMPLES):
        one = [("txt", text(rng.randrange(3, 8)))]
        if task == "vqa":
            labels = rng.sample(range(classes), 1 + i % 3)
            samples.append([("png", png(rng)), *one, facts(labels=labels, scores=[round(1 - 0.3 * k, 1) for k in range(len(labels))], id=i)])
        elif task == "nlvr2":
            samples.append([*one, facts(labels=[i % 2], scores=[1.0], pictures=rng.sample(range(SAMPLES), 2), id=str(i))])
        elif task == "retrieval":  # every fourth caption stands twice: positives of each other
            one = [("txt", b" ".join([words[0].encode()] * 3))] if i % 4 == 0 else one
            samples.append([("png", png(rng)), *one, facts(id=i, image_id=i)])
        elif task == "classify":
            samples.append([("png", png(rng)), facts(labels=[i % classes], scores=[1.0], id=str(i))])
        else:
            samples.append([*one, ("1.txt", text(rng.randrange(3, 8))), facts(labels=[i % classes], scores=[1.0], id=str(i))])
    write_shard(out / task, samples)
    if task == "nlvr2":
        write_shard(out / task / "pictures", [[("png", png(rng))] for _ in range(SAMPLES)])
    if classes:
        (out / task / "labels.txt").write_text("".join(f"class {c}\n" for c in range(classes)))


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__.split("\n\n")[1])
    for task in ("vqa", "nlvr2", "retrieval", "classify", "nli"):
        make(task, Path(sys.argv[1]), sys.argv[2:])


if __name__ == "__main__":
    main()
