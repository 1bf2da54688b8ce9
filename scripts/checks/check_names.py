#!/usr/bin/python3
"""File names tell where they stand: unique in the tree, and sources of src/LAYER begin with the layer.

usage: check_names.py
"""
import collections
import os
import sys

import tree

SOURCE = (".c", ".h", ".cc", ".cu", ".def")
# include/vlmoe/X.h may share its name with src/X/X.h: it is always included as "vlmoe/X.h".
TOPS = ("src", "kernels", "tests", "examples")


def main():
    paths = tree.files(TOPS, SOURCE)
    complaints = []

    places = collections.defaultdict(list)
    for path in paths:
        places[os.path.basename(path)].append(path)
    for name, where in sorted(places.items()):
        if len(where) > 1:
            complaints.append(f"{where[0]}: the name is not unique: {', '.join(where)}")

    for path in paths:
        parts = path.split("/")
        name = parts[-1]
        if parts[0] == "src" and len(parts) > 2 and name.endswith((".c", ".cc")):
            stem = os.path.splitext(name)[0]
            fits = any(stem == p or stem.startswith(p + "_") for p in parts[1:-1])
            if not fits and not (name.startswith("none_") or parts[1] == "cli" and name.startswith("main_")):
                complaints.append(f"{path}: expected a name that begins with {parts[1]}_")

    for complaint in complaints:
        print(complaint)
    print(f"names: {len(paths)} files, {len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
