#!/bin/bash
# The scripts that make labelled sets, on made-up packages: what they write is packed, and words alone tell no answer.
. "$(dirname "$0")/support.sh"
scripts=$SOURCE/scripts/data
python3 "$SOURCE/tests/support/tiny_data.py" world --bin "$BIN" --no-tokeniser >.out 2>.err || fail "tiny_data.py"
: >.out
pack() { expect 0 "$BIN/vlmoe-data" pack "$@"; }

# ---- questions: two races of three units, animation ranges, a weapon, a portrait
game=packages/wesnoth-1.16-data/usr/share/games/wesnoth/1.16/data/core
mkdir -p $game/units $game/images/units $game/images/portraits
for unit in Archer Scout Guard Rider Mage Sage; do
    race=elf
    case $unit in Guard | Rider | Sage) race=orc ;; esac
    cat >$game/units/$unit.cfg <<END
# comment with image="units/nothing.png"
[unit_type]
    name= _ "$unit"
    race=$race
    image="units/$unit.png"
    profile="portraits/$unit.png"
    level=1
    alignment=lawful
    [attack]
        name=bow
        description=_"long bow"
        type=pierce
        range=ranged
    [/attack]
    [attack_anim]
        [filter_attack]
            name=bow
        [/filter_attack]
        [frame]
            image="units/$unit-bow-[1~3].png:100"
        [/frame]
    [/attack_anim]
[/unit_type]
END
    for name in $unit $unit-bow-1 $unit-bow-2 $unit-bow-3; do cp world/art/red_cross.png "$game/images/units/$name.png"; done
    cp world/art/blue_circle.png $game/images/portraits/$unit.png
done
expect 0 python3 "$scripts/make_vqa.py" packages vqa
said "30 pictures of 6 unit types"
python3 - <<'END' || fail "the questions are not as the definitions say"
import json
asked = {}
for split in ("train", "val"):
    questions = {q["question_id"]: q for q in json.load(open(f"vqa/v2_OpenEnded_wesnoth_{split}_questions.json"))["questions"]}
    annotations = json.load(open(f"vqa/v2_wesnoth_{split}_annotations.json"))["annotations"]
    assert len(annotations) == len(questions) and all(len(a["answers"]) == 10 for a in annotations)
    asked[split] = {(q["question"], a["multiple_choice_answer"]) for a in annotations for q in [questions[a["question_id"]]]}
assert ("Which weapon is used?", "long bow") in asked["train"]
assert ("What is the unit doing?", "attacking") in asked["train"]
assert ("What type of damage does the attack do?", "pierce") in asked["train"]
units = {split: {json.loads(line)["unit"] for line in open("vqa/pairs.jsonl") if json.loads(line)["split"] == split} for split in asked}
assert units["train"] and units["val"] and not units["train"] & units["val"], units
texts = {json.loads(line)["text"] for line in open("vqa/pairs.jsonl")}
assert "an elf archer attacking with a long bow (ranged, pierce)" in texts and "a portrait of an orc guard" in texts, texts
END
expect 0 "$BIN/vlmoe-data" answers --annotations vqa/v2_wesnoth_train_annotations.json --min-count 1 --out vqa/answers.txt
pack --format vqav2 --in vqa/v2_OpenEnded_wesnoth_train_questions.json --annotations vqa/v2_wesnoth_train_annotations.json \
    --images vqa/images --labels vqa/answers.txt --out vqa/shards

# ---- statements over drawings of two categories
mkdir emoji
for split in train val; do
    for colour in red green blue yellow; do
        for shape in square circle; do
            name=${colour}_$shape.png
            cp world/art/$name emoji/$split$name
            category=food
            [ "$shape" = square ] || category=travel
            echo "{\"image\": \"$split$name\", \"text\": \"$category: $colour\", \"concept\": \"$name\", \"category\": \"$category\"}"
        done
    done >emoji/${split}_pairs.jsonl
done
expect 0 python3 "$scripts/make_statements.py" emoji pictures
python3 - <<'END' || fail "a statement's words tell whether it is true"
import collections, json, os
labels = collections.defaultdict(list)
for row in map(json.loads, open("pictures/dev.json")):
    split, number, pair, _ = row["identifier"].split("-")
    labels[number].append(row["label"])
    for side in (0, 1):
        assert os.path.basename(os.readlink(f"pictures/dev/{split}-{number}-{pair}-img{side}.png")).startswith("val")
assert len(labels) == 300 and all(sorted(l) == ["False", "False", "True", "True"] for l in labels.values())
END
pack --format nlvr2 --in pictures/dev.json --images pictures --out pictures/shards

# ---- hypotheses over a made-up hierarchy: a root, twelve kinds, twenty-two things of each
mkdir -p packages/wordnet-base/dict
python3 - <<'END'
nodes = [(1, "thing", 0)] + [(10 + k, f"kind{k}", 1) for k in range(12)] + [(1000 + 22 * k + n, f"item{k}x{n}", 10 + k) for k in range(12) for n in range(22)]
with open("packages/wordnet-base/dict/data.noun", "w") as data, open("packages/wordnet-base/dict/index.noun", "w") as index:
    for number, word, above in nodes:
        pointer = f"001 @ {above:08d} n 0000" if above else "000"
        data.write(f"{number:08d} 06 n 01 {word} 0 {pointer} | made for {word}; \"an example\"\n")
        index.write(f"{word} n 1 0 1 1 {number:08d}\n")
END
expect 0 python3 "$scripts/make_nli.py" packages nli
python3 - <<'END' || fail "a hypothesis tells its label"
import collections, json
labels = collections.Counter()
for split in ("train", "dev"):
    for row in map(json.loads, open(f"nli/{split}.jsonl")):
        labels[row["sentence2"], row["gold_label"]] += 1
        words = row["sentence1"].rstrip(".").split()
        kinds = {w.split("x")[0] for w in words if w.startswith("item")}
        if "kind" in row["sentence2"] and "made" not in row["sentence2"]:
            inside = sum(k.replace("item", "kind") in row["sentence2"].rstrip(".").split() for k in [w.split("x")[0] for w in words if w.startswith("item")])
            assert row["gold_label"] == ["contradiction", "neutral", "entailment"][inside], row
hypotheses = {h for h, _ in labels}
assert hypotheses and all(len({labels[h, l] for l in ("entailment", "neutral", "contradiction")}) == 1 for h in hypotheses)
END
pack --format mnli --in nli/dev.jsonl --out nli/shards

# ---- captions, several of a picture
printf '%s\n' '{"image": "trainred_circle.png", "text": "a red circle"}' '{"image": "trainred_circle.png", "text": ["red", "round"]}' >emoji/more.jsonl
expect 0 python3 "$scripts/make_karpathy.py" captions.json made train=emoji/more.jsonl val=emoji/val_pairs.jsonl
said "11 captions of 1 train, 8 val pictures"
pack --format karpathy --in captions.json --split train --images . --out captions
expect 1 python3 "$scripts/make_karpathy.py" captions.json made tarin=emoji/more.jsonl

# ---- blind guesses: nothing where nothing is told, all where the words tell it
expect 0 python3 "$scripts/blind.py" nlvr2 pictures/train.json pictures/dev.json
said "majority 50.0 %, text_statement 50.0 %"
sed 's/"label": "[A-Za-z]*"/"label": "True"/; t' pictures/dev.json | awk 'NR % 2 { sub(/"sentence": "/, "&Never. "); sub(/"True"/, "\"False\"") } 1' >told.json
expect 0 python3 "$scripts/blind.py" nlvr2 told.json told.json
said "text_statement 100.0 %"
expect 1 python3 "$scripts/blind.py" nlvr2 told.json
exit 0
