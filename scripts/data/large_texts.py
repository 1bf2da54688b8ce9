"""English prose from Debian packages, in pieces of a few sentences: yields (source, text)."""
import glob
import gzip
import html
import os
import re

LONGEST = 40  # words of a piece; longer sentences are cut


def pieces(text):
    """Whole sentences, as many as fit."""
    words = []
    for sentence in re.split(r"(?<=[.!?])\s+", " ".join(text.split())):
        new = sentence.split()
        if words and len(words) + len(new) > LONGEST:
            yield " ".join(words)
            words = []
        words += new
        while len(words) > LONGEST:
            yield " ".join(words[:LONGEST])
            words = words[LONGEST:]
    if len(words) > 2:
        yield " ".join(words)


def unpack(path):
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
        return file.read()


def gcide(packages):
    """A dictionary: head words at the margin, definitions indented below."""
    for path in glob.glob(f"{packages}/dict-gcide/**/gcide.dict.dz", recursive=True):
        text = re.sub(r"\\[^\\\n]*\\|\[[^\]]*\]|[{}]|--\w+", " ", unpack(path))
        head = ""
        for block in text.split("\n\n"):
            first, _, rest = block.partition("\n")
            if first[:1].strip():
                head = re.split(r"[,(;]", first)[0].strip()
                block = rest
            if head and len(block.split()) > 2:
                for piece in pieces(f"{head}: {block}"):
                    yield "gcide", piece


def foldoc(packages):
    for path in glob.glob(f"{packages}/dict-foldoc/**/foldoc.dict.dz", recursive=True):
        head = ""
        for block in re.sub(r"[{}]|\(\d{4}-\d\d-\d\d\)|<[^>\n]*>", " ", unpack(path)).split("\n\n"):
            if block[:1].strip():
                head = block.strip()
            elif head and len(block.split()) > 2:
                for piece in pieces(f"{head}: {block}"):
                    yield "foldoc", piece


def anarchism(packages):
    """A long book of questions and answers, in Markdown."""
    for path in sorted(glob.glob(f"{packages}/anarchism/**/markdown/*.md.gz", recursive=True)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", unpack(path))
        for paragraph in re.sub(r"[*_#>|`\\]+", " ", html.unescape(text)).split("\n\n"):
            for piece in pieces(paragraph):
                yield "anarchism", piece


def fortunes(packages):
    for path in sorted(glob.glob(f"{packages}/fortunes*/usr/share/games/fortunes/*")):
        if os.path.isfile(path) and "." not in os.path.basename(path) and "art" not in os.path.basename(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                for saying in file.read().split("\n%\n"):
                    for piece in pieces(saying):
                        yield "fortunes", piece


READERS = (gcide, foldoc, anarchism, fortunes)
