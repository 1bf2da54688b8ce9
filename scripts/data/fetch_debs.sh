#!/bin/bash
# Downloads Debian packages and unpacks them below a folder, without installing them. The archive's signatures
# are checked by apt. A package that is there already is not fetched again.
# usage: fetch_debs.sh FOLDER PACKAGE...      unpacks each into FOLDER/PACKAGE/
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: fetch_debs.sh FOLDER PACKAGE..." >&2
    exit 2
fi
mkdir -p "$1"
folder=$(cd "$1" && pwd)
shift
for tool in apt-get apt-cache dpkg-deb; do
    if ! command -v "$tool" >/dev/null; then
        echo "fetch_debs: needs $tool: the demo's data come from Debian's archive" >&2
        exit 1
    fi
done

# A fresh system has no package lists yet; only root may fetch them.
ensure_known() {
    apt-cache show --no-all-versions "$1" >/dev/null 2>&1 && return
    if [ "$(id -u)" -eq 0 ]; then
        apt-get update -qq
        apt-cache show --no-all-versions "$1" >/dev/null 2>&1 && return
    fi
    echo "fetch_debs: apt knows no package '$1'; run 'apt-get update' as root (Debian 12 main holds it)" >&2
    exit 1
}

for package in "$@"; do
    if [ -e "$folder/$package/.complete" ]; then continue; fi
    ensure_known "$package"
    work=$(mktemp -d "$folder/.fetch.XXXXXX")
    # Sandbox::User: as root, apt would drop to a user that may not write here, and warn of it.
    if ! (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "$package" >apt.log 2>&1); then
        cat "$work/apt.log" >&2
        rm -rf "$work"
        echo "fetch_debs: downloading '$package' failed (apt's words are above); is the network up?" >&2
        exit 1
    fi
    mkdir "$work/x"
    dpkg-deb -x "$work/$package"_*.deb "$work/x"
    touch "$work/x/.complete"
    chmod 755 "$work/x"
    rm -rf "${folder:?}/$package"
    mv "$work/x" "$folder/$package"
    rm -rf "$work"
    echo "fetch_debs: unpacked $package"
done
