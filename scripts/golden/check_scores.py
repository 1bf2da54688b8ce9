"""Random predictions through vlmoe-eval score and through metrics_ref.py: every figure must be the same. VQA questions are each a kind of
question of their own, so the scores of all of them are compared, and texts are made to meet every rule of the normal form.
usage: check_scores.py --eval FILE --folder DIR [--n N] [--seed N]      last line: "short: [...]", what differs, as JSON"""
import argparse
import collections
import json
import math
import os
import random
import statistics
import struct
import subprocess
import sys

import metrics_ref as ref

WORDS = "cat dog red ball two none zero ten the a an A The THE a.m. blue T-shirt café CAFÉ Übung İstanbul ǅ ß ½ 10:30 it's 5% $3 #1".split()
NUMBERS = ["1,000", "2.5", "3.", ".5", "1,a", "٣,٤", "²,²", "x.٣", "1 ,0", "12", "0"]
SPACES = [" "] * 12 + ["  ", "\t", "\n", "\u00a0", "\u2003", "\u3000", "\x1c", "\x85", "\u200b"]
JOINS = list(ref.SIGNS) + [".", "'", ":", "*", "&", ".."]


def piece(draw):
    kind = draw.random()
    if kind < 0.35:
        return draw.choice(WORDS)
    if kind < 0.5:
        word = draw.choice(list(ref.CONTRACTIONS) + list(ref.CONTRACTIONS.values()))
        return draw.choice([word, word.upper(), word.capitalize(), word.replace("'", "")])
    if kind < 0.6:
        return draw.choice(list(ref.NUMBERS)).capitalize()
    if kind < 0.7:
        return draw.choice(NUMBERS)
    if kind < 0.9:
        return draw.choice(JOINS)
    return "".join(draw.choice("ab.,'-12 ?") for _ in range(draw.randrange(1, 8)))


def text_of(draw):
    text = "".join(piece(draw) + (draw.choice(SPACES) if draw.random() < 0.6 else "") for _ in range(draw.choice([1, 1, 2, 3, 5])))
    return draw.choice(["", "", " ", "\n"]) + text


def variant(draw, text):
    """Another way to write the answer, that the rules may or may not take for the same."""
    kind = draw.randrange(10)
    if kind == 0:
        return text.upper()
    if kind == 1:
        return "the " + text
    if kind == 2:
        return text + draw.choice([".", "!", " ?", ","])
    if kind == 3:
        return text.replace("'", "")
    if kind == 4:
        return text.replace(" ", draw.choice(["-", "  ", "/", " - "]))
    if kind == 5:
        return text + "." * draw.randrange(30, 36)
    if kind == 6:
        return ref.vqa_normalise(text) # found in a list of normal answers, as most predictions are
    return text


class Check:
    def __init__(self, arguments):
        self.arguments = arguments
        self.short = []

    def path(self, name):
        return os.path.join(self.arguments.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def lines(self, name, rows):
        return self.write(name, "".join(row + "\n" for row in rows))

    def score(self, task, results, *more):
        command = [self.arguments.eval, "score", "--task", task, "--json", self.path("figures.json"), *more]
        for path in results if isinstance(results, list) else [results]:
            command += ["--results", path]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
        with open(self.path("figures.json"), encoding="utf-8") as file:
            document = json.load(file)
        figures = [{name: row["value"] for name, row in one["figures"].items()} for one in document["files"]]
        return figures, document.get("seeds")

    def compare(self, what, n, got, want, bound=0.0):
        """got may hold more than want."""
        wrong = [name for name in want if name not in got or not math.isclose(got[name], want[name], rel_tol=bound, abs_tol=bound)]
        print(f"{what}: {n} predictions, {len(want)} figures, {len(wrong)} differ", flush=True)
        for name in wrong[:3]:
            print(f"  {name!r}: {got.get(name)} here, {want[name]} by the plain code")
        if wrong:
            self.short.append(f"{what}: {len(wrong)} of {len(want)} figures differ")


def vqa(check, draw, n):
    annotations, results, kinds, want = [], [], collections.defaultdict(list), {}
    for number in range(n):
        base = [text_of(draw) for _ in range(draw.choice([1, 1, 2, 4]))]
        same = draw.random() < 0.2
        truth = [base[0] if same else variant(draw, draw.choice(base)) for _ in range(10)]
        answer = variant(draw, draw.choice(base + [text_of(draw)]))
        if draw.random() < 0.5:
            answer = ref.vqa_normalise(draw.choice(truth))
        kind = draw.choice(["yes/no", "number", "other"])
        annotations.append({"question_id": number, "image_id": 1, "answer_type": kind, "question_type": f"q{number}",
                            "answers": [{"answer": text, "answer_id": i} for i, text in enumerate(truth)]})
        results.append({"question_id": number, "answer": answer})
        score = ref.vqa_score(answer, truth)
        kinds[kind].append(score)
        kinds["overall"].append(score)
        want[f"question type: q{number}"] = ref.percent([score])
    for kind, scores in kinds.items():
        want[kind if kind == "overall" else f"answer type: {kind}"] = ref.percent(scores)
    draw.shuffle(results)
    truth_file = check.write("annotations.json", json.dumps({"info": {"annotations": []}, "annotations": annotations}))
    got, _ = check.score("vqa", check.write("results.json", json.dumps(results)), "--annotations", truth_file)
    check.compare("VQA", n, got[0], want)
    hits = collections.Counter(want[f"question type: q{number}"] for number in range(n))
    print("  scores met: " + ", ".join(f"{score:g} {count} times" for score, count in sorted(hits.items())))


def nlvr2(check, draw, n):
    names = set()
    while len(names) < n:
        names.add(f"{draw.choice(['dev', 'test1'])}-{draw.randrange(n // 4)}-{draw.randrange(4)}-{draw.randrange(2)}")
    truth = {name: draw.random() < 0.5 for name in sorted(names)}
    answers = []
    for seed in range(3):
        answers.append({name: label == (draw.random() < 0.85) for name, label in truth.items()})
        rows = [f"{name},{draw.choice([str(value), str(value).lower()])}" for name, value in answers[-1].items()]
        draw.shuffle(rows)
        check.lines(f"nlvr2-{seed}.csv", rows)
    truth_file = check.lines("nlvr2.jsonl", [json.dumps({"sentence": "x", "identifier": name, "label": str(label)})
                                             for name, label in truth.items()])
    got, seeds = check.score("nlvr2", [check.path(f"nlvr2-{seed}.csv") for seed in range(3)], "--annotations", truth_file)
    each = [dict(zip(("accuracy", "consistency"), ref.nlvr2(truth, answer))) for answer in answers]
    for seed in range(3):
        check.compare(f"NLVR2, seed {seed}", n, got[seed], each[seed])
    for name in ("accuracy", "consistency"):
        values = [figures[name] for figures in each]
        # sums of three numbers of at most 100 and a square root: some ten roundings of 2^-53 of 100
        check.compare(f"NLVR2, {name} over seeds", 3 * n, seeds[name],
                      {"mean": statistics.mean(values), "deviation": statistics.stdev(values)}, 1e-11)


def nli(check, draw, n):
    labels = ["entailment", "neutral", "contradiction"]
    right, table, heading = collections.defaultdict(list), collections.Counter(), ["index", "pairID", "genre", "sentence1", "gold_label"]
    files = {"dev_matched.jsonl": [], "dev_mismatched.tsv": ["\t".join(heading)]}
    results = ["pairID,gold_label"]
    for number in range(n):
        file = draw.choice(list(files))
        truth, answer, genre = draw.choice(labels + ["-"] * (draw.random() < 0.1)), draw.choice(labels), f"genre{draw.randrange(5)}"
        row = {"index": str(number), "pairID": f"{number}n", "genre": genre, "sentence1": 'say "hi, \\', "gold_label": truth}
        files[file].append(json.dumps(row) if file.endswith("l") else "\t".join(row[name] for name in heading))
        results.append(f"{number}n,{answer}")
        if truth != "-":
            right["accuracy: " + file[4:].split(".")[0]].append(truth == answer)
            right["genre: " + genre].append(truth == answer)
            table[truth, answer] += 1
    arguments = []
    for file, rows in files.items():
        arguments += ["--annotations", check.lines(file, rows)]
    got, _ = check.score("nli", check.lines("nli.csv", results), *arguments)
    want = {name: ref.percent(judged) for name, judged in right.items()}
    for truth in labels:
        of = sum(table[truth, answer] for answer in labels)
        want.update({f"{truth} answered {answer}": round(100 * table[truth, answer] / of, 2) for answer in labels})
    check.compare("NLI", n, got[0], want)


def classify(check, draw, n):
    classes = [f"n{number:08}" for number in draw.sample(range(10**8), 50)]
    truth, answers, rows = {}, {}, []
    for number in range(n):
        name = f"val_{number:08}"
        truth[name] = draw.choice(classes[:draw.randrange(1, 51)])
        answers[name] = draw.sample(classes, 5)
        if draw.random() < 0.5:
            answers[name] = [truth[name]] + [label for label in answers[name] if label != truth[name]][:4]
        rows.append(json.dumps({"image": f"val/{name}.JPEG", "labels": answers[name]}))
    truth_file = check.lines("classes.txt", ["ImageId,PredictionString"] + [f"{name},{label} 1 2 3 4" for name, label in truth.items()])
    got, _ = check.score("classify", check.lines("classify.jsonl", rows), "--annotations", truth_file)
    most = collections.Counter(truth.values())
    best = min(most, key=lambda label: (-most[label], label))
    want = {"top-1": ref.percent([answers[name][0] == truth[name] for name in truth]),
            "top-5": ref.percent([truth[name] in answers[name] for name in truth]),
            f'always "{best}"': 100 * most[best] / n, f"chance of {len(most)} classes": 100 / len(most)}
    table = collections.Counter((truth[name], answers[name][0]) for name in truth if truth[name] != answers[name][0] in most)
    for (label, answer), count in sorted(table.items(), key=lambda item: (-item[1], item[0]))[:5]:
        want[f"{label} taken for {answer}"] = round(100 * count / most[label], 2)
    check.compare("classification", n, got[0], want, 1e-12) # shares are divided before they become percentages


def retrieval(check, draw, n):
    n_images, n_texts, got, want = 200, 800, {}, {}
    n_sets = -(-n // (n_images + n_texts))
    for one in range(n_sets):
        image_of = list(range(n_images)) + [draw.randrange(n_images) for _ in range(n_texts - n_images)]
        draw.shuffle(image_of)
        caption = [f"words {draw.randrange(n_texts)}" for _ in range(n_texts)]
        step = draw.choice([0, 4, 32]) # few different scores tie often
        rows = [[draw.gauss(2.0 * (image_of[t] == i), 1.0) for t in range(n_texts)] for i in range(n_images)]
        rows = [[round(value * step) / step if step else struct.unpack("<f", struct.pack("<f", value))[0] for value in row] for row in rows]
        head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({n_images}, {n_texts}), }}"
        head += " " * (-(10 + len(head) + 1) % 64) + "\n"
        with open(check.path("scores.npy"), "wb") as file:
            file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode())
            for row in rows:
                file.write(struct.pack(f"<{n_texts}f", *row))
        texts = check.lines("texts.tsv", [f"{image_of[t]}\t{caption[t]}" for t in range(n_texts)])
        figures, _ = check.score("retrieval", check.path("scores.npy"), "--annotations", texts, "--fold", "50")
        names = [f"{what} {figure}" for what in ("texts for pictures", "pictures for texts")
                 for figure in ("R@1", "R@5", "R@10", "mean rank", "median rank")] + ["mean of six"]
        parts = [ref.recall(rows, image_of, caption, range(k, k + 50)) for k in range(0, n_images, 50)]
        folds = [statistics.mean(values) for values in zip(*parts)]
        for name, all_of_them, fold in zip(names, ref.recall(rows, image_of, caption), folds):
            want[one, name], want[one, "folds, " + name] = all_of_them, fold
        got.update({(one, name): value for name, value in figures[0].items()})
    # sums of at most 800 ranks or shares, each rounded: 800 * 2^-53 relative
    check.compare("retrieval", n_sets * (n_images + n_texts), got, want, 1e-12)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--eval", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--n", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    check = Check(arguments)
    for task in (vqa, nlvr2, nli, classify, retrieval):
        task(check, random.Random(f"{arguments.seed} {task.__name__}"), arguments.n)
    print("short: " + json.dumps(check.short))


if __name__ == "__main__":
    main()
