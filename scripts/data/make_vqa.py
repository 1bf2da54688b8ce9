#!/usr/bin/python3
"""Questions about Battle for Wesnoth's unit pictures in VQAv2's layout, from the unpacked Debian package wesnoth-1.16-data.

usage: make_vqa.py PACKAGES OUT

The pictures and what is true of them are the game's; the wording of the questions is templates. One unit in six is held out with all
its pictures, so held-out questions are about units never seen. Writes below OUT:
  v2_OpenEnded_wesnoth_{train,val}_questions.json, v2_wesnoth_{train,val}_annotations.json
  images/{train,val}/COCO_{train,val}_NUMBER.png      the pictures by image_id, named by VQAv2's rule
  pairs.jsonl                                         the same pictures with captions: image, text, split, unit
All ten annotators of a question agree. The thing asked for by a yes-or-no question ("Is the unit dying?") is drawn from what other
pictures show, as often as they show it, so that the question's words tell little of the answer.
The same package gives the same bytes on every run.
"""
import collections
import json
import os
import random
import shutil
import sys

import wesnoth

SEED = 7
HELD_OUT_ONE_IN = 6
ACTIONS = {"attacking", "standing", "walking", "dying", "idle", "defending itself", "leading", "healing"}  # asked for


class Questions:
    """Questions and annotations of one split."""

    def __init__(self):
        self.questions = []
        self.annotations = []

    def ask(self, image_id, kind, question, answer):
        of_image = 0
        while self.questions and of_image < len(self.questions) and self.questions[-1 - of_image]["image_id"] == image_id:
            of_image += 1
        number = image_id * 1000 + of_image
        self.questions.append({"image_id": image_id, "question": question, "question_id": number})
        answer_type = "yes/no" if answer in ("yes", "no") else "number" if answer.isdigit() else "other"
        self.annotations.append({
            "question_type": kind, "multiple_choice_answer": answer,
            "answers": [{"answer": answer, "answer_confidence": "yes", "answer_id": n} for n in range(1, 11)],
            "image_id": image_id, "answer_type": answer_type, "question_id": number,
        })

    def write(self, out, split):
        common = {"info": {"description": "questions made from the unit definitions of Battle for Wesnoth"}, "data_type": "mscoco",
                  "data_subtype": split, "license": {"name": "GPL-2+, partly CC-BY-SA-4.0"}}
        with open(f"{out}/v2_OpenEnded_wesnoth_{split}_questions.json", "w", encoding="utf-8") as file:
            json.dump({**common, "task_type": "Open-Ended", "questions": self.questions}, file)
        with open(f"{out}/v2_wesnoth_{split}_annotations.json", "w", encoding="utf-8") as file:
            json.dump({**common, "annotations": self.annotations}, file)


class Asker:
    """Draws the questions of a picture."""

    def __init__(self, pictures, draw):
        self.draw = draw
        self.races = [p["race"] for p in pictures]
        self.actions = [p["action"] for p in pictures if p["action"] in ACTIONS]

    def either(self, true, seen):
        """(what is asked for, whether it is true): as often true as not, a false one drawn from what other pictures show, if any
        show another."""
        if self.draw.random() < 0.5 or seen[0] == true and len(set(seen)) == 1:
            return true, "yes"
        while True:
            other = self.draw.choice(seen)
            if other != true:
                return other, "no"

    def questions(self, picture):
        """(question type, question, answer) ..."""
        race = picture["race"]
        yield "what race", self.draw.choice(["What race is this unit?", "Which race does the figure belong to?"]), race
        if picture["is_portrait"] or self.draw.random() < 0.06 or not picture["alignment"]:  # 6 %: about as many as portraits
            yield "is this a", "Is this a portrait?", "yes" if picture["is_portrait"] else "no"
        else:
            yield "what alignment", "What alignment does the unit have?", picture["alignment"]
        if picture["action"] in ACTIONS:
            yield "what is the", "What is the unit doing?", picture["action"]
            action, answer = self.either(picture["action"], self.actions)
            yield "is the", f"Is the unit {action}?", answer
        if picture["weapon"]:
            name, reach, damage = picture["weapon"]
            yield "which", "Which weapon is used?", name
            yield "is the", "Is the attack melee or ranged?", reach
            yield "what type", "What type of damage does the attack do?", damage
        if picture["level"].isdigit():
            yield "what level", "What level is the unit?", picture["level"]
        race, answer = self.either(race, self.races)
        yield "is this", f"Is this unit {wesnoth.article(race)}?", answer


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.split("\n\n")[1])
    packages, out = sys.argv[1:]
    pictures, n_units = wesnoth.read_pictures(os.path.join(packages, "wesnoth-1.16-data"))
    if not pictures:
        sys.exit(f"make_vqa: no units below {packages}/wesnoth-1.16-data; run fetch_debs.sh first")
    units = sorted({p["unit"] for p in pictures})
    draw = random.Random(SEED)
    draw.shuffle(units)
    held_out = set(units[:len(units) // HELD_OUT_ONE_IN])

    shutil.rmtree(out, ignore_errors=True)
    sets = {"train": Questions(), "val": Questions()}
    for split in sets:
        os.makedirs(f"{out}/images/{split}")
    asker = Asker(pictures, draw)
    with open(f"{out}/pairs.jsonl", "w", encoding="utf-8") as pairs:
        for image_id, picture in enumerate(pictures):
            split = "val" if picture["unit"] in held_out else "train"
            image = f"images/{split}/COCO_{split}_{image_id:012d}{os.path.splitext(picture['path'])[1]}"
            shutil.copyfile(picture["path"], f"{out}/{image}")
            row = {"image": image, "text": wesnoth.caption(picture).lower(), "split": split, "unit": picture["unit"]}
            pairs.write(json.dumps(row, ensure_ascii=False) + "\n")
            for kind, question, answer in asker.questions(picture):
                sets[split].ask(image_id, kind, question, answer)
    for split, questions in sets.items():
        questions.write(out, split)

    answers = collections.Counter(a["multiple_choice_answer"] for a in sets["train"].annotations)
    known = sum(a["multiple_choice_answer"] in answers for a in sets["val"].annotations) / len(sets["val"].annotations)
    print(f"vqa: {len(pictures)} pictures of {n_units} unit types; {len(sets['train'].questions)} questions to train on, "
          f"{len(sets['val'].questions)} about units held out; {len(answers)} answers, which cover {100 * known:.1f} % of the held-out ones")


if __name__ == "__main__":
    main()
