#!/bin/bash
# A save that fails on one rank: said once, with that rank named once, and nothing is left of it.
# usage: BIN=… SOURCE=… FAULTY=… failed_save.sh
. "$SOURCE/tests/cli/support.sh"
expect 0 python3 "$SOURCE/tests/support/tiny_data.py" tiny --bin "$BIN"
run=("$FAULTY" --config tiny/tiny.json run.groups=4 run.save_every=2 run.report=false run.deadline=60)

one_message() { # REGEX: all of the complaint's last line
    tail -n 1 .err | grep -qxE "vlmoe-train: $1" || fail "not '$1'"
    ! grep -qE 'rank [0-9]+: rank' .err || fail "a rank is named twice"
}

fails() { # FAULT RANKS REGEX
    export VLMOE_TEST_FAULT=$1
    expect 4 "${run[@]}" run.out=lost run.ranks="$2"
    one_message "$3"
    ! ls -A lost | grep -q '^step-\|^\.tmp' || fail "a failed save left $(ls -A lost)"
    rm -r lost
}

for ranks in 2 4; do # file i, by name, is rank i's to measure: config.json, model.safetensors, optimiser.safetensors, ...
    fails unread_moments $ranks "rank $((2 % ranks)): cannot read .*optimiser.safetensors: made up"
    fails unwritten_list $ranks "rank 0: cannot write the list of files: made up"
done
unset VLMOE_TEST_FAULT
expect 0 "${run[@]}" run.out=kept run.ranks=2 run.steps=2
