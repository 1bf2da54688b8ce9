#!/usr/bin/python3
"""Keeps pieces small: lists what is over the sizes aimed at, fails far above them.

usage: check_sizes.py [--quiet]     --quiet: only what fails

             aimed at   fails above
  function   60 lines   100
  file       500        800
  parameters 6          -
"""
import re
import sys

import tree

FUNCTION_LINES, FUNCTION_LIMIT = 60, 100
FILE_LINES, FILE_LIMIT = 500, 800
PARAMETERS = 6
KEYWORDS = {"if", "for", "while", "switch", "do", "else", "return", "sizeof"}


def blank(match):
    """Spaces for what is not code, lines kept."""
    return re.sub(r"[^\n]", " ", match.group(0))


def code_only(text):
    text = re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, text, flags=re.M)  # preprocessor lines with continuations


def count_parameters(text):
    depth, count = 0, 1
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        count += char == "," and depth == 0
    return 0 if text.strip() in ("", "void") else count


def functions(code):
    """(name, first line, lines, parameters) of each function body at file level, or directly inside extern "C" { }.
    A body is a brace whose head, reaching back to the previous ';' or brace, ends with ')'."""
    base, depth, head_start, opened = 0, 0, 0, None  # base: depth at which functions may begin
    for at, char in enumerate(code):
        if char == ";" and depth == base:
            head_start = at + 1
        elif char == "{":
            if depth == base:
                head = code[head_start:at].strip()
                if re.fullmatch(r"extern|namespace(\s+\w+)?", head):
                    base += 1
                    head_start = at + 1
                else:
                    call = last_call(head) if head.endswith(")") else None
                    first = code.count("\n", 0, code.index(head, head_start)) + 1 if head else 0
                    opened = (call, first) if call and call[0] not in KEYWORDS else None
            depth += 1
        elif char == "}":
            depth -= 1
            base = min(base, depth)
            if depth == base:
                if opened:
                    (name, arguments), first = opened
                    yield name, first, code.count("\n", 0, at) + 2 - first, count_parameters(arguments)
                opened = None
                head_start = at + 1


def last_call(head):
    """(name, arguments) of the last balanced 'name(...)' that ends the head."""
    depth = 0
    for at in range(len(head) - 1, -1, -1):
        depth += (head[at] == ")") - (head[at] == "(")
        if depth == 0:
            name = re.search(r"(\w+)\s*$", head[:at])
            return (name.group(1), head[at + 1:-1]) if name else None
    return None


def measure(path, text):
    """((what is over its aim, whether it is over the limit) ..., functions seen)"""
    findings, n_functions = [], 0
    n_lines = text.count("\n")
    if n_lines > FILE_LINES:
        findings.append((f"{path}:1: file of {n_lines} lines (aim {FILE_LINES})", n_lines > FILE_LIMIT))
    for name, line, length, n_parameters in functions(code_only(text)):
        n_functions += 1
        if length > FUNCTION_LINES:
            findings.append((f"{path}:{line}: {name} has {length} lines (aim {FUNCTION_LINES})", length > FUNCTION_LIMIT))
        if n_parameters > PARAMETERS:
            findings.append((f"{path}:{line}: {name} has {n_parameters} parameters (aim {PARAMETERS})", False))
    return findings, n_functions


def main():
    quiet = "--quiet" in sys.argv[1:]
    findings, n_functions = [], 0
    files = tree.files(("src", "kernels", "include", "tests", "examples"), (".c", ".h", ".cc", ".cu"))
    for path in files:
        found, count = measure(path, tree.read(path))
        findings += found
        n_functions += count
    for text, is_failure in findings:
        if is_failure or not quiet:
            print(text + (": TOO LARGE" if is_failure else ""))
    n_failures = sum(is_failure for _, is_failure in findings)
    print(f"sizes: {len(files)} files, {n_functions} functions, {len(findings)} over the aim, {n_failures} too large")
    return 1 if n_failures else 0


if __name__ == "__main__":
    sys.exit(main())
