# Held-out samples of tasks that are not as they should be: told or refused by name, none passed over.
. "$SOURCE/tests/cli/support.sh"
PYTHONPATH="$SOURCE/tests/support"
export PYTHONPATH PYTHONDONTWRITEBYTECODE=1

expect 0 python3 "$SOURCE/tests/support/tiny_data.py" "$work" --bin "$BIN"
expect 0 "$BIN/vlmoe-train" --config "$work/tiny.json" run.report=false run.steps=1
expect 0 python3 "$SOURCE/tests/support/tiny_tasks.py" "$work"
for task in vqa nli retrieval; do
    expect 0 "$BIN/vlmoe-train" --config "$work/$task.json" run.report=false run.steps=1
done
python3 - <<'PYTHON' || fail "sets"
from tiny_data import COLOURS, picture
from tiny_tasks import PICTURES, said, write_set

pictures = [picture(*PICTURES[i]) for i in range(4)]


def write(name, samples, odd, labels=None, shared=None):
    """Three samples, the second as odd says."""
    samples[1] = {key: value for key, value in {**samples[1], **odd}.items() if value is not None}
    write_set(".", name, samples, labels, shared)


def vqa(name, text=b"which", **odd):
    every = {"labels": list(range(len(COLOURS))), "scores": [1.0] * len(COLOURS)}  # any class is right by the set's labels
    facts = {"pictures": [1], **every, "id": 1001, "answers": ["red"] * 10}
    facts = {key: value for key, value in {**facts, **odd}.items() if value is not None}
    samples = [{"txt": b"which", "json": said({"pictures": [i], **every, "id": 1000 + i})} for i in range(3)]
    write(name, samples, {"txt": text, "json": said(facts)}, list(COLOURS), pictures)


def nli(name, **odd):
    samples = [{"txt": b"a red", "1.txt": b"the sea", "json": said({"labels": [i], "id": f"{i}n"})} for i in range(3)]
    write(name, samples, odd, ["entailment", "neutral", "contradiction"])


def retrieval(name, **odd):
    samples = [{"png": pictures[i], "txt": b"a red", "json": said({"image_id": i})} for i in range(3)]
    write(name, samples, odd)


vqa("two_pictures", pictures=[1, 2])
vqa("id_twice", id=1000)
vqa("objects", answers=[{"answer": "sea"}] * 10)
vqa("numbers", answers=[{"answer": 5}] * 10)
vqa("many", answers=["sea"] * 70 + list(COLOURS) * 5)
vqa("no_label", labels=None, scores=None, answers=None)
vqa("long", text=b"which " * 40)
vqa("empty", text=b" ")
nli("half", **{"1.txt": b" "})
retrieval("no_words", **{"1.txt": b" "})
retrieval("long_caption", **{"1.txt": b"a red " * 40})
retrieval("same_name", json=said({"image_id": "0"}))
PYTHON

judge() { # CODE TASK STREAM SET ARGUMENT...
    expect "$1" "$BIN/vlmoe-eval" --checkpoint "$2" "data.val_$3=[\"$work/tasks/$4\"]" "${@:5}"
}
judge 3 vqa pairs two_pictures
complained "sample 000001 at byte 2048: the sample has 2 pictures, and this task reads 1"
judge 3 vqa pairs id_twice --results x
complained 'sample 000001 is called "1000", as one before it'
[ ! -e x ] || fail "a file of results with two answers for one question"
judge 3 vqa pairs numbers
complained "held-out sample 000001: answer 1 is no text"
judge 0 vqa pairs no_label --json a.json
said "without label                1.00"
judge 0 vqa pairs long --json a.json
said "texts cut to model.text_len = 16 tokens: 1"
judge 3 vqa pairs empty
complained "the text is empty"
# annotators' answers, texts or objects, and all of them, go before labels
judge 0 vqa pairs objects --json objects.json
judge 0 vqa pairs many --json many.json
python3 - <<'PYTHON' || fail "answers that are counted"
import json
scores = [json.load(open(name + ".json"))["held_out"]["accuracy"] for name in ("objects", "many")]
assert scores == [2 / 3, 1], scores
PYTHON
judge 2 vqa pairs long --examples y
complained "--examples shows hidden words"
[ ! -e y ] || fail "an empty file of examples"
judge 3 nli texts half
complained "text 2 of its two is empty"
judge 3 retrieval pairs no_words
complained "held-out sample 000001: caption 1 is empty"
judge 0 retrieval pairs long_caption
said "texts cut to model.text_len = 16 tokens: 1"
judge 3 retrieval pairs long_caption data.overlong=error
complained 'caption 1 has'
judge 3 retrieval pairs same_name --results x
complained 'two held-out pictures are called "0"'
