#!/usr/bin/python3
"""What can be guessed of a labelled set without looking: figures that an honest result has to beat.

usage: blind.py vqa TRAIN_QUESTIONS TRAIN_ANNOTATIONS VAL_QUESTIONS VAL_ANNOTATIONS      accuracies in per cent of the held-out part
       blind.py nlvr2 TRAIN DEV
       blind.py nli TRAIN DEV
       [--json]

  chance     one over the number of answers that occur
  majority   the training part's most frequent answer
  prior      (vqa) the most frequent training answer to the same words: what the question tells without its picture
  text_NAME  naive Bayes over the words of one text (add-one smoothing): statement, hypothesis, premise
"""
import collections
import json
import math
import re
import sys


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def read_vqa(paths):
    """[(texts by name, answer)] of train and of val"""
    parts = []
    for questions, annotations in (paths[:2], paths[2:]):
        with open(questions, encoding="utf-8") as file:
            asked = {q["question_id"]: q["question"] for q in json.load(file)["questions"]}
        with open(annotations, encoding="utf-8") as file:
            parts.append([({"question": asked[a["question_id"]]}, a["multiple_choice_answer"]) for a in json.load(file)["annotations"]])
    return parts


def read_nlvr2(paths):
    return [[({"statement": row["sentence"]}, row["label"]) for row in lines(path)] for path in paths]


def read_nli(paths):
    return [[({"premise": row["sentence1"], "hypothesis": row["sentence2"]}, row["gold_label"]) for row in lines(path)] for path in paths]


FORMATS = {"vqa": (read_vqa, 4), "nlvr2": (read_nlvr2, 2), "nli": (read_nli, 2)}


def words(text):
    return re.findall(r"[a-z']+|\d+", text.lower())


def share(right, of):
    return 100.0 * sum(right) / len(of)


def most_frequent(answers):
    return collections.Counter(answers).most_common(1)[0][0]


def prior(train, val, name):
    answers = collections.defaultdict(list)
    for texts, answer in train:
        answers[texts[name]].append(answer)
    best = {text: most_frequent(given) for text, given in answers.items()}
    other = most_frequent(answer for _, answer in train)
    return share((best.get(texts[name], other) == answer for texts, answer in val), val)


def bayes(train, val, name):
    labels = collections.Counter(answer for _, answer in train)
    counts = {label: collections.Counter() for label in labels}
    for texts, answer in train:
        counts[answer].update(words(texts[name]))
    types = len({word for count in counts.values() for word in count})
    totals = {label: sum(count.values()) + types for label, count in counts.items()}

    def guess(text):
        return max(sorted(labels), key=lambda label: math.log(labels[label]) + sum(
            math.log((counts[label][word] + 1) / totals[label]) for word in words(text)))

    return share((guess(texts[name]) == answer for texts, answer in val), val)


def main():
    arguments = [a for a in sys.argv[1:] if a != "--json"]
    if not arguments or arguments[0] not in FORMATS or len(arguments) != 1 + FORMATS[arguments[0]][1]:
        sys.exit(__doc__.split("\n\n")[1])
    read, _ = FORMATS[arguments[0]]
    train, val = read(arguments[1:])
    answers = {answer for _, answer in train}
    majority = most_frequent(answer for _, answer in train)
    found = {"chance": 100.0 / len(answers), "majority": share((answer == majority for _, answer in val), val)}
    if arguments[0] == "vqa":
        found["prior"] = prior(train, val, "question")
    else:
        for name in sorted(val[0][0]):
            found["text_" + name] = bayes(train, val, name)
    if "--json" in sys.argv:
        print(json.dumps(found))
    else:
        print(f"{arguments[0]}: {len(train)} train, {len(val)} held out; without looking: " +
              ", ".join(f"{name} {value:.1f} %" for name, value in found.items()))


if __name__ == "__main__":
    main()
