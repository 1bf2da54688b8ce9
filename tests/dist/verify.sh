#!/bin/bash
# vlmoe-train --verify with one of the faults of faults.c, over ranks as threads: what is said without the fault, then with it.
# usage: BIN=… SOURCE=… FAULTY=… verify.sh FAULT | options
. "$SOURCE/tests/cli/support.sh"
settings=(run.out=run run.deadline=60 run.groups=8 run.save_every=2 run.keep_last=9 run.report=false moe.capacity_factor=1.05)
resume=()
expect 0 python3 "$SOURCE/tests/support/tiny_data.py" tiny --bin "$BIN"

verify() { # verify CODE RANKS
    expect "$1" "$FAULTY" --config tiny/tiny.json "${settings[@]}" "run.ranks=$2" --verify=2 "${resume[@]}"
}

options() { # what is asked of it wrongly, and both precisions, recompute, moments in bf16 and the image tokeniser's task
    local train=("$BIN/vlmoe-train" --config tiny/tiny.json "${settings[@]}") more
    expect 2 "${train[@]}" --verify
    complained "--verify compares several ranks with one"
    expect 2 "${train[@]}" run.ranks=2 --verify=0
    expect 2 "${train[@]}" run.ranks=3 --verify
    expect 2 "${train[@]}" run.ranks=2 run.memory_mib=1 --verify
    complained "run.memory_mib = 1: this config needs at least"
    for more in "run.dtype=bf16 optim.moments=bf16" "run.recompute=true moe.k=2"; do
        expect 0 "${train[@]}" run.ranks=4 $more --verify=1
        said "layout of 4 ranks equals one rank over 1 step: "
    done
    expect 0 "$BIN/vlmoe-train" --config tiny/tokeniser.json "${settings[@]}" run.groups=4 run.ranks=2 --verify
    said "layout of 2 ranks equals one rank over 3 steps: "
    [ ! -e run ] || fail "something was written to run.out"
    expect 0 "${train[@]}"
    expect 2 "${train[@]}" run.ranks=2 --resume --verify
    complained "all 6 steps of this run are done"
    exit 0
}

case $1 in
options) options ;;
expert_gradient) want=("step 1: gradient norm: " "gradient that differs is that of blocks.0.ffn_t.experts.0.fc1.weight") ;;
local_norm) want=("step 1: gradient norm: " "but no gradient") ;;
balance_count) want=("step 1: loss: " "its parts are equal but for their weights") ;;
swapped_experts)
    want=("before the first step: blocks.0.ffn_t.experts.0.fc1.weight differs (values, first moment, second moment)")
    expect 0 "$BIN/vlmoe-train" --config tiny/tiny.json "${settings[@]}"
    rm -r run/step-00000006
    resume=(--resume)
    ;;
neighbours_capacity) want=("step 1: loss of " "dropped choices of block 0, text: ") ;;
*) fail "there is no fault $1" ;;
esac
before=$(ls -lR --time-style=full-iso run 2>/dev/null)
for ranks in 2 4; do
    unset VLMOE_TEST_FAULT
    verify 0 $ranks
    said "layout of $ranks ranks equals one rank over 2 steps: losses, drops, gradient norm, "
    export VLMOE_TEST_FAULT=$1
    verify 9 $ranks
    for text in "${want[@]}"; do said "$text"; done
    tail -n 1 .out
done
[ "$before" = "$(ls -lR --time-style=full-iso run 2>/dev/null)" ] || fail "something was written to run.out"
