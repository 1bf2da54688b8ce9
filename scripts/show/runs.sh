# Sourced after support.sh by scripts that compare runs: $config and settings=() say what is run, in $scratch/NAME.
train=$build/vlmoe-train

value_of() { # value_of SECTION KEY: of the resolved config
    "$train" --config "$config" "${settings[@]}" --print-config | "$python" -c \
        "import json, sys; print(json.load(sys.stdin)['$1']['$2'])"
}

run_of() { # run_of NAME SETTING...: the command of a run in $scratch/NAME
    command=("$train" --config "$config" "${settings[@]}" "run.out=$scratch/$1" run.keep_last=1 "${@:2}")
}

whole() { # whole NAME SETTING...: a run that must complete; ${launch[@]} stands before it
    run_of "$@"
    "${launch[@]}" "${command[@]}" >"$scratch/$1.log" 2>&1 || { tail -n 3 "$scratch/$1.log"; fail "a run ended with an error: $*"; }
}

done_steps() { # done_steps NAME: by its records
    cat "$scratch/$1/metrics.jsonl" 2>/dev/null | grep -c '"kind": "train"' || true
}

# stopped NAME AT SETTING...: start or resume, ask to stop once AT steps are recorded. 0 where it stopped in time. mpirun is asked by
# SIGUSR1, which it passes on; TERM it would turn into a kill.
stopped() { # no program may stand before mpirun that would take the signal
    local name=$1 at=$2 code=0 pid signal=TERM
    shift 2
    run_of "$name" --resume "$@"
    [ ${#launch[@]} -eq 0 ] || signal=USR1
    "${launch[@]}" "${command[@]}" >"$scratch/$name.log" 2>&1 &
    pid=$!
    while [ "$(done_steps "$name")" -lt "$at" ] && kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
    kill -$signal "$pid" 2>/dev/null || true
    wait "$pid" || code=$?
    [ "$code" -eq 0 ] || [ "$code" -eq 10 ] || { tail -n 3 "$scratch/$name.log"; fail "the stopped run ended with $code"; }
    [ "$code" -eq 10 ]
}

records() { # records NAME: its metrics without times
    sed -E 's/, "(wait_)?seconds": [^,}]*//g' "$scratch/$1/metrics.jsonl"
}

same() { # same TITLE A B: every file of the last checkpoints, and the records; B is deleted
    local title=$1 folder file n=0 bytes=0 verdict=equal
    folder=$(basename "$(ls -d "$scratch/$2"/step-* | tail -n 1)")
    diff <(ls "$scratch/$2/$folder") <(ls "$scratch/$3/$folder") >/dev/null || verdict="other files"
    for file in "$scratch/$2/$folder"/*; do
        cmp "$file" "$scratch/$3/$folder/$(basename "$file")" || verdict=DIFFERENT
        n=$((n + 1))
        bytes=$((bytes + $(stat -c %s "$file")))
    done
    cmp -s <(records "$2") <(records "$3") || verdict="$verdict, records DIFFERENT"
    printf '%-58s %s, %d files, %d bytes: %s\n' "$title" "$folder" "$n" "$bytes" "$verdict"
    [ "$verdict" = equal ] || short "$title"
    rm -rf "${scratch:?}/$3"
}

# another_seed DTYPE: a comparison that cannot fail shows nothing, so another seed must give another model.
another_seed() {
    local model
    whole base "run.dtype=$1"
    whole other "run.dtype=$1" "run.seed=$(($(value_of run seed) + 1))"
    model=$(basename "$(ls -d "$scratch"/base/step-* | tail -n 1)")/model.safetensors
    if cmp -s "$scratch/base/$model" "$scratch/other/$model"; then short "another seed gives the same model"; else echo "another seed: another model"; fi
    rm -rf "$scratch/base" "$scratch/other"
}
launch=()
