#!/usr/bin/python3
"""Makes files of VQAv2's layout and size, reads them with vlmoe-data, and compares its memory with a limit.

usage: reader_memory.py VLMOE_DATA FOLDER [--questions N] [--limit MB]

The last line is "short: " and a JSON list of what fell short.
"""
import argparse
import json
import os
import re
import subprocess
import time

N_ANSWERS = 20000  # different ones; some are frequent and most are rare, as in life
TYPES = ("what is", "how many", "is the", "what color is the", "none of the above")
CHUNK = 4096  # annotations written at once


def answer_of(number):
    """Sixty answers are frequent, 1,000 have some dozens each, the others are had a few times."""
    if number % 7 == 0:
        return number % N_ANSWERS
    return number % 3000 if number % 3 == 0 else number % 60


def annotation(number):
    major = f"answer number {answer_of(number)}"
    answers = ", ".join(f'{{"answer": "{major if n < 8 else "something else"}", "answer_confidence": "{"yes" if n % 3 else "maybe"}", '
                        f'"answer_id": {n}}}' for n in range(1, 11))
    return (f'{{"question_type": "{TYPES[number % len(TYPES)]}", "multiple_choice_answer": "{major}", "answers": [{answers}], '
            f'"image_id": {number // 5}, "answer_type": "other", "question_id": {number // 5 * 1000 + number % 5}}}')


def question(number):
    return (f'{{"image_id": {number // 5}, "question": "What is it that number {number} asks for?", '
            f'"question_id": {number // 5 * 1000 + number % 5}}}')


def write(path, name, rows, count):
    with open(path, "w", encoding="utf-8") as file:
        file.write('{"info": {"description": "made up"}, "data_type": "mscoco", "data_subtype": "train2014", "license": {}, ')
        file.write(f'"{name}": [')
        for first in range(0, count, CHUNK):
            file.write((", " if first else "") + ", ".join(rows(n) for n in range(first, min(first + CHUNK, count))))
        file.write("]}\n")


def run(command):
    """(what it printed, seconds, MB that were resident at most)"""
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        text = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    return text, time.monotonic() - began, usage.ru_maxrss * 1024 / 1e6


class Judge:
    """Runs one reading after the other and keeps what fell short."""

    def __init__(self, count, limit):
        self.count = count
        self.limit = limit
        self.short = []

    def read(self, title, command, wanted):
        text, seconds, megabytes = run(command)
        print(f"  {title:42} {self.count / seconds:9.0f} rows/s  {megabytes:7.1f} MB at most", flush=True)
        for line in text.splitlines():
            print(f"    {line}", flush=True)
        if megabytes > self.limit:
            self.short.append(f"{title}: {megabytes:.0f} MB, wanted at most {self.limit:g}")
        found = tuple(int(x) for x in re.findall(r"\d+", text)[:len(wanted)])
        if found != wanted:
            self.short.append(f"{title}: counted {found}, the files were made with {wanted}")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("tool")
    parser.add_argument("folder")
    parser.add_argument("--questions", type=int, default=658111)
    parser.add_argument("--limit", type=float, default=200)
    args = parser.parse_args()
    count = args.questions
    paths = {name: os.path.join(args.folder, f"{name}.json") for name in ("questions", "backwards", "annotations")}
    write(paths["questions"], "questions", question, count)
    write(paths["backwards"], "questions", lambda n: question(count - 1 - n), count)
    write(paths["annotations"], "annotations", annotation, count)
    sizes = {name: os.path.getsize(path) / 1e6 for name, path in paths.items()}
    print(f"  {count} questions of {sizes['questions']:.0f} MB, annotations of {sizes['annotations']:.0f} MB", flush=True)

    classes = os.path.join(args.folder, "classes.txt")
    judge = Judge(count, args.limit)
    numbers = [0] * N_ANSWERS
    for n in range(count):
        numbers[answer_of(n)] += 1
    kept = sum(n >= 9 for n in numbers)
    covered = sum(n for n in numbers if n >= 9)
    answers = [args.tool, "answers", "--annotations", paths["annotations"], "--out", os.path.basename(classes)]
    os.chdir(args.folder)
    judge.read("answers", answers, (kept, covered, count))
    labelled = sum(numbers[answer_of(n)] >= 9 for n in range(count))
    for title, name in (("questions joined, equal orders", "questions"), ("questions joined, backwards", "backwards")):
        command = [args.tool, "pack", "--format", "vqav2", "--dry-run", "--in", paths[name], "--annotations", paths["annotations"],
                   "--labels", os.path.basename(classes)]
        wanted = (count, count, kept) if labelled else ()
        judge.read(title, command, wanted)
    print("short: " + json.dumps(judge.short))


if __name__ == "__main__":
    main()
