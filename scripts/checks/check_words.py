#!/usr/bin/python3
"""README, docs and CHANGELOG hold for every reader: no paths of somebody's machine, and links that lead somewhere.

usage: check_words.py
"""
import os
import re
import sys

import tree

TOPS = ("README.md", "CHANGELOG.md", "docs", "scripts", "configs", "examples", "tests")
MACHINE_PATH = re.compile(r"(?<![\w./~-])/(?:home|root|work|mnt|media|Users|tmp/[\w.-]+)(?=/|\b)[\w./-]*")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def main():
    complaints = []
    paths = tree.files(TOPS, ".md")
    for path in paths:
        for number, line in enumerate(tree.read(path).split("\n"), 1):
            for match in MACHINE_PATH.finditer(line):
                complaints.append(f"{path}:{number}: a path of some machine: {match.group(0)}")
            for target in LINK.findall(line):
                local = target.split("#")[0]
                if re.match(r"[a-z]+:", target) or not local:
                    continue
                if not os.path.exists(os.path.join(tree.ROOT, os.path.dirname(path), local)):
                    complaints.append(f"{path}:{number}: link to {target}, which does not exist")
    for complaint in complaints:
        print(complaint)
    print(f"words: {len(paths)} texts, {len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
