# Tasks start from a pretraining run: what is taken, what stays frozen, that threads, ranks, recompute and a resume change no bit, and that
# what does not fit is refused.
. "$SOURCE/tests/cli/support.sh"
PYTHONPATH="$SOURCE/tests/support"
export PYTHONPATH PYTHONDONTWRITEBYTECODE=1

train() { "$BIN/vlmoe-train" --config "$work/$1.json" "${@:2}"; }

expect 0 python3 "$SOURCE/tests/support/tiny_data.py" "$work" --bin "$BIN"
expect 0 train tiny run.report=false
expect 0 python3 "$SOURCE/tests/support/tiny_tasks.py" "$work"

same() { # the checkpoints of two runs, byte for byte
    local file
    for file in model.safetensors optimiser.safetensors; do
        cmp -s "$1/step-00000004/$file" "$2/step-00000004/$file" || fail "$1 and $2 differ in $file"
    done
}

last() { # the held-out record of a run, without its time
    grep '"eval"' "$1/metrics.jsonl" | tail -1 | sed 's/, "seconds.*"samples"/, "samples"/'
}

tasks="classify vqa nlvr2 nli retrieval"
for task in $tasks; do
    expect 0 train "$task"
    complained "transfer: 10" # 107 or 108 tensors taken
    complained "word_head, code_head, image_tokeniser"
    grep -q '"metric": "' "$task/best.json" || fail "$task has no best checkpoint"
    for other in threads=2 ranks=2 recompute=true; do
        expect 0 train "$task" "run.out=$work/$task-$other" "run.$other"
        same "$task" "$task-$other"
        [ "$(last "$task")" = "$(last "$task-$other")" ] || fail "$task: other held-out figures with $other"
    done
    cp -r "$task" "$task-resumed"
    rm -r "$task-resumed/step-00000004"
    mv run gone # what it was tuned from is needed no more
    expect 0 train "$task" "run.out=$work/$task-resumed" --resume
    mv gone run
    said "resumed at step 2 of 4"
    same "$task" "$task-resumed"
    expect 0 "$BIN/vlmoe-eval" --checkpoint "$task" --json "$task.eval"
    said "scores"
done

# pretraining with a contrastive part: pairs are encoded twice, and ranks keep the gradients of both apart by groups
for name in apart apart-ranks; do
    more=
    [ "$name" = apart ] || more=run.ranks=2
    expect 0 train tiny run.report=false objective.contrastive_weight=1 "run.out=$work/$name" $more
    said "contrastive_loss"
done
for file in model.safetensors optimiser.safetensors; do
    cmp -s "apart/step-00000006/$file" "apart-ranks/step-00000006/$file" || fail "contrastive pretraining on 2 ranks differs in $file"
done
expect 0 train retrieval "task.init=$work/apart" "run.out=$work/on" run.steps=2
complained "transfer: 115 tensors taken" # the retrieval head goes on
expect 8 train tiny objective.contrastive_weight=1 task.negatives=step "run.out=$work/no"
complained "of their group"

# a plan with long lists in a recording: 3,000 x 3,000 similarities of a group
expect 0 train retrieval --dry-run data.pairs_per_group=3000

# predictions as files for servers
for task in vqa nlvr2 nli classify; do
    expect 0 "$BIN/vlmoe-eval" --checkpoint "$task" --results "$task.results"
done
python3 - <<'PYTHON' || fail "files of results"
import json
rows = json.load(open("vqa.results"))
assert len(rows) == 8 and all(set(r) == {"question_id", "answer"} and r["question_id"] >= 1000 for r in rows), rows
assert [l.split(",")[1] in ("True", "False") for l in open("nlvr2.results").read().split()] == [True] * 8
assert open("nli.results").read().count(",") == 9  # with its heading
assert len(json.loads(open("classify.results").readline())["labels"]) == 5
PYTHON
python3 - <<'PYTHON' || fail "what answering without looking gives"
import collections, glob, json, tarfile
for task, key in (("vqa", "scores"), ("nlvr2", "labels"), ("classify", "labels")):
    found = [r for r in map(json.loads, open(f"{task}/metrics.jsonl")) if r["kind"] == "eval"][-1]
    shards = map(tarfile.open, sorted(glob.glob(f"tasks/{task}_val/*.tar")))
    rows = [json.load(tar.extractfile(m)) for tar in shards for m in tar if m.name.endswith("json")][:found["samples"]]
    given = collections.Counter()
    for row in rows:
        given.update(dict(zip(row["labels"], row["scores"] if key == "scores" else [1.0])))
    classes = len(open(f"tasks/{task}_val/labels.txt").readlines())  # the library's scores are f32
    assert abs(found["majority"] - max(given.values()) / len(rows)) < 1e-6, (task, found, given)
    assert abs(found["chance"] - (sum(given.values()) / len(rows) / classes)) < 1e-6, (task, found, given)
PYTHON
expect 2 "$BIN/vlmoe-eval" --checkpoint run --results no.results --words 0
complained "this is task pretrain"
ranked() { # FILE ARGUMENT...: lists of candidates, and the printed recalls again from them
    expect 0 "$BIN/vlmoe-eval" --checkpoint retrieval --results "$1.results" --json "$1.json" "${@:2}"
    expect 0 "$BIN/vlmoe-eval" score --task retrieval --results "$1.results" --json "$1.score"
    python3 - "$1" <<'PYTHON' || fail "lists of retrieval ($1)"
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1] + ".results")]
figures = json.load(open(sys.argv[1] + ".json"))["held_out"]
judged = json.load(open(sys.argv[1] + ".score"))["files"][0]["figures"]
images, captions = [r for r in rows if "image" in r], [r for r in rows if "caption" in r]
assert len(images) == 8 and len(captions) == 16 and rows == images + captions
text = {r["caption"]: r["text"].strip() for r in captions}
own = {}  # texts of a picture
for r in captions:
    assert r["caption"].rpartition("#")[0] == str(r["of"])
    own.setdefault(r["of"], set()).add(text[r["caption"]])
assert sorted(own) == sorted(r["image"] for r in images)
for r in rows:
    of_image = "image" in r
    found = r["captions"] if of_image else r["images"]
    assert len(set(found)) == len(found) == len(r["scores"]) == (10 if of_image else 8)
    cut = r.get("together", 0)
    for part in r["scores"][:cut], r["scores"][cut:]:
        assert part == sorted(part, reverse=True), r
    r["right"] = [text[c] in own[r["image"]] if of_image else text[r["caption"]] in own[c] for c in found]
for rows, name in (images, "text"), (captions, "image"):
    for k in 1, 5, 10:
        share = sum(any(r["right"][:k]) for r in rows) / len(rows)
        assert abs(share - figures[f"{name} R@{k}"]) < 1e-12, (name, k, share, figures)
        other = judged[f"{'texts for pictures' if name == 'text' else 'pictures for texts'} R@{k}"]["value"]
        assert other == 100 * figures[f"{name} R@{k}"], (name, k, other, figures)
together = 3 if "dual recall" in figures else None
assert all(r.get("together") == together for r in images + captions)
PYTHON
}
ranked lists
grep -q '"dual recall"' lists.json || fail "nothing was read together"
ranked alone task.rerank=0
cmp -s lists.results alone.results && fail "reading together changes no list"

# questions about files
art="$work/art"
predict() { "$BIN/vlmoe-eval" predict --checkpoint "$@"; }
expect 0 predict vqa --image "$art/red_circle.png" --question "which colour has the circle" --json answer.json
said " %  "
python3 -c 'import json; a = json.load(open("answer.json"))["answers"]; assert len(a) == 5 and a[0]["share"] >= a[4]["share"]' || fail "answers as JSON"
expect 0 predict vqa --image "$art/red_circle.png" --question "which colour has the circle" --top 6
[ "$(wc -l <"$work/.out")" -eq "$(wc -l <tasks/vqa_val/labels.txt)" ] || fail "not all answers"
expect 0 predict nlvr2 --image "$art/red_circle.png" --image "$art/red_cross.png" --text "both are red"
said "True"
expect 0 predict nli --text "the circle is red" --text "the circle is blue"
said "neutral"
expect 0 predict classify --image "$art/red_circle.png" --top 2
[ "$(wc -l <"$work/.out")" -eq 2 ] || fail "not two classes"
printf 'a red circle\nthe cross is blue\n\nby the sea\n' >captions.txt
expect 0 predict retrieval --image "$art/red_circle.png" --captions captions.txt
said "match"
[ "$(wc -l <"$work/.out")" -eq 3 ] || fail "not three captions"
python3 -c 'print("a red circle " * 40)' >long.txt
expect 0 predict retrieval --image "$art/red_circle.png" --captions long.txt
complained "1 text was cut to 16 tokens"
printf '\357\273\277a red circle\n' >marked.txt # a byte order mark is no part of a caption
expect 0 predict retrieval --image "$art/red_circle.png" --captions marked.txt --json marked.json
grep -q '"answer": "a red circle"' marked.json || fail "a byte order mark in a caption"
printf 'a red circle\nthe \377\n' >bytes.txt
expect 3 predict retrieval --image "$art/red_circle.png" --captions bytes.txt
complained "bytes.txt line 2: not UTF-8 text"
printf 'a red circle\nthe\0cross\n' >zero.txt # its end was passed over
expect 3 predict retrieval --image "$art/red_circle.png" --captions zero.txt
expect 2 predict retrieval --text " " --images "$art"
complained "the text is empty"
seq 20 >twenty.txt # more than are read at once
expect 0 predict retrieval --image "$art/red_circle.png" --captions twenty.txt --top 20 task.rerank=18
[ "$(grep -c match "$work/.out")" -eq 18 ] || fail "not 18 captions read together with the picture"
echo "7 " >>twenty.txt # the same words: behind the other
for read in 0 18; do
    expect 0 predict retrieval --image "$art/red_circle.png" --captions twenty.txt --json "order$read.json" "task.rerank=$read"
done
python3 - <<'PYTHON' || fail "the order of what was found"
import json
plain, read = (json.load(open(f"order{n}.json"))["answers"] for n in (0, 18))
lines = open("twenty.txt").read().split("\n")
assert [r["answer"] for r in plain] == sorted(lines[:-1], key=lambda c: (-{r["answer"]: r["cosine"] for r in plain}[c], lines.index(c)))
assert not any("match" in r for r in plain) and all(("match" in r) == (n < 18) for n, r in enumerate(read))
assert {r["answer"] for r in plain[:18]} == {r["answer"] for r in read[:18]} and plain[18:] == read[18:]
PYTHON
mkdir folder
cp "$art/red_circle.png" "$art/blue_cross.png" folder
expect 0 predict retrieval --text "a red circle" --images folder
[ "$(wc -l <"$work/.out")" -eq 2 ] || fail "not two pictures"
cp "$art/bad_truncated.png" folder
expect 0 predict retrieval --text "a red circle" --images folder
complained "left out"
rm folder/red_circle.png folder/blue_cross.png
expect 3 predict retrieval --text "a red circle" --images folder
complained "no picture to rank"
expect 2 predict vqa --image "$art/red_circle.png"
complained "one --image and one --question"
expect 2 predict nlvr2 --image "$art/a.png" --image "$art/b.png" --image "$art/c.png"
complained "--image: more than 2 of them"
expect 2 predict vqa --image "$art/red_circle.png" --question "  "
complained "empty"
expect 4 predict vqa --image "$art/none.png" --question "which colour"
expect 3 predict classify --image "$art/bad_foreign.png"
expect 2 predict run --image "$art/red_circle.png"
complained "answers nothing"

# a loss over all groups of the step, in two passes
expect 0 train retrieval task.negatives=step "run.out=$work/wide"
expect 0 train retrieval task.negatives=step "run.out=$work/wide-ranks" run.ranks=2
same wide wide-ranks
cmp -s wide/step-00000004/model.safetensors retrieval/step-00000004/model.safetensors && fail "negatives of the step change nothing"
expect 0 train retrieval task.negatives=step --verify=2 run.ranks=2 "run.out=$work/verified"

# routers and experts keep their bits, what is trained does not
frozen_check='
import json, struct, sys
def tensors(path):
    data = open(path + "/model.safetensors", "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    return {k: data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]] for k, v in json.loads(data[8:8 + n]).items() if k[0] != "_"}
old, new = tensors(sys.argv[1]), tensors(sys.argv[2])
sparse = [k for k in new if "expert" in k or "router" in k]
assert sparse, "no experts"
changed = [k for k in sparse if old[k] != new[k]]
if sys.argv[3] == "frozen":
    assert not changed, changed
else:
    assert changed, "nothing sparse was trained"
assert new["blocks.0.attention.qkv.weight"] != old["blocks.0.attention.qkv.weight"]
'
for task in vqa classify; do
    expect 0 python3 -c "$frozen_check" run/step-00000006 "$task/step-00000004" frozen
done
expect 0 python3 -c "$frozen_check" run/step-00000006 nli/step-00000004 trained

# stops when no evaluation gets better: with a learning rate of 0 none does
expect 0 train nli "run.out=$work/patient" run.steps=40 optim.lr=0 task.patience=2
[ -d patient/step-00000006 ] && [ ! -d patient/step-00000008 ] || fail "patience of 2 evaluations after step 2 ends elsewhere than at step 6"

# what does not fit
expect 3 train vqa "run.out=$work/no" model.width=32
complained "tensor word_embedding.weight has shape"
complained "(checkpoint and config: model.width: 16 and 32)"
expect 3 train vqa "run.out=$work/no" model.layers=4
complained "tensor blocks.3.norm1.weight is missing (checkpoint and config: model.layers: 3 and 4)"
expect 2 train vqa "run.out=$work/no" task.init="$work/tokeniser"
complained "has no encoder"
expect 4 train vqa "run.out=$work/no" task.init="$work/nowhere"
complained "task.init"
expect 0 "$BIN/vlmoe-data" vocab --in "$work/art/train_text.txt" --size 58 --out "$work/other.model"
expect 2 train vqa "run.out=$work/no" data.text_model="$work/other.model"
complained "is not the text model of task.init"
expect 0 train classify "run.out=$work/random" task.init= run.steps=1
complained "routers and experts stay random"
# a held-out loss is that of the labels as they are
for share in 0 0.5; do
    expect 0 "$BIN/vlmoe-eval" --checkpoint classify "task.label_smoothing=$share" --json "smooth$share.json"
done
python3 -c 'import json; a, b = (json.load(open(f"smooth{s}.json"))["held_out"]["task_loss"] for s in ("0", "0.5")); assert a == b, (a, b)' ||
    fail "label smoothing changes a held-out loss"

# kinds of answers by the data's own words: long ones, quotes, other scripts
python3 - "$work" <<'PYTHON'
import json, sys, tiny_tasks
words = ["颜色与形状的问题" * 6, 'say "yes"\\', "x" * 200 + "1", "x" * 200 + "2"] * 2
facts = [{"pictures": [i], "labels": [0], "scores": [1.0], "answers": ["red"] * 10, "answer_type": word} for i, word in enumerate(words)]
with open("tasks/vqa_val/labels.txt") as labels:
    names = labels.read().split()
with open("art/red_circle.png", "rb") as file:
    pictures = [file.read()] * len(words)
tiny_tasks.write_set(sys.argv[1], "vqa_kinds", [{"txt": b"which colour", "json": json.dumps(f).encode()} for f in facts], names, pictures)
PYTHON
kinds="data.val_pairs=[\"$work/tasks/vqa_kinds\"]"
expect 0 train vqa "$kinds" "run.out=$work/kinds"
rm -r kinds/step-00000004
echo "no record" >>kinds/metrics.jsonl
expect 0 train vqa "$kinds" "run.out=$work/kinds" --resume
complained "metrics.jsonl: 1 lines are no records"
python3 - <<'PYTHON' || fail "records with the data's own words"
import json
def keys(pairs):
    assert len({k for k, _ in pairs}) == len(pairs), pairs
    return dict(pairs)
found = [json.loads(line, object_pairs_hook=keys) for line in open("kinds/metrics.jsonl", encoding="utf-8")]
evaluations = [r for r in found if r["kind"] == "eval"]
assert [r["step"] for r in evaluations] == [2, 4], evaluations
for r in evaluations:
    names = [k[9:] for k in r if k.startswith("accuracy ")]
    assert len(names) == 4 and 'say "yes"\\' in names and any(n.startswith("颜色") for n in names), names
    assert list(r).index("majority") < list(r).index("chance")
PYTHON

# a held-out set of other classes
cp -r tasks/vqa_val tasks/vqa_turned
tac tasks/vqa_val/labels.txt >tasks/vqa_turned/labels.txt
expect 2 train vqa "data.val_pairs=[\"$work/tasks/vqa_turned\"]" "run.out=$work/no"
complained "labels.txt of data.pairs and labels.txt of data.val_pairs name other classes from line 1 on"
sed -i 's/red/pink/' tasks/vqa_val/labels.txt
expect 2 "$BIN/vlmoe-eval" --checkpoint vqa
complained "labels.txt"

# as many pictures as COCO's test set has are scored by folds of a thousand too
many=$(printf '"%s",' $(yes "$work/tasks/retrieval_val" | head -625))
expect 0 "$BIN/vlmoe-eval" --checkpoint retrieval "data.val_pairs=[${many%,}]" data.val_samples=5000 data.pairs_per_group=100 task.rerank=0
said "5000 pairs"
said "1K image R@10"
expect 0 "$BIN/vlmoe-eval" --checkpoint retrieval task.rerank=0
! grep -q "1K" "$work/.out" || fail "8 pictures have folds"
