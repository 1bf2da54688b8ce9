#!/usr/bin/env python3
"""Judges a report: is it one file that needs nothing else, well formed, and are all of its pictures pictures?

usage: check_page.py FILE [--has TEXT ...] [--lacks TEXT ...]

Every element is closed in order; every id is there once, and every reference leads to one; nothing is loaded from anywhere (only
data:image/png and #fragments are referred to, in attributes and in styles); every PNG's checksums and pixels are whole; numbers
of drawings are finite. --has and --lacks look into the text that a reader sees. Prints what was counted; exit code 1 = it is not so.
Standard library only.
"""
import base64
import html.parser
import re
import struct
import sys
import zlib

VOID = {"meta", "br", "img", "input", "hr", "link", "base"}
REFERENCES = {"src", "href", "xlink:href", "action", "poster", "srcset", "data", "formaction", "background"}
PREFIX = "data:image/png;base64,"


def png_size(text):
    """(width, height) of a data URI's picture; ValueError where it is none."""
    data = base64.b64decode(text[len(PREFIX):], validate=True)
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("no PNG")
    at, raw, head = 8, b"", None
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        if struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0] != zlib.crc32(kind + body):
            raise ValueError("a chunk's checksum")
        head = struct.unpack(">IIBBBBB", body) if kind == b"IHDR" else head
        raw += body if kind == b"IDAT" else b""
        at += 12 + length
    width, height, depth, colour = head[:4]
    if depth != 8 or len(zlib.decompress(raw)) != height * (1 + width * {2: 3, 6: 4}[colour]):
        raise ValueError("its pixels")
    return width, height


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.wrong, self.ids, self.wanted, self.text = [], [], [], [], []
        self.counts = {"elements": 0, "pictures": 0, "drawings": 0, "headings": []}

    def complain(self, what):
        self.wrong.append(f"line {self.getpos()[0]}: {what}")

    def reference(self, name, value):
        if value.startswith("#"):
            self.wanted.append(value[1:])
        elif value.startswith(PREFIX):
            try:
                png_size(value)
                self.counts["pictures"] += 1
            except (ValueError, KeyError, TypeError, zlib.error, struct.error) as error:
                self.complain(f"a picture that is none: {error}")
        else:
            self.complain(f"{name} leads outside: {value[:60]}")

    def handle_starttag(self, tag, attributes):
        self.counts["elements"] += 1
        self.counts["drawings"] += tag == "svg"
        names = [name for name, _ in attributes]
        if len(names) != len(set(names)):
            self.complain(f"an attribute twice in <{tag}>")
        for name, value in attributes:
            value = value or ""
            if name.startswith("on"):
                self.complain(f"a handler in <{tag}>")
            if name == "id":
                self.ids.append(value)
            if name in REFERENCES:
                self.reference(name, value)
            if name in ("d", "x", "y", "width", "height", "cx", "cy", "style") and re.search(r"\b(nan|inf)", value, re.I):
                self.complain(f"{name} of <{tag}> is not finite: {value[:60]}")
        if tag in ("script", "link", "base", "iframe", "object", "embed") and tag != "script":
            self.complain(f"<{tag}>")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag:
            self.complain(f"</{tag}> where <{self.open[-1] if self.open else ''}> is open")
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            for found in re.findall(r"url\(([^)]*)\)|(@import)", data):
                self.complain(f"a style that loads {found}")
        elif self.open and self.open[-1] == "script":
            for found in re.findall(r"\b(?:fetch|XMLHttpRequest|import|WebSocket|eval|innerHTML)\b", data):
                self.complain(f"a script with {found}")
        else:
            self.text.append(data)
            if self.open and self.open[-1] == "h2":
                self.counts["headings"].append(data)


def main():
    arguments, has, lacks, mode = [], [], [], None
    for argument in sys.argv[1:]:
        if argument in ("--has", "--lacks"):
            mode = argument
        else:
            {"--has": has, "--lacks": lacks, None: arguments}[mode].append(argument)
    if len(arguments) != 1:
        sys.exit(__doc__.split("\n\n")[1])
    data = open(arguments[0], "rb").read()
    page = Page()
    page.feed(data.decode("utf-8"))
    page.close()
    wrong = page.wrong + [f"<{tag}> is never closed" for tag in page.open]
    wrong += [f"id {name} stands {page.ids.count(name)} times" for name in set(page.ids) if page.ids.count(name) > 1]
    wrong += [f"#{name} leads nowhere" for name in set(page.wanted) - set(page.ids)]
    if re.search(rb"https?:|src=[\"']?//", data):
        wrong.append("an address of the network")
    text = " ".join(" ".join(page.text).split())
    wrong += [f"no text '{part}'" for part in has if " ".join(part.split()) not in text]
    wrong += [f"the text '{part}'" for part in lacks if part in text]
    c = page.counts
    print(f"{arguments[0]}: {len(data)} bytes, {c['elements']} elements, {c['pictures']} pictures, {c['drawings']} drawings; "
          f"sections: {', '.join(c['headings'])}")
    for line in wrong:
        print(f"WRONG: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
