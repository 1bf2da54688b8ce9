#!/bin/bash
# Builds with warnings as errors and runs the tests and checks. The closing line counts tests.
# usage: scripts/test.sh [--full]
#   --full  (also when CI is set in the environment) adds the sanitizers and, where installed, clang-tidy
#   VLMOE_JOBS: parallel jobs, default the number of processors.  Builds lie below build-test/.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
full=no
case ${CI:-} in "" | 0 | false | no) ;; *) full=yes ;; esac
for arg in "$@"; do
    case $arg in
    --full) full=yes ;;
    *)
        sed -n '3,5s/^# //p' "$0" >&2
        exit 2
        ;;
    esac
done
jobs=${VLMOE_JOBS:-$(nproc)}
passed=0
failed=0
broken=() # steps that did not succeed; all steps run, so one report names everything

step() { # step TITLE COMMAND...: runs it, notes a failure, prints its time
    local title=$1 started=$SECONDS status=0
    shift
    echo "== $title"
    "$@" || status=$?
    echo "== $title: $([ "$status" -eq 0 ] && echo ok || echo FAILED) ($((SECONDS - started)) s)"
    if [ "$status" -ne 0 ]; then broken+=("$title"); fi
    return 0
}

build() { # build FOLDER TARGETS... -- CMAKE_OPTIONS...
    local folder=$1 targets=()
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        targets+=("$1")
        shift
    done
    shift
    cmake -G Ninja -S . -B "build-test/$folder" -DVLMOE_WERROR=ON "$@" >"build-test/$folder.log" 2>&1 ||
        { cat "build-test/$folder.log"; return 1; }
    # ninja is silent while all is well; after an error its whole output is the report
    cmake --build "build-test/$folder" -j "$jobs" -- "${targets[@]}" >"build-test/$folder.log" 2>&1 ||
        { cat "build-test/$folder.log"; return 1; }
}

run_tests() { # run_tests FOLDER CTEST_ARGS...: adds to passed and failed
    local folder=$1 status=0 summary n_failed n_all
    shift
    ctest --test-dir "build-test/$folder" --output-on-failure --no-tests=error -j "$jobs" "$@" 2>&1 |
        tee "build-test/$folder.log" || status=$?
    summary=$(grep -E '^[0-9]+% tests passed' "build-test/$folder.log" || true)
    if [ -n "$summary" ]; then
        n_failed=$(sed -E 's/.*, ([0-9]+) tests? failed.*/\1/' <<<"$summary")
        n_all=$(sed -E 's/.* out of ([0-9]+).*/\1/' <<<"$summary")
        passed=$((passed + n_all - n_failed))
        failed=$((failed + n_failed))
    fi
    return "$status"
}

build_and_test() { # build_and_test FOLDER CTEST_REGEX CMAKE_OPTIONS...
    local folder=$1 regex=$2 targets=(all)
    shift 2
    if [ -n "$regex" ]; then # a test called folder/name is the target test_folder_name: build no more than is run
        build "$folder" help -- "$@" || return 1
        mapfile -t targets < <(ctest --test-dir "build-test/$folder" -N -R "$regex" |
            sed -nE -e 's|^ *Test +#[0-9]+: cli/.*$|vlmoe-train\nvlmoe-data|p; t' -e 's|^ *Test +#[0-9]+: ([a-z0-9]+)/([A-Za-z0-9_]+)$|test_\1_\2|p' | sort -u)
        [ ${#targets[@]} -gt 0 ] || { echo "no test matches $regex"; return 1; }
    fi
    build "$folder" "${targets[@]}" -- "$@" || return 1
    run_tests "$folder" ${regex:+-R "$regex"}
}

tidy() {
    command -v clang-tidy >/dev/null || { echo "clang-tidy is not installed (scripts/setup.sh --dev): skipped"; return 0; }
    local tool=(xargs -0 -r -n 4 -P "$jobs" clang-tidy --quiet -p build-test/release) status=0
    local hints=(--extra-arg=-D_GNU_SOURCE= --extra-arg=-include --extra-arg="$root/scripts/checks/tidy_hints.h")
    find src -name '*.c' ! -name base_error.c -print0 | "${tool[@]}" "${hints[@]}" 2>build-test/tidy.log || status=1
    find src/base/base_error.c kernels/cpu kernels/ref -name '*.c' -print0 | "${tool[@]}" 2>>build-test/tidy.log || status=1
    return "$status"
}

started=$SECONDS
mkdir -p build-test
scripts/setup.sh
step "release build and tests" build_and_test release "" -DCMAKE_BUILD_TYPE=Release
step "checks" scripts/checks/run.sh build-test/release
if [ "$full" = yes ]; then
    # A sanitizer's report must fail the test even where the code under test swallows errors.
    export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
    step "address and undefined-behaviour sanitizers" build_and_test asan "" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
        -DVLMOE_SANITIZE=address,undefined -DVLMOE_BUILD_EXAMPLES=OFF
    export TSAN_OPTIONS="halt_on_error=1 suppressions=$PWD/tests/support/tsan.supp" WITHOUT_MPI=1 # of cli/ranks: MPI is not built with it
    step "thread sanitizer" build_and_test tsan 'team|thread|prefetch|overlap|dist/state|train_ranks|cli/ranks' -DCMAKE_BUILD_TYPE=RelWithDebInfo \
        -DVLMOE_SANITIZE=thread -DVLMOE_BUILD_EXAMPLES=OFF
    step "clang-tidy" tidy
fi

if [ ${#broken[@]} -gt 0 ]; then
    printf 'test: FAILED: %s\n' "${broken[@]}"
fi
echo "test: $((SECONDS - started)) s"
echo "$passed passed, $failed failed"
[ ${#broken[@]} -eq 0 ] && [ "$failed" -eq 0 ]
