#!/usr/bin/env python3
"""Labelled sets and configs of every task for the tiny world of tiny_data.py, which must lie in OUT already with a finished pretraining
run in OUT/run. Standard library only; the same bytes on every machine.

usage: tiny_tasks.py OUT

  OUT/tasks/{vqa,nlvr2,retrieval,classify,nli}_{train,val}   shards, labels.txt, pictures/
  OUT/{vqa,nlvr2,retrieval,classify,nli}.json                configs of runs in OUT/TASK that start from OUT/run
"""
import io
import json
import os
import sys
import tarfile

from tiny_data import COLOURS, SHAPES, picture

PER_SHARD = 7
PICTURES = [(colour, shape) for colour in COLOURS for shape in SHAPES]


def shards(folder, samples):
    """samples: dicts of extension and bytes."""
    os.makedirs(folder, exist_ok=True)
    for first in range(0, len(samples), PER_SHARD):
        with tarfile.open(f"{folder}/{first // PER_SHARD:05d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for i, sample in enumerate(samples[first:first + PER_SHARD], first):
                for extension, data in sample.items():
                    member = tarfile.TarInfo(f"{i:06d}.{extension}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def write_set(out, name, samples, labels=None, pictures=None):
    folder = f"{out}/tasks/{name}"
    shards(folder, samples)
    if pictures:
        shards(f"{folder}/pictures", [{"png": p} for p in pictures])
    if labels:
        with open(f"{folder}/labels.txt", "w") as f:
            f.write("".join(label + "\n" for label in labels))


def said(facts):
    return json.dumps(facts).encode()


def is_val(i):
    return i % 4 == 1


def both(samples):
    """Train and held-out part of a list."""
    return ("train", [s for i, s in enumerate(samples) if not is_val(i)]), ("val", [s for i, s in enumerate(samples) if is_val(i)])


def make_vqa(out, pictures):
    colours = list(COLOURS)
    samples = []
    for i, (colour, shape) in enumerate(PICTURES):
        right, near = colours.index(colour), (colours.index(colour) + 1) % len(colours)
        answers = [colour] * 8 + [colours[near]] * 2
        samples.append({"txt": f"which colour has the {shape}".encode(), "json": said(
            {"pictures": [i], "labels": [right, near], "scores": [1.0, 0.6], "id": 1000 + i, "answers": answers,
             "question_type": "which", "answer_type": "other"})})
    for name, part in both(samples):
        write_set(out, f"vqa_{name}", part, colours, pictures)


def make_nlvr2(out, pictures):
    samples = []
    for i, (colour, shape) in enumerate(PICTURES):
        other = (i + 1) % len(PICTURES) if i % 2 else (i + len(SHAPES)) % len(PICTURES)
        truth = PICTURES[other][0] == colour
        samples.append({"txt": f"the {shape} and the other are {colour}".encode(), "json": said(
            {"pictures": [i, other], "labels": [int(truth)], "identifier": f"train-{i // 2}-{i % 2}-0", "id": f"train-{i // 2}-{i % 2}-0"})})
    for name, part in both(samples):
        write_set(out, f"nlvr2_{name}", part, ["False", "True"], pictures)


def make_retrieval(out, pictures):
    samples = [{"png": pictures[i], "txt": f"a {colour} {shape} on paper".encode(), "1.txt": f"the {shape} is {colour}".encode(),
                "json": said({"image_id": i})} for i, (colour, shape) in enumerate(PICTURES)]
    for name, part in both(samples):
        write_set(out, f"retrieval_{name}", part)


def make_classify(out, pictures):
    shapes = list(SHAPES)
    samples = [{"png": pictures[i], "json": said({"labels": [shapes.index(shape)], "id": f"{i}.png"})}
               for i, (_, shape) in enumerate(PICTURES)]
    for name, part in both(samples):
        write_set(out, f"classify_{name}", part, shapes)


def make_nli(out, _):
    colours, samples = list(COLOURS), []
    for i, (colour, shape) in enumerate(PICTURES):
        label = i % 3
        second = [f"the {shape} is {colour}", f"the {shape} is by the sea", f"the {shape} is {colours[(i + 1) % len(colours)]}"][label]
        samples.append({"txt": f"there is a {colour} {shape}".encode(), "1.txt": second.encode(), "json": said(
            {"labels": [label], "id": f"{i}n", "genre": "shapes", "split": "matched" if i % 8 < 4 else "mismatched"})})
    for name, part in both(samples):
        write_set(out, f"nli_{name}", part, ["entailment", "neutral", "contradiction"])


def configs(out):
    stream = {"vqa": "pairs", "nlvr2": "pairs", "retrieval": "pairs", "classify": "images", "nli": "texts"}
    more = {"vqa": {"model": {"image_size": 24}, "task": {"head_lr": 20.0}},
            "nlvr2": {"task": {"layer_decay": 0.8}},
            "retrieval": {"task": {"rerank": 3, "freeze_moe": False}},  # experts learn from two encodings of a group
            "classify": {"task": {"mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1}, "data": {"randaug_n": 2}},
            "nli": {"task": {"freeze_moe": False, "head_dropout": 0.1}}}
    for task, name in stream.items():
        extra = more[task]
        config = {
            "include": "tiny.json",
            "run": {"task": task, "out": f"{out}/{task}", "steps": 4, "groups": 2, "eval_every": 2, "save_every": 2},
            "model": extra.get("model", {}),
            "data": {"images": [], "texts": [], "pairs": [], "val_images": [], "val_texts": [], "val_pairs": [],
                     "image_tokeniser": "", "text_model": "", name: [f"{out}/tasks/{task}_train"],
                     f"val_{name}": [f"{out}/tasks/{task}_val"], f"{name}_per_group": 3, **extra.get("data", {})},
            "optim": {"lr": 1e-3, "warmup": 1},
            "task": {"init": f"{out}/run", **extra.get("task", {})}}
        with open(f"{out}/{task}.json", "w") as f:
            f.write(json.dumps(config, indent=2) + "\n")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = os.path.abspath(sys.argv[1])
    pictures = [picture(colour, shape) for colour, shape in PICTURES]
    for make in (make_vqa, make_nlvr2, make_retrieval, make_classify, make_nli):
        make(out, pictures)
    configs(out)


if __name__ == "__main__":
    main()
