#!/bin/bash
# The page of a run: whole, self-contained and telling on every kind of run, and never a reason for a run to fail.
. "$(dirname "$0")/support.sh"
train=$BIN/vlmoe-train
inspect=$BIN/vlmoe-inspect
python3 "$SOURCE/tests/support/tiny_data.py" world --bin "$BIN" >.out 2>.err || fail "tiny_data.py"
config=world/tiny.json
: >.out

page() { # page FILE [--has TEXT ...] [--lacks TEXT ...]: it is a sound page that says so
    python3 "$SOURCE/tests/support/check_page.py" "$@" >"$work/.out" 2>"$work/.err" || fail "page $1"
    [ "$(stat -c %s "$1")" -lt 3000000 ] || fail "$1 has $(stat -c %s "$1") bytes"
}

# ---- a run writes its page and says where
expect 0 "$train" --config "$config" run.out=run run.eval_every=3 run.save_every=3
said "report run/report.html"
page run/report.html --has "Complete: 6 steps." "Load of held-out tokens" "block 1, vision" "block 0, text" "block 1, text" \
    "what the model saw" "drawn from its own codes" "pictures of pairs" "What each expert takes" "of 16 codes in use" \
    "model.width" "The whole config" --lacks "could not" "cannot"
expect 0 "$train" --config "$config" run.out=quiet run.report=false
[ ! -e quiet/report.html ] || fail "run.report=false writes a page"
expect 0 "$train" --config "$config" run.out=one run.steps=1 run.groups=1
page one/report.html --has "Complete: 1 steps."

# ---- from a run's folder or a checkpoint; the same bytes twice
expect 0 "$inspect" run --report --out again.html
said "again.html"
expect 0 "$inspect" run --report --out twice.html
cmp -s again.html twice.html || fail "two pages of one run differ"
expect 0 "$inspect" run/step-00000003 --report --limit 2
said "run/report-step-00000003.html"
page run/report-step-00000003.html --has "Examples and experts are those of step 3." "2 images, 2 texts and 2 pairs"
expect 0 "$inspect" run --report --out free.html moe.capacity_factor=0
expect 4 "$inspect" nowhere --report
expect 4 "$inspect" run --report --out no/such/folder.html
complained "no/such"
expect 2 "$inspect" run --out x.html
complained "goes with --report"
expect 2 "$inspect" world/text.model --report
expect 2 "$inspect" run --report --routing
ln -s real.html link.html # what is no plain file is written to, not replaced
expect 0 "$inspect" run --report --out link.html
[ -L link.html ] && [ -s real.html ] || fail "a link was replaced"

# ---- records of a killed run; records with gaps; none
cp -r run killed
printf '{"kind": "train", "step": 7, "loss": 1' >>killed/metrics.jsonl
expect 0 "$inspect" killed --report
page killed/report.html --has "1 of 9 lines of the records could not be read"
sed 's/"text_loss": [0-9.e-]*/"text_loss": null/; s/"loss": [0-9.e-]*, /"loss": NaN, /' run/metrics.jsonl >killed/metrics.jsonl
expect 0 "$inspect" killed --report
page killed/report.html --has "8 of 8 lines of the records could not be read"
rm killed/metrics.jsonl
expect 0 "$inspect" killed --report
page killed/report.html --has "There are no records" "Load of held-out tokens"
mkdir records
cp run/metrics.jsonl run/config.json records
expect 0 "$inspect" records --report
page records/report.html --has "The run saved no checkpoint" "Load over the run" --lacks "Load of held-out tokens"

# ---- what may be missing
mv world/tokeniser world/away
expect 0 "$inspect" run --report
page run/report.html --has "drawn from its own codes" --lacks "could not" # the checkpoint holds its image tokeniser
mv world/away world/tokeniser
mv world/shards world/gone
expect 0 "$inspect" run --report
page run/report.html --has "Held-out data could not be shown" "Load over the run"
mv world/gone world/shards

expect 0 "$train" --config "$config" run.out=blind 'data.val_images=[]' 'data.val_texts=[]' 'data.val_pairs=[]'
page blind/report.html --has "This run evaluated nothing" "no held-out data" "Load over the run"
expect 0 "$train" --config "$config" run.out=dense 'moe.v_layers=[]' 'moe.t_layers=[]'
page dense/report.html --has "no sparse layer" "what the model saw" --lacks "Load over the run"
expect 0 "$train" --config "$config" run.out=single 'data.pairs=[]' 'data.val_pairs=[]' data.pairs_per_group=0
page single/report.html --has "words of texts" "hidden patches predicted" --lacks "words of pairs right"
expect 0 "$train" --config "$config" run.out=codeless objective.image_weight=0 objective.pair_image_weight=0 data.image_tokeniser=
page codeless/report.html --has "predicts no image codes" "This model has no image codes." "hidden:"
expect 0 "$train" --config "$config" run.out=texts 'data.pairs=[]' 'data.val_pairs=[]' 'data.images=[]' 'data.val_images=[]' \
    data.pairs_per_group=0 data.images_per_group=0
page texts/report.html --has "block 1, text" --lacks "block 1, vision" # a sparse vision layer that meets no token
expect 0 "$train" --config "$config" run.out=two moe.k=2 moe.capacity_factor=0.6 moe.order=token
page two/report.html --has "first come, first served"
expect 0 "$train" --config world/tokeniser.json run.out=tokeniser
page tokeniser/report.html --has "Training of an image tokeniser" "Reconstruction error" "of 16 codes in use" --lacks "Drops by task"

# ---- a page that cannot be written is a warning
mkdir -p stuck/report.html/full
expect 0 "$train" --config "$config" run.out=stuck
complained "warning: report: no report was written"
expect 6 "$train" --config "$config" run.out=bad optim.lr=100 optim.warmup=0 optim.clip=0 run.steps=60 model.init_std=1
page bad/report.html --has "Failed: step"
exit 0
