#!/bin/bash
# From a clean clone to a trained model: packages, build, demo data, image tokeniser, pretraining, evaluation, and a task to tune it on.
# Stages that are done are skipped, so an interrupted run is taken up where it stood.
# usage: scripts/quickstart.sh [--fresh] [--until STAGE]     stages: setup build data tokeniser pretrain evaluate
#                                                                    captions tune
#   --fresh  throws away what earlier quickstarts made (build/, data/emoji/, data/tasks/emoji/, runs/emoji_*) and begins again
#   VLMOE_JOBS: parallel compile jobs, default the number of processors
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
STAGES=(setup build data tokeniser pretrain evaluate captions tune)
STOPPED=10 # exit code of the tools when they were asked to stop and have saved
NEEDED_MIB=1500 # packages 400, build 150, data 200, runs 100, and room
fresh=no
until=tune
fail() {
    echo "quickstart: $1" >&2
    exit 1
}
while [ $# -gt 0 ]; do
    case $1 in
    --fresh) fresh=yes ;;
    --until) until=${2:?--until needs a stage}; shift ;;
    *)
        sed -n '4,7s/^# //p' "$0" >&2
        exit 2
        ;;
    esac
    shift
done
[[ " ${STAGES[*]} " == *" $until "* ]] || fail "no stage '$until'; stages: ${STAGES[*]}"

state=runs/quickstart # what is done, and each stage's full output
if [ "$fresh" = yes ]; then
    rm -rf build data/emoji data/tasks/emoji runs/emoji_tokeniser runs/emoji_quick runs/emoji_retrieval "$state"
fi
mkdir -p "$state" 2>/dev/null || fail "cannot write below $root: clone to a folder of yours"
free_mib=$(df -Pm "$root" | awk 'NR == 2 { print $4 }')
if [ "$free_mib" -lt "$NEEDED_MIB" ] && [ ! -e "$state/data.done" ]; then
    fail "$root has $free_mib MiB free; $NEEDED_MIB are needed"
fi

# The mark of a finished stage holds a digest of what went into it; another digest means it runs again.
digest_of() {
    case $1 in
    setup | build) date +%s.%N ;; # quick where nothing is to do, and they know best
    data) cat scripts/data/* ;;
    tokeniser) cat "$state/data.done" configs/emoji_tokeniser.json configs/base/* ;;
    pretrain) cat "$state/tokeniser.done" configs/emoji_quick.json configs/base/* ;;
    evaluate) cat "$state/pretrain.done" ;;
    captions) cat "$state/data.done" ;;
    tune) cat "$state/pretrain.done" "$state/captions.done" configs/tasks/emoji_retrieval.json configs/base/* ;;
    esac | sha256sum | cut -d ' ' -f 1
}

stage_setup() { scripts/setup.sh; }
stage_build() {
    cmake -G Ninja -S . -B build -DCMAKE_BUILD_TYPE=Release
    cmake --build build -j "${VLMOE_JOBS:-$(nproc)}"
}
stage_data() { scripts/data/make_demo.sh --out data/emoji --build build; }
stage_tokeniser() { build/vlmoe-train --config configs/emoji_tokeniser.json --resume; }
stage_pretrain() { build/vlmoe-train --config configs/emoji_quick.json --resume; }
stage_evaluate() { build/vlmoe-eval --config configs/emoji_quick.json; }
stage_captions() { scripts/data/make_tasks.sh --drawings --build build; }
stage_tune() {
    build/vlmoe-train --config configs/tasks/emoji_retrieval.json --resume
    build/vlmoe-eval --checkpoint runs/emoji_retrieval >"$state/scores.log"
}

title_of() {
    case $1 in
    setup) echo "Debian packages" ;;
    build) echo "build libvlmoe" ;;
    data) echo "demo data from Debian packages" ;;
    tokeniser) echo "train the image tokeniser" ;;
    pretrain) echo "pretrain on images, texts and pairs" ;;
    evaluate) echo "evaluate on held-out drawings" ;;
    captions) echo "drawings and captions as a labelled set" ;;
    tune) echo "tune on finding captions and drawings" ;;
    esac
}

# The long stages talk while they work; the others only when they fail (the evaluation is shown at the end).
is_loud() { case $1 in setup | tokeniser | pretrain | tune) return 0 ;; *) return 1 ;; esac; }

times=()
run_stage() {
    local name=$1 log=$state/$1.log started=$SECONDS status=0 digest
    digest=$(digest_of "$name")
    if [ "$(cat "$state/$name.done" 2>/dev/null)" = "$digest" ]; then
        echo "== $(title_of "$name"): done before"
        times+=("$(printf '%-38s done before' "$(title_of "$name")")")
        return
    fi
    rm -f "$state/$name.done"
    # A training that was broken off is resumed, unless it had begun from other inputs.
    if [ "$(cat "$state/$name.begun" 2>/dev/null)" != "$digest" ]; then
        case $name in
        tokeniser) rm -rf runs/emoji_tokeniser ;;
        pretrain) rm -rf runs/emoji_quick ;;
        tune) rm -rf runs/emoji_retrieval ;;
        esac
    fi
    echo "$digest" >"$state/$name.begun"
    echo "== $(title_of "$name")"
    # A subshell with -e, not a condition: in a condition bash would run on after a command that failed.
    set +e
    if is_loud "$name"; then
        (set -e && "stage_$name") 2>&1 | tee "$log"
        status=${PIPESTATUS[0]}
    else
        (set -e && "stage_$name") >"$log" 2>&1
        status=$?
    fi
    set -e
    if [ "$status" -eq "$STOPPED" ]; then
        fail "stopped on request; the same command goes on from here"
    elif [ "$status" -ne 0 ]; then
        is_loud "$name" || tail -n 30 "$log" >&2
        fail "'$(title_of "$name")' failed with status $status; its output: $state/$name.log"
    fi
    echo "$digest" >"$state/$name.done"
    times+=("$(printf '%-38s %5d s' "$(title_of "$name")" $((SECONDS - started)))")
}

for stage in "${STAGES[@]}"; do
    run_stage "$stage"
    if [ "$stage" = "$until" ]; then break; fi
done

echo
printf '%s\n' "${times[@]}"
printf '%-38s %5d s\n' "together" "$SECONDS"
if [ -e "$state/evaluate.done" ]; then
    echo
    cat "$state/evaluate.log"
    echo
    if [ -e runs/emoji_quick/report.html ]; then
        echo "Report: file://$root/runs/emoji_quick/report.html (curves, examples, experts; open it in a browser)"
    fi
    echo "Results: runs/emoji_quick (checkpoints, metrics), $state (each stage's output)"
fi
if [ -e "$state/tune.done" ]; then
    echo
    cat "$state/scores.log"
    if [ -e runs/emoji_retrieval/report.html ]; then
        echo "Report: file://$root/runs/emoji_retrieval/report.html (curves, recalls, what is found for held-out drawings and captions)"
    fi
    echo "Tuned model: runs/emoji_retrieval"
    echo "Ask it:  build/vlmoe-eval predict --checkpoint runs/emoji_retrieval --text 'a cat' --images data/emoji/images/emojione"
fi
