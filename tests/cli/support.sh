# Sourced by the tests of the tools: an empty working folder, and checks of exit codes and output.
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

fail() {
    echo "FAILED: $*" >&2
    echo "--- standard output" >&2
    cat "$work/.out" >&2
    echo "--- standard error" >&2
    cat "$work/.err" >&2
    exit 1
}

# expect CODE COMMAND...: run it, keep its output for said and complained
expect() {
    local want=$1 got=0
    shift
    "$@" >"$work/.out" 2>"$work/.err" || got=$?
    [ "$got" -eq "$want" ] || fail "'$*' ended with $got, expected $want"
}

said() { # the last command's standard output has TEXT
    grep -qF -- "$1" "$work/.out" || fail "no '$1' on standard output"
}

complained() { # and its standard error
    grep -qF -- "$1" "$work/.err" || fail "no '$1' on standard error"
}
