"""Figures with captions from the HTML documentation in Debian packages: yields (package, picture, caption).

The caption is that of the innermost figure that has one (DocBook, Sphinx, Doxygen), else the picture's alternative text, if it is more
than a word and no file name.
"""
import glob
import html.parser
import os
import re
import urllib.parse

PACKAGES = ("gimp-help-en", "python-skimage-doc", "python-sklearn-doc", "opencv-doc", "debian-handbook", "qtbase5-doc-html", "kicad-doc-en")
FIGURE = re.compile(r"figure|mediaobject|image|thumb|screenshot")
CAPTION = re.compile(r"caption|title|legend", re.I)
EMPTY = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
LARGEST_PAGE = 6000000


class Block:
    """An open element that may be a figure."""

    def __init__(self, tag, is_figure):
        self.tag, self.is_figure = tag, is_figure
        self.pictures = []  # (src, alternative text) without a caption so far
        self.caption = ""


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.found = [Block("", False)], []
        self.collecting, self.text = None, []

    def handle_starttag(self, tag, attributes):
        attributes = {key: value or "" for key, value in attributes}
        if tag == "img":
            self.open[-1].pictures.append((attributes.get("src", ""), attributes.get("alt") or attributes.get("title") or ""))
        if tag in EMPTY:
            return
        names = attributes.get("class", "")
        if self.collecting is None and (tag == "figcaption" or CAPTION.search(names)) and any(b.is_figure for b in self.open):
            self.collecting, self.text = len(self.open), []
        self.open.append(Block(tag, tag == "figure" or bool(FIGURE.search(names)) and not CAPTION.search(names)))

    def handle_data(self, data):
        if self.collecting is not None:
            self.text.append(data)

    def handle_endtag(self, tag):
        if not any(block.tag == tag for block in self.open[1:]):
            return  # closes nothing
        while len(self.open) > 1:
            block = self.open.pop()
            self.close_block(block)
            if block.tag == tag:
                break

    def close_block(self, block):
        parent = self.open[-1]
        if self.collecting == len(self.open):
            figure = next(b for b in reversed(self.open) if b.is_figure)
            figure.caption = figure.caption or " ".join("".join(self.text).split())
            self.collecting = None
        if block.is_figure and block.caption:
            self.found += [(src, block.caption) for src, _ in block.pictures]
        else:
            parent.pictures += block.pictures

    def rest(self):
        """Pictures without a caption, by their alternative text."""
        return [(src, alt) for block in self.open for src, alt in block.pictures
                if len(alt.split()) > 1 and not re.search(r"\.(png|jpe?g|svg|gif)\b|\.\./", alt)]


def figures_of(path):
    page = Page()
    try:
        if os.path.getsize(path) > LARGEST_PAGE:
            return []
        with open(path, encoding="utf-8", errors="replace") as file:
            page.feed(file.read())
    except OSError:
        return []
    return page.found + page.rest()


def read(packages):
    seen = set()
    for package in PACKAGES:
        pages = glob.glob(f"{packages}/{package}/**/*.htm*", recursive=True) + glob.glob(f"{packages}/{package}/**/*.xhtml", recursive=True)
        if package == "debian-handbook":
            pages = [p for p in pages if "/en-US/" in p]
        for page in sorted(pages):
            for src, caption in figures_of(page):
                name = urllib.parse.unquote(re.split(r"[?#]", src)[0])
                picture = os.path.realpath(os.path.join(os.path.dirname(page), name))
                caption = re.sub(r"^(Figure|Fig\.?)\s*[\dA-Z]+([.\-]\d+)*[.:]?\s*", "", " ".join(caption.split())).strip(" ¶#")
                if picture in seen or not re.search(r"\.(png|jpe?g|gif)$", picture, re.I) or not os.path.isfile(picture):
                    continue
                if 2 <= len(caption.split()) and len(caption) <= 600:
                    seen.add(picture)
                    yield package, picture, caption
