#!/usr/bin/env python3
"""Prints what became of a task from a pretrained model and from random weights, and judges it: exit code 1 when pretraining did not help.

usage: tuned.py TASK OUT      OUT: of scripts/ablate, with an axis "start" of pretrained and random
"""
import csv
import glob
import json
import os
import sys

SCORE = {"vqa": "accuracy", "nlvr2": "accuracy", "nli": "accuracy", "classify": "top1", "retrieval": "recall"}
JUDGED = ("vqa", "nlvr2", "retrieval")
OTHERS = ("consistency", "top5", "text R@1", "text R@5", "text R@10", "image R@1", "image R@5", "image R@10")


def mean(values):
    return sum(values) / len(values)


def deviation(values):
    centre = mean(values)
    return (sum((v - centre) ** 2 for v in values) / (len(values) - 1)) ** 0.5 if len(values) > 1 else 0.0


def last_evaluation(out):
    folder = sorted(glob.glob(os.path.join(out, "runs", "*", "metrics.jsonl")))[0]
    with open(folder, encoding="utf-8") as file:
        return [r for r in map(json.loads, file) if r["kind"] == "eval"][-1]


def main():
    task, out = sys.argv[1:3]
    with open(os.path.join(out, "results.csv"), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    key = SCORE[task]
    starts = {start: [r for r in rows if r["start"] == start] for start in ("pretrained", "random")}
    known = [k for k in ("chance", "majority") if rows[0].get(k)]
    beside = ", ".join(f"{k} {100 * float(rows[0][k]):.1f}" for k in known)
    if task == "retrieval":
        beside = f"chance R@1 {100 / last_evaluation(out)['samples']:.1f}"
    print(f"{task}: {key} in per cent, {len(starts['random'])} seeds, {rows[0]['steps']} steps; {beside}")
    scores = {}
    for start, own in starts.items():
        scores[start] = [100 * float(r[key]) for r in own]
        more = "".join(f"  {k} {100 * mean([float(r[k]) for r in own]):.1f}" for k in OTHERS if own[0].get(k))
        print(f"  {start:10}  {mean(scores[start]):6.2f} +- {deviation(scores[start]):4.2f}  ({', '.join(f'{s:.2f}' for s in scores[start])}){more}"
              f"  {max(float(r['seconds']) for r in own):.0f} s at most")
    gain = mean(scores["pretrained"]) - mean(scores["random"])
    error = sum(deviation(s) ** 2 / len(s) for s in scores.values()) ** 0.5
    helps = gain > 2 * error and gain > 0
    print(f"  gain {gain:+.2f}, standard error {error:.2f}: {'pretraining helps' if helps else 'no help shown'}"
          f"{'' if task in JUDGED else ' (not judged)'}", flush=True)
    return 1 if task in JUDGED and not helps else 0


if __name__ == "__main__":
    sys.exit(main())
