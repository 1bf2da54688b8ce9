#!/usr/bin/python3
"""Holds every #include of src/, kernels/ and include/vlmoe against layers.txt.

usage: check_layers.py          from anywhere; prints file:line of what breaks the table and exits 1
"""
import fnmatch
import os
import re
import sys

import tree

TABLE = "scripts/checks/layers.txt"
FOLDERS = ("src", "kernels", "include/vlmoe")
SOURCE = (".c", ".h", ".cc", ".cu", ".cuh", ".def", ".inc")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def read_table():
    """(layer -> words it may include, [patterns that share one file])"""
    layers, single = {}, []
    for number, line in enumerate(tree.read(TABLE).split("\n"), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        name, colon, words = line.partition(":")
        if not colon:
            sys.exit(f"{TABLE}:{number}: expected 'layer: words', found '{line}'")
        if name == "one file":
            single.append(words.split())
        else:
            layers[name.strip()] = set(words.split())
    return layers, single


def layer_of(path):
    """'src/data/x.c' -> data; 'kernels/cpu/x.c' -> kernels/cpu; 'include/vlmoe/x.h' -> public"""
    parts = path.split("/")
    if parts[0] == "include":
        return "public"
    return parts[1] if parts[0] == "src" else "/".join(parts[:2])


def includes_of(path):
    for number, line in enumerate(tree.read(path).split("\n"), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1) == '"', match.group(2)


class Checker:
    def __init__(self):
        self.layers, self.single = read_table()
        self.files = tree.files(FOLDERS, SOURCE)
        self.by_name = {}
        for path in self.files:
            self.by_name.setdefault(os.path.basename(path), []).append(path)
        self.users = {}  # outside header -> files that include it
        self.complaints = []

    def target_of(self, path, name):
        """The file of the tree that an include means, or None."""
        if name.startswith("vlmoe/"):
            return f"include/{name}"
        found = [p for p in self.by_name.get(os.path.basename(name), []) if not p.startswith("include/")]
        beside = [p for p in found if os.path.dirname(p) == os.path.dirname(path)]
        found = beside or found
        return found[0] if len(found) == 1 else None

    def allowed(self, path, target):
        layer, other = layer_of(path), layer_of(target)
        if layer == other:
            return True
        may = self.layers[layer]
        if other == "public":
            # A public header belongs to the layer it is named after; one that is named after none is everybody's.
            owner = os.path.splitext(os.path.basename(target))[0]
            of_src = not layer.startswith("kernels/") and layer != "public"
            return (f"public/{os.path.basename(target)}" in may or "public" in may
                    or of_src and (owner == layer or owner in may or owner not in self.layers))
        return other in may or f"{other}/{os.path.basename(target)}" in may

    def check_include(self, path, number, quoted, name):
        where = f"{path}:{number}"
        if ".." in name.split("/"):
            self.complaints.append(f'{where}: "{name}" climbs out of its folder; include it by its name')
            return
        target = self.target_of(path, name)
        if target is None or target not in self.files:
            if quoted and "/" not in name:
                self.complaints.append(f'{where}: no single file of the tree is called "{name}" (outside headers go in <>)')
            self.users.setdefault(name, {}).setdefault(path, number)
        elif not self.allowed(path, target):
            self.complaints.append(f"{where}: layer {layer_of(path)} may not include {target} ({layer_of(target)})")

    def check_single(self):
        for patterns in self.single:
            groups = {}
            for name in self.users:
                for pattern in patterns:
                    if fnmatch.fnmatch(name, pattern):
                        groups.setdefault(name if "*" in pattern else patterns[0], {}).update(self.users[name])
            for name, users in groups.items():
                if len(users) > 1:
                    places = ", ".join(f"{path}:{number}" for path, number in sorted(users.items()))
                    self.complaints.append(f"<{name}> belongs behind one file, found in {len(users)}: {places}")

    def run(self):
        for path in self.files:
            if layer_of(path) not in self.layers:
                self.complaints.append(f"{path}:1: layer {layer_of(path)} is not in {TABLE}")
                continue
            for number, quoted, name in includes_of(path):
                self.check_include(path, number, quoted, name)
        self.check_single()
        for complaint in self.complaints:
            print(complaint)
        print(f"layers: {len(self.files)} files, {len(self.complaints)} complaints")
        return 1 if self.complaints else 0


if __name__ == "__main__":
    sys.exit(Checker().run())
