#!/bin/bash
# The page of a tuned run: one sound file for every task, with the run's own scores and what the model answers.
. "$(dirname "$0")/support.sh"
train=$BIN/vlmoe-train
inspect=$BIN/vlmoe-inspect
PYTHONPATH="$SOURCE/tests/support"
export PYTHONPATH PYTHONDONTWRITEBYTECODE=1

page() { # page FILE [--has TEXT ...] [--lacks TEXT ...]: it is a sound page that says so
    python3 "$SOURCE/tests/support/check_page.py" "$@" >"$work/.out" 2>"$work/.err" || fail "page $1"
    [ "$(stat -c %s "$1")" -lt 3000000 ] || fail "$1 has $(stat -c %s "$1") bytes"
}

tune() { # tune TASK [setting ...]: a run that names its page
    expect 0 "$train" --config "$work/$1.json" run.steps=2 "${@:2}"
}

percent() { # percent RUN KEY: of the newest evaluation, as the page writes it
    python3 -c '
import json, sys
last = [r for r in map(json.loads, open(sys.argv[1] + "/metrics.jsonl")) if r["kind"] == "eval"][-1]
print("%.1f\u202f%%" % (100 * last[sys.argv[2]]))' "$1" "$2"
}

expect 0 python3 "$SOURCE/tests/support/tiny_data.py" "$work" --bin "$BIN"
expect 0 "$train" --config "$work/tiny.json" run.report=false
expect 0 python3 "$SOURCE/tests/support/tiny_tasks.py" "$work"

# ---- each task
never="could not|Image codes|hidden from the model|Masked pretraining|missing"
lacks() { tr '|' '\n' <<<"$never"; }
mapfile -t never_said < <(lacks)

tune vqa
said "report $work/vqa/report.html"
page vqa/report.html --has "Tuning on visual question answering. Complete: 2 steps." "VQA accuracy" "$(percent vqa accuracy)" \
    "which colour has the" "right: " "(8)" "On the examples" "Load of held-out tokens" "The whole config" --lacks "${never_said[@]}"
tune nlvr2
page nlvr2/report.html --has "Tuning on statements about two pictures" "consistency" "chance 50.0 %" "and the other are" \
    "$(percent nlvr2 accuracy)" "$(percent nlvr2 consistency)" --lacks "${never_said[@]}"
[ "$(grep -o '<img alt="held-out picture"' nlvr2/report.html | wc -l)" -eq 12 ] || fail "not two pictures for each of 6 statements"
tune classify
page classify/report.html --has "Tuning on classes of pictures" "top-1" "top-5" "$(percent classify top1)" --lacks "${never_said[@]}"
tune nli
page nli/report.html --has "Tuning on what follows from a text" "matched" "entailment" "there is a" --lacks "${never_said[@]}"
tune retrieval
page retrieval/report.html --has "Tuning on finding texts" "texts found first" "by similarity alone" "$(percent retrieval 'text R@5')" \
    "$(percent retrieval 'dual image R@10')" "log-odds of matching" "on paper / the" --lacks "${never_said[@]}"
tune retrieval run.out=plain task.rerank=0
page plain/report.html --has "texts of a picture" --lacks "by similarity alone, " "log-odds" "${never_said[@]}"

# What the lists show is what recalls count: with as many held-out pictures as are shown, the share of them whose first text is right is R@1.
for more in "" task.rerank=0; do
    expect 0 "$BIN/vlmoe-eval" --checkpoint retrieval --limit 4 --json eval.json $more
    expect 0 "$inspect" retrieval --report --limit 4 --out few.html $more
    python3 - <<'PYTHON' || fail "lists and recalls differ"
import json, re
lists = re.findall(r'<ol class="found"><li(| class="ok")>', open("few.html").read())
want = json.load(open("eval.json"))["held_out"]["text R@1"]
assert len(lists) == 4 and sum(x != "" for x in lists) == 4 * want, (lists, want)
PYTHON
done

# ---- when there is none, and what may be missing
tune vqa run.out=quiet run.report=false
[ ! -e quiet/report.html ] || fail "run.report=false writes a page"
expect 0 "$inspect" vqa --report --out again.html
expect 0 "$inspect" vqa --report --out twice.html
cmp -s again.html twice.html || fail "two pages of one run differ"
mv vqa/metrics.jsonl kept.jsonl
expect 0 "$inspect" vqa/step-00000002 --report --out bare.html
page bare.html --has "There are no records" "What the checkpoint reaches" "VQA accuracy" "which colour has the"
mv kept.jsonl vqa/metrics.jsonl
mkdir records
cp nlvr2/metrics.jsonl nlvr2/config.json records
expect 0 "$inspect" records --report
page records/report.html --has "The run saved no checkpoint" "$(percent records accuracy)" "Load over the run" --lacks "Load of held-out tokens"
# what --data names is about held-out data, not about the run
expect 0 "$inspect" vqa --report --data nlvr2.json --out other.html
page other.html --has "Complete: 2 steps." "visual question answering" --lacks '"nlvr2"'
mv tasks gone
expect 0 "$inspect" vqa --report
page vqa/report.html --has "Held-out data could not be shown" "$(percent vqa accuracy)"
mv gone tasks
tune vqa run.out=blind 'data.val_pairs=[]'
page blind/report.html --has "This run evaluated nothing" "no held-out data" "There are no scores"

# ---- a page that cannot be written is a warning
mkdir -p stuck/report.html/full
tune nli run.out=stuck
complained "warning: report: no report was written"
exit 0
