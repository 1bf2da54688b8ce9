#!/usr/bin/python3
"""Puts what a show script measured into a document, between the two comments that name it.

usage: write_section.py NAME MEASURED DOCUMENT"""
import sys
from pathlib import Path


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__.split("\n\n")[1])
    name, measured, document = sys.argv[1:]
    begin, end = f"<!-- measured: {name} -->\n", f"<!-- end: {name} -->\n"
    text = Path(document).read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1:
        sys.exit(f"write_section: {document} has no place for {name}: it needs the lines {begin.strip()} and {end.strip()}")
    rows = [line for line in Path(measured).read_text(encoding="utf-8").splitlines() if not line.startswith("short: ")]
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    Path(document).write_text(before + begin + "\n" + "\n".join(rows).strip("\n") + "\n\n" + end + after, encoding="utf-8")


if __name__ == "__main__":
    main()
