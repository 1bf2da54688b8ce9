# Sourced by most of the scripts here: options that they share, the build, the demo's data, a scratch folder, the closing line.
# A script that sources this calls show_begin first and show_end last.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$(realpath -m "${VLMOE_BUILD:-$root/build}")
python=${VLMOE_PYTHON:-python3}
shortfalls=()

fail() { # it could not be tried: neither HOLDS nor FALLS SHORT
    echo "$show: $1" >&2
    exit 1
}

show_begin() { # show_begin NAME: enters the repository, makes $scratch
    show=$1
    cd "$root"
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/vlmoe-$show.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
}

show_help() { # the comment that opens the script
    sed -n '2,/^[^#]/s/^# //p' "$0"
}

short() { # short WHAT: notes what does not hold
    shortfalls+=("$1")
}

show_end() { # the closing line and the exit code
    if [ ${#shortfalls[@]} -gt 0 ]; then
        local line
        line=$(printf '%s; ' "${shortfalls[@]}")
        echo "FALLS SHORT: ${line%; }"
        exit 1
    fi
    echo "HOLDS"
}

need_tools() { # need_tools TOOL...
    local tool missing=no
    for tool in "$@"; do [ -x "$build/$tool" ] || missing=yes; done
    [ "$missing" = yes ] || return 0
    echo "$show: building into $build"
    cmake -G Ninja -S . -B "$build" -DCMAKE_BUILD_TYPE=Release >"$scratch/build.log" 2>&1 &&
        cmake --build "$build" -j "${VLMOE_JOBS:-$(nproc)}" >>"$scratch/build.log" 2>&1 ||
        { tail -n 20 "$scratch/build.log" >&2; fail "the build failed"; }
}

need_current_build() { # tools, both libraries and headers must be of one state where they are compared
    need_tools vlmoe-train vlmoe-data
    cmake --build "$build" -j "${VLMOE_JOBS:-$(nproc)}" >"$scratch/build.log" 2>&1 ||
        { tail -n 20 "$scratch/build.log" >&2; fail "the build failed"; }
}

need_demo() { # the demo's data and image tokeniser, as the quick start makes them
    if [ ! -e data/emoji/text.model ] || [ ! -d data/emoji/shards/train_pairs ]; then
        echo "$show: making the demo's data"
        scripts/data/make_demo.sh --out data/emoji --build "$build" >/dev/null || fail "no demo data"
    fi
    if ! ls -d runs/emoji_tokeniser/step-* >/dev/null 2>&1; then
        echo "$show: training the demo's image tokeniser (about a minute)"
        "$build/vlmoe-train" --config configs/emoji_tokeniser.json >/dev/null || fail "the image tokeniser's training failed"
    fi
}

need_tasks() { # the demo's labelled sets
    need_demo
    if [ ! -d data/tasks/fashion/shards/val ]; then
        echo "$show: making the labelled sets"
        scripts/data/make_tasks.sh --build "$build" >"$scratch/tasks.log" 2>&1 || { tail -n 5 "$scratch/tasks.log" >&2; fail "no labelled sets"; }
    fi
}

need_run() { # need_run NAME WHAT: the finished pretraining configs/NAME.json in runs/NAME
    if ! ls -d "runs/$1/step-00001000" >/dev/null 2>&1; then
        echo "$show: $2 is trained first"
        need_demo
        "$build/vlmoe-train" --config "configs/$1.json" --resume || fail "$2 failed"
    fi
}

need_pretrained() {
    need_run emoji_quick "the quick run (about three minutes)"
}

need_bench_data() { # what scripts/bench/make_data.sh makes of the demo's
    if ! ls -d data/bench/tokeniser/step-* >/dev/null 2>&1; then
        need_demo
        echo "$show: making the benches' data"
        scripts/bench/make_data.sh --build "$build" >/dev/null 2>&1 || fail "no data for the benches"
    fi
}

need_recorded_routing() {
    if [ ! -s data/bench/recorded.txt ]; then
        need_demo
        mkdir -p data/bench
        echo "$show: recording what a trained router chooses (about two minutes)"
        scripts/bench/record_routing.sh --build "$build" --out data/bench/recorded.txt || fail "no recorded routing"
    fi
}

measured() { # measured SCRIPT ARGUMENT...: prints what it prints, and notes what it finds short in its last line
    : >"$scratch/measured" # there before tail looks for it
    "${VLMOE_PYTHON:-/usr/bin/python3}" "$@" >>"$scratch/measured" 2>"$scratch/complaint" &
    local line
    child=$! # for the trap
    trap 'kill $child 2>/dev/null || true; rm -rf "$scratch"' EXIT
    trap 'exit 130' INT TERM
    tail -n +1 -f --pid=$child "$scratch/measured" | grep --line-buffered -v '^short: ' || true
    wait $child || fail "$(tail -n 1 "$scratch/complaint")"
    [ "${write_docs:-no}" = no ] || "$python" scripts/bench/write_section.py "$show" "$scratch/measured" docs/PERFORMANCE.md
    line=$(sed -n 's/^short: //p' "$scratch/measured")
    [ -n "$line" ] || fail "$1 did not end"
    while IFS= read -r what; do
        [ -z "$what" ] || short "$what"
    done < <("$python" -c 'import json, sys; print("\n".join(json.loads(sys.argv[1])))' "$line")
}
